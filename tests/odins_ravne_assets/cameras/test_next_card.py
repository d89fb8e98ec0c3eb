"""Which camera the next card is of, by INPUT and OUTPUT; and what the catalog remembers."""

from pathlib import Path

import pytest
from media_files import write_picture

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cameras.next_card import is_card_name, remember
from odins_ravne_assets.cameras.selection import (
    CameraOptions,
    CameraSelection,
    camera_for_upload,
    check_output_collisions,
)
from odins_ravne_assets.munin.media.sources import Source, save_sources
from resources.errors import UsageError
from resources.settings.loader import load_profile
from resources.settings.profile import Profile
from resources.storage.local_store import LocalStore


class Machine:
    """A machine with cards, results and a catalog."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.catalog = CameraCatalog(root / "catalog")
        self.printed: list[str] = []

    def profile(self, **keys: str) -> Profile:
        return load_profile(
            "local", {name.replace("__", "."): text for name, text in keys.items()}, {}
        )

    def batch(self, card: str, output: str | None = None, camera: str | None = None) -> Camera:
        """Select the camera of a card, and add its results, as `munin batch` does."""
        write_picture(self.root / card / "DCIM" / "100RECNX" / "IMG_0001.JPG")
        profile = self.profile(output__root=str(self.root / "results"))
        options = CameraOptions(camera=camera)
        selection = CameraSelection(options, profile, self.catalog, self.printed.append)
        target = str(self.root / output) if output else None
        chosen = selection.cameras(str(self.root / card), target)
        check_output_collisions(chosen, self.catalog)
        [found] = [remember(each, self.catalog, profile, self.printed.append) for each in chosen]
        results = LocalStore(Path(found.output_url.removeprefix("file://")))
        results.write_bytes("tables/media.parquet", b"a table")
        save_sources(results, found.camera_id, [Source("any", found.footage_url)])
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def url(machine: Machine, name: str) -> str:
    return (machine.root / name).as_uri()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("cards/20260501", "res/g", "g"), ("cards/20260601", "res/g", "g")),
        (("cards/20260501", "res/g", "g"), ("cards/20260601", "res/g", None)),  # OUTPUT names it
        (("cards/20260501", None, "g"), ("cards/20260601", None, "g")),  # by default results/g
        (("cards/20260501", "res/g", None), ("cards/20260601", "res/g", None)),  # dates
        (("cards/2026-05", "res/g", None), ("cards/NO NAME", "res/g", None)),  # a label
        (("may/north", None, None), ("june/north", None, None)),  # folders of cards
        (("media/CARD", "res/g", "g"), ("media/CARD", "res/g", None)),  # the same mount point
    ],
)
def test_the_next_card_is_of_the_camera_of_the_results(
    machine: Machine,
    first: tuple[str, str | None, str | None],
    second: tuple[str, str | None, str | None],
) -> None:
    before, after = machine.batch(*first), machine.batch(*second)
    assert (after.camera_id, after.output_url) == (before.camera_id, before.output_url)
    assert after.footage_url == url(machine, second[0])
    assert set(after.places) == {url(machine, first[0]), url(machine, second[0])}
    assert machine.printed == []


@pytest.mark.parametrize("other_machine", [False, True])
def test_a_folder_with_the_name_of_a_camera_is_not_added_without_asking(
    machine: Machine, other_machine: bool
) -> None:
    machine.batch("data/north", "res/x")
    if other_machine:
        machine.catalog = CameraCatalog(machine.root / "other catalog")
    with pytest.raises(UsageError) as caught:
        machine.batch("data/south", "res/x")
    assert "holds the results of camera north; add --camera north if " in str(caught.value)
    assert "or name another OUTPUT for camera south" in str(caught.value)
    assert machine.batch("data/south", "res/x", "north").camera_id == "north"


def test_results_of_one_camera_are_not_those_of_another_that_is_named(machine: Machine) -> None:
    machine.batch("data/north", "res/x")
    with pytest.raises(UsageError, match="choose another for south, or name --camera north"):
        machine.batch("data/south", "res/x", "south")


def test_another_output_is_said_and_the_results_stay(machine: Machine) -> None:
    machine.batch("cards/20260501", "res/may", "g")
    found = machine.batch("cards/20260601", "res/june", "g")
    assert found.places == (url(machine, "cards/20260601"),)
    [line] = machine.printed
    assert line.startswith(f"g: its results are in {machine.root}/res/june from now on; those in")
    assert f"munin batch {machine.root}/cards/20260601 {machine.root}/res/may --camera g" in line
    assert (machine.root / "res/may/tables/media.parquet").is_file()


def test_results_that_are_gone_are_not_named(machine: Machine) -> None:
    machine.batch("cards/20260501", "res/may", "g")
    (machine.root / "res").rename(machine.root / "away")
    machine.batch("cards/20260601", "res/june", "g")
    assert machine.printed == []


def test_places_are_remembered_once_and_the_last_one_is_run(machine: Machine) -> None:
    for card in ("a", "b", "a", "c"):
        machine.batch(f"cards/{card}", "res/g", "g")
    known = machine.catalog.get("g")
    assert known.places == tuple(url(machine, f"cards/{each}") for each in ("b", "a", "c"))


def test_a_catalog_of_an_earlier_version_is_read(machine: Machine) -> None:
    folder = machine.root / "catalog"
    folder.mkdir()
    text = '{"camera_id": "g", "footage_url": "file:///in", "output_url": "file:///out"}'
    (folder / "g.json").write_text(text)
    assert machine.catalog.get("g") == Camera("g", "file:///in", "file:///out")


@pytest.mark.parametrize(
    ("name", "is_card"),
    [
        ("20260501", True),
        ("2026-05-01", True),
        ("2026_05", True),
        ("01.05.2026", True),
        ("20260501 1030", True),
        ("2026", False),  # a season
        ("20261399", False),
        ("NO-NAME", True),
        ("SDCARD-2", True),
        ("card1", True),
        ("10050028", False),  # a site number
        ("101", False),
        ("north", False),
        ("camera1", False),
    ],
)
def test_dates_and_labels_are_names_of_cards(name: str, is_card: bool) -> None:
    assert is_card_name(name) == is_card


# Uploads, which the sensor runs


def test_an_upload_is_a_further_source_of_a_camera_whose_cards_were_read(machine: Machine) -> None:
    known = machine.batch("cards/20260501", "res/north", "north")
    uploads = machine.root / "uploads"
    write_picture(uploads / "north" / "IMG_0001.JPG")
    profile = machine.profile(uploads__url=str(uploads))
    found = camera_for_upload("north", "north", profile, machine.catalog)
    assert found.output_url == known.output_url
    assert found.places == (known.footage_url, (uploads / "north").as_uri())


def test_two_folders_of_the_uploads_are_not_one_camera_in_silence(machine: Machine) -> None:
    uploads = machine.root / "uploads"
    for site in ("site-1", "site-2"):
        write_picture(uploads / site / "north" / "IMG_0001.JPG")
    profile = machine.profile(uploads__url=str(uploads))
    machine.catalog.put(camera_for_upload("north", "site-1/north", profile, machine.catalog))
    with pytest.raises(UsageError, match="rename the folder site-2/north, or add it as a further"):
        camera_for_upload("north", "site-2/north", profile, machine.catalog)
