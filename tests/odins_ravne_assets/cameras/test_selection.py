"""What INPUT, OUTPUT and the options select: one camera, several, or a refusal that says how."""

from collections.abc import Callable
from pathlib import Path

import pytest

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cameras.selection import (
    CameraOptions,
    CameraSelection,
    camera_for_upload,
    check_profile,
)
from resources.errors import UsageError
from resources.settings.loader import load_profile

Select = Callable[..., list[str]]


@pytest.fixture
def catalog(tmp_path: Path) -> CameraCatalog:
    return CameraCatalog(tmp_path / "catalog")


@pytest.fixture
def logged() -> list[str]:
    return []


@pytest.fixture
def select(tmp_path: Path, catalog: CameraCatalog, logged: list[str]) -> Select:
    profile = load_profile("local")

    def ids(folder: str, output: str | None = None, **options: object) -> list[str]:
        chosen = CameraOptions(**options)  # type: ignore[arg-type]
        selection = CameraSelection(chosen, profile, catalog, logged.append)
        target = str(tmp_path / (output or "results"))
        return [
            f"{each.camera_id} -> {Path(each.output_url).name}"
            for each in selection.cameras(str(tmp_path / folder), target if output else None)
        ]

    return ids


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.fixture
def study(tmp_path: Path) -> Path:
    put(tmp_path, *(f"data/camera{number}/IMG_0001.JPG" for number in (1, 2, 3)))
    return tmp_path / "data"


@pytest.mark.usefixtures("study")
def test_a_folder_of_cameras_without_cameras_is_refused_with_both_ways_out(select: Select) -> None:
    with pytest.raises(UsageError, match="camera1, camera2 and camera3 look like") as caught:
        select("data")
    assert "--cameras" in str(caught.value)
    assert "--one-camera" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.usefixtures("study")
def test_both_ways_out_work(select: Select) -> None:
    assert select("data", several=True) == [f"camera{n} -> camera{n}" for n in (1, 2, 3)]
    assert select("data", one_camera=True) == ["data -> data"]


@pytest.mark.usefixtures("study")
def test_a_camera_that_is_named_is_one_and_a_line_says_so(
    select: Select, logged: list[str]
) -> None:
    assert select("data", camera="north") == ["north -> north"]
    assert "look like cameras; their media are all of camera north" in logged[0]


def test_folders_beside_media_are_of_one_camera_and_a_line_says_so(
    select: Select, logged: list[str], tmp_path: Path
) -> None:
    put(tmp_path, "study/north/IMG_0001.JPG", "study/south/IMG_0001.JPG", "study/map.jpg")
    assert select("study") == ["study -> study"]
    assert "its folders north and south, and the media beside them, are all of camera" in logged[0]
    put(tmp_path, "card/DCIM/100RECNX/IMG_0001.JPG", "card/a/1.jpg", "card/b/1.jpg", "card/1.jpg")
    assert select("card") == ["card -> card"]
    assert len(logged) == 1


@pytest.mark.parametrize("other", ["b/IMG_0001.JPG", "b/DCIM/100RECNX/IMG_0001.JPG"])
def test_footage_is_no_output(select: Select, other: str, tmp_path: Path) -> None:
    put(tmp_path, "a/IMG_0001.JPG", other)
    with pytest.raises(UsageError, match=r"^OUTPUT .*/b: holds pictures or videos, and no results"):
        select("a", output="b")
    put(tmp_path, "b/tables/media.parquet")  # pictures that a user put beside results
    assert select("a", output="b", camera="a") == ["a -> b"]


def test_what_was_one_camera_stays_one(
    select: Select, study: Path, catalog: CameraCatalog, tmp_path: Path
) -> None:
    put(tmp_path, "moved/tables/media.parquet")
    assert select("data", output="moved") == ["data -> moved"]
    catalog.put(Camera("data", study.as_uri(), (tmp_path / "results/data").as_uri()))
    assert select("data") == ["data -> data"]


def test_cameras_in_a_folder_below_are_refused_with_its_name(
    select: Select, tmp_path: Path
) -> None:
    put(tmp_path, "data/2026/north/1.jpg", "data/2026/south/1.jpg")
    with pytest.raises(UsageError, match=r"run .*/data/2026 with --cameras"):
        select("data")


def test_sites_run_one_by_one_are_cameras_of_their_own(select: Select, tmp_path: Path) -> None:
    put(tmp_path, "study/101NORTH/IMG_0001.JPG", "study/205_EAST/IMG_0001.JPG")
    put(tmp_path, "cards/20260501/IMG_0001.JPG", "cards/20260601/IMG_0001.JPG")
    folders = ("study/101NORTH", "study/205_EAST", "cards/20260501", "cards/20260601")
    assert [select(folder) for folder in folders] == [
        ["101NORTH -> 101NORTH"],
        ["205_EAST -> 205_EAST"],
        ["20260501 -> 20260501"],
        ["20260601 -> 20260601"],
    ]


def test_a_folder_of_a_card_is_of_the_camera_above_and_a_line_says_so(
    select: Select, tmp_path: Path, logged: list[str]
) -> None:
    put(tmp_path, "north/100RECNX/RCNX0001.JPG", "north/101RECNX/RCNX0001.JPG")
    assert select("north/100RECNX") == select("north/101RECNX") == ["north -> north"]
    assert [line.partition(": ")[2] for line in logged] == [
        "is a folder of a memory card, of camera north"
    ] * 2


def test_a_known_camera_keeps_its_id_when_a_folder_is_added_beside_it(
    select: Select, tmp_path: Path, catalog: CameraCatalog
) -> None:
    put(tmp_path, "north/100RECNX/RCNX0001.JPG", "north/100_BTCF/IMG_0001.JPG")
    assert select("north/100RECNX") == ["100RECNX -> 100RECNX"]
    url = (tmp_path / "north/100RECNX").as_uri()
    catalog.put(Camera("north", url, (tmp_path / "results/north").as_uri()))
    assert select("north/100RECNX") == ["north -> north"]


CLOUD = Camera("north", "s3://cards/north", "s3://results/north")
LOCAL = Camera("south", "file:///cards/south", "file:///results/south")


def test_results_on_s3_need_a_cloud_profile_and_local_ones_a_local_profile() -> None:
    check_profile([LOCAL], load_profile("local"))
    check_profile([CLOUD], load_profile("cloud"))
    with pytest.raises(
        UsageError, match=r"camera north \(and 1 more .*s3://results/north, .*cloud"
    ):
        check_profile([LOCAL, CLOUD, CLOUD], load_profile("local"))
    with pytest.raises(UsageError, match=r"camera south: .* jobs on AWS cannot reach"):
        check_profile([CLOUD, LOCAL], load_profile("cloud"))


def test_an_upload_of_several_cameras_is_refused_until_a_run_has_taken_it_as_one(
    study: Path, catalog: CameraCatalog, tmp_path: Path
) -> None:
    overrides = {"uploads.url": str(tmp_path), "uploads.output": str(tmp_path / "results")}
    profile = load_profile("local", overrides)
    with pytest.raises(UsageError, match=r"uploads\.camera_pattern.*--camera data --one-camera"):
        camera_for_upload("data", "data", profile, catalog)
    taken = Camera("data", study.as_uri(), (tmp_path / "results/data").as_uri())
    catalog.put(taken)
    assert camera_for_upload("data", "data", profile, catalog) == taken
