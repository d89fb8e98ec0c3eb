"""A camera has several sources: the next card adds, and never replaces."""

import shutil
from pathlib import Path
from typing import Any, NoReturn

import polars as pl
import pytest
from media_files import write_picture

from odins_ravne_assets.munin.media.camera_clock import CameraClocks, camera_clocks
from odins_ravne_assets.munin.media.footage import refresh_media_table
from odins_ravne_assets.munin.media.media_table import with_prefixes
from odins_ravne_assets.munin.media.probe_process import probe_media
from odins_ravne_assets.munin.media.source_match import RunFootage, find_sources
from odins_ravne_assets.munin.media.source_removal import RemovedSource, remove_source
from odins_ravne_assets.munin.media.source_store import SourceFootage, open_footage
from odins_ravne_assets.munin.media.sources import (
    Source,
    load_sources,
    path_prefix,
    save_sources,
    source_name,
)
from odins_ravne_assets.munin.workload.footage_estimate import count_footage
from resources.errors import StoreError, UsageError
from resources.settings.clock_corrections import read_clock_corrections
from resources.settings.loader import load_profile
from resources.settings.profile import Stage0
from resources.storage.layout import SOURCES_FILE
from resources.storage.local_store import LocalStore, local_path
from resources.storage.object_store import ObjectStore

KEY = "tables/media.parquet"


def open_local(url: str) -> ObjectStore:
    if url.startswith("s3:"):
        raise UsageError(f"{url}: is on S3, and the profile has no cloud section")
    return LocalStore(local_path(url))


class Ridge:
    """Camera `ridge`: its cards, its results, and what a run of Stage 0 says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.results = LocalStore(root / "results")
        self.messages: tuple[str, ...] = ()

    def card(self, name: str, *numbers: int, exif: bool = False) -> Path:
        """A card with pictures; each number is a content of its own."""
        for order, number in enumerate(numbers):
            path = self.root / name / "DCIM" / "100RECNX" / f"IMG_{order + 1:04}.JPG"
            taken = {"DateTimeOriginal": f"2026:05:01 10:00:{number % 60:02}"} if exif else None
            write_picture(path, shift=number, exif=taken)
        return self.root / name

    def run(self, place: Path | str, clocks: CameraClocks | None = None, **more: Any) -> list[str]:
        """Read the footage in a place; return the paths of the table."""
        url = place if isinstance(place, str) else place.as_uri()
        footage = RunFootage(url, **more)
        found = find_sources(
            "ridge",
            footage,
            self.results,
            open_local,
            lambda path: probe_media(path, Stage0()).recorded_at,
        )
        self.messages = found.messages
        save_sources(self.results, "ridge", [each.source for each in found.opened])
        refresh_media_table(
            "ridge",
            SourceFootage(found.opened, url),
            self.results,
            KEY,
            Stage0(),
            lambda path: probe_media(path, Stage0()),
            clocks or CameraClocks.none(),
        )
        return self.rows()["path"].to_list()

    def rows(self) -> pl.DataFrame:
        return pl.read_parquet(self.results.root / KEY)

    def names(self) -> list[str]:
        listed = load_sources(self.results)
        assert listed is not None
        return [each.name for each in listed.sources]


@pytest.fixture
def ridge(tmp_path: Path) -> Ridge:
    return Ridge(tmp_path)


def paths(name: str, count: int) -> list[str]:
    begin = f"{name}/" if name else ""
    return [f"{begin}DCIM/100RECNX/IMG_{number + 1:04}.JPG" for number in range(count)]


# Adding


def test_one_card_has_paths_without_its_name(ridge: Ridge) -> None:
    assert ridge.run(ridge.card("20260501", 1, 2)) == paths("", 2)
    assert ridge.rows()["source"].to_list() == [None, None]
    assert ridge.names() == ["20260501"]
    assert ridge.messages == ()


def test_the_next_card_adds_and_paths_then_begin_with_the_card(ridge: Ridge) -> None:
    first, second = ridge.card("20260501", 1, 2), ridge.card("20260601", 3, 4, 5)
    ridge.run(first)
    both = paths("20260501", 2) + paths("20260601", 3)
    assert ridge.run(second) == both
    assert ridge.rows()["source"].to_list() == ["20260501"] * 2 + ["20260601"] * 3
    assert set(ridge.rows()["status"]) == {"ok"}
    assert set(ridge.rows()["reason"]) == {None}
    [message] = ridge.messages
    assert message.startswith("added source 20260601 (2 sources)")
    assert "munin sources remove ridge 20260601" in message


def test_runs_of_either_card_give_the_same_rows_and_say_nothing(ridge: Ridge) -> None:
    first, second = ridge.card("20260501", 1, 2), ridge.card("20260601", 3)
    ridge.run(first)
    ridge.run(second)
    before = (ridge.results.root / KEY).read_bytes()
    for place in (first, second, first):
        ridge.run(place)
        assert ridge.messages == ()
        assert (ridge.results.root / KEY).read_bytes() == before


def test_a_run_that_was_killed_before_its_table_was_written_is_run_again(ridge: Ridge) -> None:
    first, second = ridge.card("a", 1, 2), ridge.card("b", 3)
    ridge.run(first)
    listed = load_sources(ridge.results)
    assert listed is not None
    save_sources(ridge.results, "ridge", [*listed.sources, Source("b", second.as_uri())])
    assert ridge.run(second) == paths("a", 2) + paths("b", 1)
    assert ridge.run(first) == paths("a", 2) + paths("b", 1)


def test_the_same_file_in_two_sources_is_a_duplicate(ridge: Ridge) -> None:
    ridge.run(ridge.card("b", 1, 2))
    ridge.run(ridge.card("a", 3, 2, 4))
    rows = ridge.rows().filter(pl.col("status") == "duplicate")
    # The source that was there first keeps its medium.
    assert rows["path"].to_list() == ["a/DCIM/100RECNX/IMG_0002.JPG"]
    assert rows["reason"].to_list() == ["same content as b/DCIM/100RECNX/IMG_0002.JPG"]


# What is not there


def test_a_card_that_is_not_there_keeps_its_rows(ridge: Ridge) -> None:
    first, second = ridge.card("20260501", 1, 2), ridge.card("20260601", 3)
    ridge.run(first)
    ridge.run(second)
    before = ridge.rows()
    shutil.rmtree(first)
    write_picture(second / "DCIM" / "100RECNX" / "IMG_0009.JPG", shift=9)
    assert ridge.run(second) == [*before["path"], "20260601/DCIM/100RECNX/IMG_0009.JPG"]
    assert ridge.rows().head(3).equals(before)
    [message] = ridge.messages
    assert "source 20260501 is not available" in message
    assert "its 2 media and their visits stay" in message
    first.mkdir()  # a mount point without its card
    assert len(ridge.run(second)) == 4
    assert "holds no pictures or videos" in ridge.messages[0]
    # A run of all cameras names the place that was read last, or this one.
    assert len(ridge.run(first)) == 4
    assert "source 20260501 is not available" in ridge.messages[0]
    shutil.rmtree(second)
    with pytest.raises(StoreError, match="see that its card or disk is mounted"):
        ridge.run(second)
    assert len(ridge.rows()) == 4


def test_files_that_vanish_from_a_card_that_is_there_lose_their_rows(ridge: Ridge) -> None:
    first, second = ridge.card("a", 1, 2, 3), ridge.card("b", 4)
    ridge.run(first)
    ridge.run(second)
    (first / "DCIM" / "100RECNX" / "IMG_0002.JPG").unlink()
    assert ridge.run(second) == [paths("a", 3)[0], paths("a", 3)[2], *paths("b", 1)]
    assert ridge.messages == ()


def test_a_place_without_media_that_is_no_source_is_refused(ridge: Ridge) -> None:
    ridge.run(ridge.card("a", 1))
    (ridge.root / "empty").mkdir()
    with pytest.raises(StoreError, match="holds no pictures or videos; name the folder"):
        ridge.run(ridge.root / "empty")
    assert ridge.names() == ["a"]


def test_what_is_in_a_place_without_media_is_named(ridge: Ridge) -> None:
    place = ridge.root / "psd"
    for name in ("a.psd", "b.psd", "notes.txt", "#recycle/IMG_0001.JPG"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    with pytest.raises(StoreError) as caught:
        ridge.run(place)
    assert str(caught.value).startswith(
        f"{place}: holds no pictures or videos, but 2 pictures of an editor (a.psd, b.psd); 1 "
        "document (notes.txt); 1 hidden file (#recycle/IMG_0001.JPG); name the folder"
    )


def test_the_clock_of_a_card_that_is_not_there_can_still_be_corrected(ridge: Ridge) -> None:
    first, second = ridge.card("a", 1, exif=True), ridge.card("b", 2)
    ridge.run(first)
    ridge.run(second)
    recorded = ridge.rows()["recorded_at"][0]
    first.rename(ridge.root / "away")
    table = ridge.root / "clocks.csv"
    table.write_text("camera_id,from,until,shift,utc_offset\nridge,,,+01:00,+02:00\n")
    clocks = camera_clocks(read_clock_corrections(table), ())
    ridge.run(second, clocks)
    row = ridge.rows().row(0, named=True)
    assert (row["captured_at"] - recorded).total_seconds() == 3600
    assert row["utc_offset_minutes"] == 120
    # Once it is back, it is read under today's rules, as any card is.
    (ridge.root / "away").rename(first)
    ridge.run(second)
    assert ridge.rows()["utc_offset_minutes"][0] is None


def test_a_table_that_is_lost_is_not_made_again_without_the_missing_card(ridge: Ridge) -> None:
    first, second = ridge.card("a", 1), ridge.card("b", 2)
    ridge.run(first)
    ridge.run(second)
    shutil.rmtree(first)
    (ridge.results.root / KEY).write_bytes(b"damaged")
    with pytest.raises(StoreError, match="and a cannot be read now"):
        ridge.run(second)


# The same card elsewhere, another card at the same place


@pytest.mark.parametrize("place", ["CARD1", "media/anna/NO NAME", "20260501 (copy)"])
def test_a_card_is_recognised_wherever_it_is_mounted(ridge: Ridge, place: str) -> None:
    first = ridge.card("20260501", 1, 2)
    ridge.run(first)
    ridge.run(ridge.card("20260601", 3))
    before = ridge.rows()
    moved = ridge.root / place
    moved.parent.mkdir(parents=True, exist_ok=True)
    first.rename(moved)
    ridge.run(moved)
    assert ridge.rows().equals(before)
    assert ridge.names() == ["20260501", "20260601"]
    [message] = ridge.messages
    assert f"{moved} holds the media of source 20260501" in message
    assert "the same card, not added again" in message
    ridge.run(moved)
    assert ridge.messages == ()


def test_a_card_is_recognised_with_other_dates_names_and_from_its_inner_folder(
    ridge: Ridge,
) -> None:
    first = ridge.card("a", 1, 2, 3)
    ridge.run(first)
    ridge.run(ridge.card("b", 4))
    inner = first.rename(ridge.root / "x") / "DCIM" / "100RECNX"
    for number, path in enumerate(sorted(inner.iterdir())):
        path.rename(inner / f"20260501-{number}.jpg")
        (inner / f"20260501-{number}.jpg").touch()
    assert ridge.run(inner) == [f"a/20260501-{n}.jpg" for n in range(3)] + paths("b", 1)
    assert ridge.names() == ["a", "b"]


def test_a_copy_with_more_pictures_is_the_same_card(ridge: Ridge) -> None:
    first = ridge.card("a", 1, 2)
    ridge.run(first)
    grown = ridge.card("later", 1, 2, 3)
    assert ridge.run(grown) == paths("", 3)
    assert ridge.names() == ["a"]


def test_a_few_pictures_of_a_card_that_is_there_do_not_replace_it(ridge: Ridge) -> None:
    first = ridge.card("a", 1, 2, 3)
    ridge.run(first)
    ridge.run(ridge.card("best", 2, 3))
    assert ridge.names() == ["a", "best"]
    assert ridge.rows()["status"].to_list() == ["ok"] * 3 + ["duplicate"] * 2


def test_another_card_at_the_same_mount_point_is_added(ridge: Ridge) -> None:
    mount = ridge.card("media/CARD", 1, 2, exif=True)
    ridge.run(mount)
    shutil.rmtree(mount)
    ridge.card("media/CARD", 3, 4, 5, exif=True)  # the same names: the camera counts from 1 again
    assert ridge.run(mount) == paths("CARD", 2) + paths("CARD-2", 3)
    assert ridge.names() == ["CARD", "CARD-2"]
    assert "it is another card" in ridge.messages[0]
    assert "source CARD is not available" in ridge.messages[2]
    before = ridge.rows()
    ridge.run(mount)
    assert ridge.rows().equals(before)
    shutil.rmtree(mount)
    ridge.card("media/CARD", 1, 2, exif=True)  # the first one again
    ridge.run(mount)
    same = ["path", "content_hash", "status"]
    assert ridge.rows().select(same).equals(before.select(same))
    assert ridge.names() == ["CARD", "CARD-2"]


def test_pictures_whose_metadata_was_edited_are_the_same_card(ridge: Ridge) -> None:
    card = ridge.card("a", 1, 2, exif=True)
    ridge.run(card)
    for number in (1, 2):
        path = card / "DCIM" / "100RECNX" / f"IMG_{number:04}.JPG"
        taken = {"DateTimeOriginal": f"2026:05:01 10:00:{number:02}", "Artist": "Anna Ek"}
        write_picture(path, shift=number, exif=taken)
    assert ridge.run(card) == paths("", 2)
    assert ridge.names() == ["a"]


# Results of earlier versions


def test_results_without_a_list_of_sources_get_one_and_keep_their_paths(ridge: Ridge) -> None:
    first = ridge.card("20260501", 1, 2)
    ridge.run(first)
    as_before(ridge)
    before = ridge.rows()
    assert ridge.run(first) == paths("", 2)
    assert ridge.rows().drop("source").equals(before)
    assert ridge.names() == ["20260501"]


@pytest.mark.parametrize("known", [True, False])
def test_the_next_card_adds_to_results_of_an_earlier_version(ridge: Ridge, known: bool) -> None:
    first, second = ridge.card("20260501", 1, 2), ridge.card("20260601", 3)
    ridge.run(first)
    as_before(ridge)
    earlier = (first.as_uri(),) if known else ()
    if not known:
        # On another machine, whose catalog does not know where the first card was.
        assert ridge.run(second, earlier=("file:///nowhere",)) == [
            *paths("nowhere", 2),
            *paths("20260601", 1),
        ]
        ridge.run(first)
        assert ridge.names() == ["nowhere", "20260601"]
        return
    assert ridge.run(second, earlier=earlier) == paths("20260501", 2) + paths("20260601", 1)


def test_a_list_that_is_lost_is_made_again_from_the_table(ridge: Ridge) -> None:
    first, second = ridge.card("a", 1, 2), ridge.card("b", 3)
    ridge.run(first)
    ridge.run(second)
    before = ridge.rows()
    (ridge.results.root / SOURCES_FILE).unlink()
    ridge.run(second)
    assert ridge.rows().equals(before)
    assert "source a is not available (its place is not known)" in ridge.messages[-1]
    ridge.run(first)
    assert ridge.rows().equals(before)
    assert ridge.names() == ["a", "b"]


def as_before(ridge: Ridge) -> None:
    """Make the results those of a version without sources."""
    (ridge.results.root / SOURCES_FILE).unlink()
    table = ridge.results.root / KEY
    metadata = pl.read_parquet_metadata(table)
    rows = pl.read_parquet(table).drop("source")
    rows.write_parquet(table, metadata={k: v for k, v in metadata.items() if k != "ARROW:schema"})


# Places and names


def test_every_path_leads_to_its_file(ridge: Ridge) -> None:
    first, second = ridge.card("a", 1), ridge.card("b", 2)
    ridge.run(first)
    ridge.run(second)
    footage = open_footage(ridge.results, second.as_uri(), open_local, uses_copies=False)
    for path in ridge.rows()["path"]:
        with footage.reading(path) as file:
            assert file == ridge.root / path
    with pytest.raises(StoreError, match="is in no source"):
        footage.reading("c/IMG.JPG")


def test_a_source_that_the_profile_cannot_open_is_not_available(ridge: Ridge) -> None:
    ridge.run(ridge.card("a", 1))
    save_sources(
        ridge.results,
        "ridge",
        [Source("a", ridge.card("a").as_uri()), Source("north", "s3://bucket/north")],
    )
    assert ridge.run(ridge.root / "a") == paths("a", 1)
    assert "source north is not available (s3://bucket/north: is on S3" in ridge.messages[0]


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("file:///cards/20260501", "20260501"),
        ("file:///media/anna/CARD1/DCIM", "CARD1"),
        ("file:///media/anna/CARD1/DCIM/100RECNX", "CARD1"),
        ("file:///data/R%C3%A4v%207%20(north)", "Räv 7 (north)"),
        ("file:///data/north%1b%5b31m", "north\\x1b[31m"),
        ("file:///mnt/d", "d"),
        ("file:///", "ridge"),
        ("file:///DCIM", "ridge"),
        ("file:///cards/.hidden", "hidden"),
        ("s3://bucket/footage/uploads/north-1", "north-1"),
        ("s3://bucket", "bucket"),
        (None, "ridge"),
    ],
)
def test_a_source_has_the_name_of_its_folder(place: str | None, name: str) -> None:
    assert source_name(place, (), "ridge") == name


def test_names_of_sources_are_unique_on_every_disk() -> None:
    assert source_name("file:///x/DCIM1", ["dcim1", "DCIM1-2"], "ridge") == "DCIM1-3"
    assert path_prefix(Source("a", None), [Source("a", None)]) == ""


@pytest.mark.parametrize("text", ["", "[]", '{"camera_id": "ridge", "sources": [{}]}'])
def test_a_damaged_list_is_named(ridge: Ridge, text: str) -> None:
    ridge.results.write_bytes(SOURCES_FILE, text.encode())
    with pytest.raises(StoreError, match=r"sources\.json: is damaged"):
        load_sources(ridge.results)


# Removal


def remove(ridge: Ridge, name: str) -> RemovedSource:
    return remove_source(ridge.results, name, on_wait=lambda: None)


def test_a_removed_source_takes_its_rows_with_it_and_can_be_added_again(ridge: Ridge) -> None:
    cards = [ridge.card("a", 1, 2), ridge.card("b", 2, 3), ridge.card("c", 4)]
    for card in cards:
        ridge.run(card)
    three = ridge.rows()
    removed = remove(ridge, "a")
    assert (removed.media, removed.place) == (2, cards[0].as_uri())
    assert len(removed.hashes) == 1  # one of its pictures is on another card too
    assert ridge.rows()["path"].to_list() == paths("b", 2) + paths("c", 1)
    assert set(ridge.rows()["status"]) == {"ok"}  # no duplicate any more
    remove(ridge, "c")
    assert ridge.rows()["path"].to_list() == paths("", 2)
    assert ridge.names() == ["b"]
    for card in (cards[1], cards[2], cards[0]):
        ridge.run(card)
    assert sorted(ridge.rows()["path"]) == sorted(three["path"])


def test_a_source_can_be_removed_while_its_card_and_the_others_are_away(ridge: Ridge) -> None:
    ridge.run(ridge.card("a", 1), camera_clocks_of(ridge))
    ridge.run(ridge.card("b", 2, exif=True), camera_clocks_of(ridge))
    before = ridge.rows().filter(pl.col("source") == "b").drop("path", "source")
    for name in "ab":
        (ridge.root / name).rename(ridge.root / f"{name} away")
    remove(ridge, "a")
    assert ridge.rows().drop("path", "source").equals(before)  # with its corrected times


def camera_clocks_of(ridge: Ridge) -> CameraClocks:
    table = ridge.root / "clocks.csv"
    table.write_text("camera_id,from,until,shift,utc_offset\nridge,,,+01:00,\n")
    return camera_clocks(read_clock_corrections(table), ())


def test_what_cannot_be_removed_is_refused(ridge: Ridge) -> None:
    ridge.run(ridge.card("a", 1))
    with pytest.raises(UsageError, match="a: is the only source of camera ridge"):
        remove(ridge, "a")
    with pytest.raises(UsageError, match=r"b: is no source of .*; its sources: a"):
        remove(ridge, "b")


# Plans


def test_a_plan_counts_the_new_card_and_what_is_left_of_the_others(ridge: Ridge) -> None:
    profile = load_profile("local", {}, {})
    first, second = ridge.card("a", 1, 2), ridge.card("b", 3)
    ridge.run(first)
    for _ in range(2):  # before the second card is added, and after
        found = find_sources(
            "ridge", RunFootage(second.as_uri()), ridge.results, open_local, lambda path: None
        )
        footage = SourceFootage(found.opened, second.as_uri())
        table = pl.DataFrame({"path": [each.key for each in footage.list()]})
        assert table["path"].to_list() == paths("a", 2) + paths("b", 1)
        counted = count_footage(footage, ridge.results, profile, never_read)
        assert (counted.images, counted.frames) == (3, 3)
        known = with_prefixes(ridge.rows().lazy(), footage.prefixes()).collect()["path"]
        assert set(known) <= set(table["path"])
        ridge.run(second)


def never_read(path: Path) -> NoReturn:
    raise AssertionError(f"{path} was read")
