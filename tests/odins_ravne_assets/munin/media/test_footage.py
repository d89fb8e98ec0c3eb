"""Stage 0: reading the files of one camera into the media table."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.munin.media.camera_clock import CameraClock, CameraClocks, camera_clocks
from odins_ravne_assets.munin.media.footage import (
    FootageCounts,
    offset_rules,
    read_footage,
    refresh_media_table,
)
from odins_ravne_assets.munin.media.media_table import (
    StoredMedia,
    case_conflicts,
    open_media_table,
    write_media_table,
)
from odins_ravne_assets.munin.media.probe import Probe
from odins_ravne_assets.munin.media.probe_process import probe_media
from odins_ravne_assets.munin.tables.schemas import MEDIA
from odins_ravne_assets.worker.context import StepContext
from odins_ravne_assets.worker.footage_stage import run_footage
from odins_ravne_assets.worker.pipes_worker import PipesReporter
from resources.errors import StoreError
from resources.settings.clock_corrections import read_clock_corrections
from resources.settings.loader import load_profile
from resources.settings.profile import Stage0
from resources.storage.local_store import LocalStore
from resources.storage.object_store import StoredObject, key_order

KEY = "tables/media.parquet"
EXIF_TIME = "2021:05:28 09:30:11"
TAKEN = datetime(2021, 5, 28, 9, 30, 11)
NOBODY = 65534  # the user without rights


class CountingStore(LocalStore):
    """A folder that records which of its files were opened."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.opened: list[str] = []

    @contextmanager
    def reading(self, key: str) -> Iterator[Path]:
        self.opened.append(key)
        with super().reading(key) as path:
            yield path


class Card:
    """A camera's memory card and its results, for one or more passes."""

    def __init__(self, root: Path) -> None:
        self.footage = CountingStore(root / "card")
        self.results = LocalStore(root / "results")
        self.footage.root.mkdir()
        self.counts = FootageCounts()

    def refresh(
        self,
        settings: Stage0 | None = None,
        corrections: CameraClocks | None = None,
        update: bool = False,
    ) -> dict[str, dict[str, Any]]:
        """One pass; the rows by path."""
        self.footage.opened.clear()
        settings = settings or Stage0()
        self.counts = refresh_media_table(
            "ridge-7",
            self.footage,
            self.results,
            KEY,
            settings,
            lambda path: probe_media(path, settings),
            corrections or CameraClocks.none(),
            update=update,
        )
        table = pl.read_parquet(self.results.root / KEY)
        assert table.schema == MEDIA
        assert table["path"].to_list() == sorted(table["path"], key=key_order)
        return {row["path"]: row for row in table.iter_rows(named=True)}

    def corrected(self, line: str) -> CameraClocks:
        path = self.results.root / "clocks.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"camera_id,from,until,shift,utc_offset\n{line}\n", encoding="utf-8")
        return camera_clocks(read_clock_corrections(path), ())


def first_pass(
    footage: Any,
    counts: FootageCounts | None = None,
    probe: Any = lambda path: probe_media(path, Stage0()),
    **more: Any,
) -> Iterator[dict[str, Any]]:
    """Return the rows of a first pass."""
    known, corrections = StoredMedia(), CameraClocks.none()
    counts = counts or FootageCounts()
    return read_footage("ridge-7", footage, Stage0(), probe, known, corrections, counts, **more)


@pytest.fixture
def card(tmp_path: Path) -> Card:
    return Card(tmp_path)


@pytest.fixture
def put(card: Card, make_picture: Any) -> Callable[..., Path]:
    """Put a picture on the card; pictures of the same `shift` and EXIF have the same content."""

    def put(name: str, shift: int = 0, **exif: Any) -> Path:
        path: Path = make_picture(card.footage.root / name, shift=shift, exif=exif)
        return path

    return put


def set_modified(path: Path, time: str) -> None:
    seconds = int(datetime.fromisoformat(time).timestamp())
    os.utime(path, ns=(seconds * 10**9, seconds * 10**9))


# Names


def test_a_medium_whose_name_changes_its_unicode_form_is_the_same_medium(
    card: Card, put: Any
) -> None:
    """As when a card that macOS wrote is processed on Linux next."""
    names = ["Forêt/é.jpg", "Forêt/z.jpg", "zone.jpg", "Zürich.jpg"]
    for shift, name in enumerate(names):
        put(unicodedata.normalize("NFD", name), shift)
    rows = card.refresh()
    assert rows.keys() == set(names)
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert card.refresh() == rows
    assert card.footage.opened == []
    for path in sorted(card.footage.root.rglob("*"), reverse=True):
        path.rename(path.with_name(unicodedata.normalize("NFC", path.name)))
    assert card.refresh() == rows
    assert card.footage.opened == []


def test_names_that_differ_only_by_case_or_unicode_form_are_found(card: Card, put: Any) -> None:
    decomposed = unicodedata.normalize("NFD", "é.jpg")
    names = ["DCIM/a.jpg", "DCIM/A.JPG", "dcim/a.jpg", "é.jpg", decomposed, "É.jpg", "other.jpg"]
    for shift, name in enumerate(names):
        put(name, shift)
    assert card.refresh().keys() == set(names)
    assert case_conflicts(card.results) == [
        ("DCIM/A.JPG", "DCIM/a.jpg"),
        ("DCIM/A.JPG", "dcim/a.jpg"),
        (decomposed, "É.jpg"),
        (decomposed, "é.jpg"),
    ]


def test_stage_0_warns_of_names_that_differ_only_by_case(card: Card, put: Any) -> None:
    warnings: list[str] = []
    reporter = SimpleNamespace(warning=warnings.append, progress=lambda progress: None)
    camera = Camera("ridge-7", card.footage.url, card.results.url)
    context = StepContext(camera, load_profile("local"), reporter, threading.Event())  # type: ignore[arg-type]
    put("a.jpg")
    run_footage(context)
    assert not [text for text in warnings if "case" in text]
    put("A.jpg", 1)
    run_footage(context)
    assert [text for text in warnings if "case" in text] == [
        "1 media differ from another only by case, such as a.jpg from A.jpg: a copy on macOS or "
        "Windows would hold one of both; rename them"
    ]


def test_the_last_report_of_stage_0_has_the_number_of_media(card: Card, put: Any) -> None:
    for number in range(6):
        put(f"{number}.jpg", number)
    sent: list[dict[str, Any]] = []
    pipes = SimpleNamespace(report_custom_message=sent.append, log=SimpleNamespace())
    reporter = PipesReporter(pipes, SimpleNamespace())  # type: ignore[arg-type]
    camera = Camera("ridge-7", card.footage.url, card.results.url)
    run_footage(StepContext(camera, load_profile("local"), reporter, threading.Event()))
    progress = {"stage": "footage", "done": 6, "total": 6, "unit": "media"}
    assert sent[-1] == {"progress": progress}


# Rows


def test_a_medium_becomes_a_row_with_all_its_metadata(card: Card, put: Any) -> None:
    path = put("DCIM/100RECNX/IMG_0001.JPG", DateTimeOriginal=EXIF_TIME, Make="ACME")
    rows = card.refresh()
    assert rows == {
        "DCIM/100RECNX/IMG_0001.JPG": dict.fromkeys(MEDIA.names())
        | {
            "camera_id": "ridge-7",
            "path": "DCIM/100RECNX/IMG_0001.JPG",
            "content_hash": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
            "modified_ns": path.stat().st_mtime_ns,
            "kind": "image",
            "format": "jpeg",
            "width": 64,
            "height": 48,
            "recorded_at": TAKEN,
            "captured_at": TAKEN,
            "time_source": "exif",
            "camera_make": "ACME",
            "status": "ok",
        }
    }


def test_a_video_becomes_a_row_with_its_duration(card: Card, make_video: Any) -> None:
    make_video(card.footage.root / "a.MP4")
    row = card.refresh()["a.MP4"]
    assert (row["kind"], row["format"], row["fps"]) == ("video", "mp4", 25.0)
    assert row["duration_seconds"] == pytest.approx(0.4)


def test_rows_come_folder_by_folder_in_the_order_of_names(card: Card, put: Any) -> None:
    names = ["a/z.jpg", "a b/c.jpg", "a.jpg", "a-b.jpg", "B.jpg", "å.jpg", "Z/æ ø/1.jpg"]
    for shift, name in enumerate(names):
        put(name, shift)
    expected = ["B.jpg", "Z/æ ø/1.jpg", "a/z.jpg", "a b/c.jpg", "a-b.jpg", "a.jpg", "å.jpg"]
    assert list(card.refresh()) == expected
    assert list(card.refresh()) == expected


def test_an_empty_card_gives_an_empty_table(card: Card) -> None:
    assert card.refresh() == {}
    assert card.refresh() == {}


def test_other_files_are_counted_and_system_files_are_ignored(card: Card, put: Any) -> None:
    put("IMG_0001.JPG")
    for name in ("notes.txt", "a.TXT", "README", "x.wav", "DCIM/settings.dat"):
        (card.footage.root / name).parent.mkdir(exist_ok=True)
        (card.footage.root / name).write_bytes(b"x")
    hidden = ["._IMG_0001.JPG", "Thumbs.db", ".Trashes/1.jpg", "@eaDir/1.jpg"]
    hidden += ["DCIM/#recycle/1.jpg", "DCIM/#recycle/north/2.jpg", "FOUND.001/1.jpg"]
    for name in hidden:
        (card.footage.root / name).parent.mkdir(exist_ok=True, parents=True)
        (card.footage.root / name).write_bytes(b"x")
    assert list(card.refresh()) == ["IMG_0001.JPG"]
    kinds = {kind: group.files for kind, group in card.counts.other_files.groups.items()}
    assert kinds == {"document": 2, "other file": 1, "sound file": 1, "program or setting": 1}


def test_counts_are_reported_after_each_row(card: Card, put: Any) -> None:
    for shift, name in enumerate(("a.jpg", "b.jpg")):
        put(name, shift)
    put("c.jpg")
    (card.footage.root / "d.jpg").touch()
    reported: list[int] = []
    rows = first_pass(card.footage, on_progress=lambda counts: reported.append(counts.media))
    assert [row["status"] for row in rows] == ["ok", "ok", "duplicate", "failed"]
    assert reported == [1, 2, 3, 4]


# What cannot be read


def test_an_empty_file_and_a_text_fail_with_a_reason_and_the_rest_goes_on(
    card: Card, put: Any
) -> None:
    put("ok.jpg")
    (card.footage.root / "empty.jpg").touch()
    (card.footage.root / "empty.mp4").touch()
    (card.footage.root / "text.jpg").write_text("hello")
    rows = card.refresh()
    assert {name: row["status"] for name, row in rows.items()} == {
        "empty.jpg": "failed",
        "empty.mp4": "failed",
        "ok.jpg": "ok",
        "text.jpg": "failed",
    }
    # Each with a reason of its own: an empty file is no duplicate of another.
    assert rows["empty.jpg"]["reason"] == rows["empty.mp4"]["reason"] == "file is empty"
    assert rows["text.jpg"]["reason"] == "is text, not a picture or a video"
    assert (rows["text.jpg"]["kind"], rows["empty.mp4"]["kind"]) == ("image", "video")
    assert rows["text.jpg"]["content_hash"] == hashlib.sha256(b"hello").hexdigest()


def test_a_pipe_and_a_socket_with_a_mediums_name_fail_without_hanging(card: Card) -> None:
    os.mkfifo(card.footage.root / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(card.footage.root / "socket.jpg"))
        rows = card.refresh()
    assert {row["status"] for row in rows.values()} == {"failed"}
    assert len(rows) == 2


def test_a_name_that_is_not_text_fails_and_is_printable(card: Card, put: Any) -> None:
    name = os.fsencode(card.footage.root) + b"/IMG\xff0001.jpg"
    Path(os.fsdecode(name)).write_bytes(put("a.jpg").read_bytes())
    rows = card.refresh()
    assert rows["IMG\\xff0001.jpg"]["reason"] == "its name is not valid UTF-8: rename it"
    assert rows["a.jpg"]["status"] == "ok"


def test_a_file_that_grows_while_it_is_read_fails(card: Card, put: Any) -> None:
    path = put("a.jpg")
    grown = StoredObject("a.jpg", path.stat().st_size - 1, path.stat().st_mtime_ns)

    class StaleListing(LocalStore):
        def list(self, prefix: str = "", on_error: Any = None) -> Iterator[StoredObject]:
            yield grown

    card.footage = StaleListing(card.footage.root)  # type: ignore[assignment]
    (row,) = first_pass(card.footage)
    assert row["status"] == "failed" and "changed while it was read" in row["reason"]


def test_links_to_folders_are_followed_without_loops(card: Card, put: Any) -> None:
    put("a/1.jpg")
    (card.footage.root / "a" / "up").symlink_to(card.footage.root)
    (card.footage.root / "a" / "self").symlink_to(card.footage.root / "a")
    assert list(card.refresh()) == ["a/1.jpg"]


def test_what_is_named_like_a_medium_but_is_no_file_becomes_a_row(card: Card, put: Any) -> None:
    put("a/1.jpg")
    root = card.footage.root
    (root / "a" / "0.jpg").symlink_to(".git/annex/objects/one")
    (root / "a" / "2.jpg").symlink_to("2.jpg")
    (root / "b.txt").symlink_to("nowhere")
    os.mkfifo(root / "z.mp4")
    rows = card.refresh()
    assert {key: row["reason"] for key, row in rows.items() if row["status"] == "failed"} == {
        "a/0.jpg": "is a link of git-annex whose content is not here: run git annex get",
        "a/2.jpg": "is a link that leads to itself",
        "z.mp4": "is a named pipe",
    }
    assert list(rows) == ["a/0.jpg", "a/1.jpg", "a/2.jpg", "z.mp4"]
    assert card.counts.other_files.groups["document"].examples == ["b.txt"]


def test_a_picture_with_a_sparse_tail_is_refused_unread(card: Card, put: Any) -> None:
    with put("a.jpg").open("r+b") as file:
        file.truncate(2**31)
    row = card.refresh()["a.jpg"]
    assert (row["status"], row["content_hash"]) == ("failed", None)
    assert row["reason"] == "its file has 2,147 MB, too many for 200 megapixels"


def test_a_tail_that_the_picture_does_not_explain_is_refused(card: Card, put: Any) -> None:
    with put("a.jpg").open("r+b") as file:
        file.truncate(2**27)
    assert card.refresh()["a.jpg"]["reason"].startswith("its file has 134 MB, too many for 0.00")


def test_a_file_that_is_replaced_while_it_is_read_fails_until_the_next_pass(
    card: Card, put: Any
) -> None:
    path = put("a.jpg")

    def probe(found: Path) -> Probe:
        answer = probe_media(found, Stage0())
        os.utime(path, ns=(1, 1))  # same size, another date
        return answer

    (row,) = first_pass(card.footage, probe=probe)
    assert row["status"] == "failed" and "changed while it was read" in row["reason"]
    assert card.refresh()["a.jpg"]["status"] == "ok"


def test_a_row_from_before_the_bounds_of_headers_is_read_again(card: Card, put: Any) -> None:
    put("a.jpg")
    card.refresh()
    with card.results.reading(KEY) as path:
        stored = pl.read_parquet(path)
        metadata = pl.read_parquet_metadata(path)
    endless = stored.with_columns(duration_seconds=2.8e11)
    with card.results.writing(KEY) as path:
        endless.write_parquet(path, metadata=metadata)
    row = card.refresh()["a.jpg"]
    assert (row["status"], row["duration_seconds"]) == ("ok", None)


def rows_without_rights(root: Path) -> list[dict[str, Any]]:
    """Read a footage folder without the rights of the user that runs the tests."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            small = Probe(kind="image", format="jpeg", width=1, height=1)
            rows = first_pass(LocalStore(root), probe=lambda path: small)
            columns = [{key: row[key] for key in ("path", "status", "reason")} for row in rows]
            os.write(write_end, json.dumps(columns).encode())
            status = 0
        except StoreError as error:
            os.write(write_end, json.dumps([{"error": str(error)}]).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        answer = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    found: list[dict[str, Any]] = json.loads(answer)
    return found


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        yield root
        for path in root.rglob("*"):
            path.chmod(0o755)


def test_unreadable_files_and_folders_become_failed_rows(open_folder: Path) -> None:
    for name in ("a/1.jpg", "b/2.jpg", "c/3.jpg"):
        (open_folder / name).parent.mkdir()
        (open_folder / name).write_bytes(b"x")
    (open_folder / "a/1.jpg").chmod(0)
    (open_folder / "b").chmod(0)
    assert rows_without_rights(open_folder) == [
        {
            "path": "a/1.jpg",
            "status": "failed",
            "reason": "cannot be read: Permission denied",
        },
        {
            "path": "b/",
            "status": "failed",
            "reason": "folder cannot be listed: Permission denied",
        },
        {"path": "c/3.jpg", "status": "ok", "reason": None},
    ]


def test_a_card_that_cannot_be_listed_is_an_error(open_folder: Path) -> None:
    (open_folder / "card").mkdir(mode=0o000)
    (found,) = rows_without_rights(open_folder / "card")
    assert "cannot be listed: Permission denied" in found["error"]


def test_a_store_that_lists_out_of_order_is_refused(card: Card, put: Any) -> None:
    class Backwards(LocalStore):
        def list(self, prefix: str = "", on_error: Any = None) -> Iterator[StoredObject]:
            yield from reversed([*super().list(prefix, on_error)])

    put("a.jpg")
    put("b.jpg", 1)
    card.footage = Backwards(card.footage.root)  # type: ignore[assignment]
    rows = first_pass(card.footage)
    with pytest.raises(StoreError, match=r"a\.jpg is not listed in order"):
        list(rows)


# Times


def test_exif_takes_precedence_over_the_name_and_the_name_over_the_file_date(
    card: Card, put: Any
) -> None:
    both = put("2022-01-02_03-04-05.jpg", 1, DateTimeOriginal=EXIF_TIME)
    named = put("2022-01-02_03-04-06.jpg", 2)
    bare = put("bare.jpg", 3)
    for path in (both, named, bare):
        set_modified(path, "2022-02-02T12:00:00+00:00")
    rows = card.refresh(Stage0(use_file_date=True))
    times = {
        name: (row["captured_at"], row["time_source"], row["utc_offset_minutes"])
        for name, row in rows.items()
    }
    assert times == {
        both.name: (TAKEN, "exif", None),
        named.name: (datetime(2022, 1, 2, 3, 4, 6), "filename", None),
        bare.name: (datetime(2022, 2, 2, 12), "file_date", 0),
    }


def test_a_file_date_is_not_used_by_default(card: Card, put: Any) -> None:
    put("bare.jpg")
    row = card.refresh()["bare.jpg"]
    assert (row["recorded_at"], row["captured_at"], row["time_source"]) == (None, None, None)


def test_a_picture_from_the_future_has_a_remark(card: Card, put: Any) -> None:
    set_modified(put("a.jpg", DateTimeOriginal=EXIF_TIME), "2021-05-20T12:00:00+00:00")
    row = card.refresh()["a.jpg"]
    assert (row["status"], row["captured_at"]) == ("ok", TAKEN)
    assert row["reason"] == "recorded after the file's own date, 2021-05-20: the clock looks wrong"
    # Once, however many passes there are.
    assert card.refresh()["a.jpg"] == row


def test_a_correction_moves_the_time_of_capture_and_not_the_recorded_one(
    card: Card, put: Any
) -> None:
    put("a.jpg", DateTimeOriginal=EXIF_TIME)
    row = card.refresh(corrections=card.corrected("ridge-7,,,-3600,+02:00"))["a.jpg"]
    assert row["recorded_at"] == TAKEN
    assert row["captured_at"] == datetime(2021, 5, 28, 8, 30, 11)
    assert row["utc_offset_minutes"] == 120


# Duplicates


def test_repeated_content_is_a_duplicate_of_the_first_path(card: Card, put: Any) -> None:
    put("b/copy.jpg", DateTimeOriginal=EXIF_TIME)
    put("a/original.jpg", DateTimeOriginal=EXIF_TIME)
    put("c.jpg", 1)
    rows = card.refresh()
    assert rows["a/original.jpg"]["status"] == rows["c.jpg"]["status"] == "ok"
    copy = rows["b/copy.jpg"]
    assert (copy["status"], copy["reason"]) == ("duplicate", "same content as a/original.jpg")
    assert copy["content_hash"] == rows["a/original.jpg"]["content_hash"]
    assert copy["captured_at"] == TAKEN


def test_the_copy_of_a_deleted_original_takes_its_place_with_its_remark(
    card: Card, put: Any
) -> None:
    original = put("a.jpg", DateTimeOriginal="2000:01:01 00:00:00")
    put("b.jpg", DateTimeOriginal="2000:01:01 00:00:00")
    assert card.refresh()["b.jpg"]["status"] == "duplicate"
    original.unlink()
    row = card.refresh()["b.jpg"]
    assert (row["status"], row["reason"]) == ("ok", "clock looks unset")


def test_a_copy_that_sorts_before_becomes_the_original(card: Card, put: Any) -> None:
    put("b.jpg")
    assert card.refresh()["b.jpg"]["status"] == "ok"
    put("a.jpg")
    rows = card.refresh()
    assert (rows["a.jpg"]["status"], rows["b.jpg"]["status"]) == ("ok", "duplicate")
    assert card.footage.opened == ["a.jpg"]


# A second pass


def test_a_second_pass_opens_nothing_and_gives_the_same_rows(
    card: Card, put: Any, make_video: Any
) -> None:
    for shift in range(5):
        put(f"{shift}.jpg", shift, DateTimeOriginal=EXIF_TIME, OffsetTimeOriginal="+02:00")
    put("copy.jpg", DateTimeOriginal=EXIF_TIME, OffsetTimeOriginal="+02:00")
    put("2021-05-28_09-30-11.jpg", 9)
    metadata = {"creation_time": "2021-05-28T09:30:11Z"}
    make_video(card.footage.root / "clip.mp4", metadata=metadata)
    corrections = card.corrected("ridge-7,,2021-01-01,,+01:00")
    first = card.refresh(corrections=corrections)
    assert len(card.footage.opened) == 8
    table = (card.results.root / KEY).read_bytes()
    assert card.refresh(corrections=corrections) == first
    assert card.footage.opened == []
    assert (card.results.root / KEY).read_bytes() == table


def test_only_what_is_new_changed_or_failed_is_opened(card: Card, put: Any) -> None:
    put("a.jpg", 1)
    changed = put("b.jpg", 2)
    put("c.jpg", 3)
    (card.footage.root / "empty.jpg").touch()
    card.refresh()
    put("d.jpg", 4)
    put("b.jpg", 5)
    set_modified(changed, "2021-06-01T00:00:00+00:00")
    rows = card.refresh()
    assert card.footage.opened == ["b.jpg", "d.jpg", "empty.jpg"]
    assert rows["b.jpg"]["content_hash"] == hashlib.sha256(changed.read_bytes()).hexdigest()


def test_a_renamed_file_keeps_its_content_hash_and_a_deleted_one_has_no_row(
    card: Card, put: Any
) -> None:
    path = put("a.jpg")
    put("b.jpg", 1)
    before = card.refresh()
    path.rename(path.with_name("z.jpg"))
    after = card.refresh()
    assert list(after) == ["b.jpg", "z.jpg"]
    assert after["z.jpg"] == before["a.jpg"] | {"path": "z.jpg"}


def test_corrections_apply_to_rows_that_are_not_read_again(card: Card, put: Any) -> None:
    put("a.jpg", DateTimeOriginal=EXIF_TIME, OffsetTimeOriginal="+05:00")
    before = card.refresh()["a.jpg"]
    for line, minute, offset in (
        ("ridge-7,,,+60,", 31, 300),
        ("ridge-7,,,+120,", 32, 300),
        ("ridge-7,,,+120,+02:00", 32, 120),
        ("ridge-7,,,+60,+03:00", 31, 180),
    ):
        row = card.refresh(corrections=card.corrected(line))["a.jpg"]
        assert row["captured_at"] == datetime(2021, 5, 28, 9, minute, 11)
        assert (row["recorded_at"], row["utc_offset_minutes"]) == (TAKEN, offset)
        assert card.footage.opened == []
    assert card.refresh()["a.jpg"] == before


def test_without_a_correction_the_cameras_own_offset_applies_again(card: Card, put: Any) -> None:
    put("a.jpg", 1, DateTimeOriginal=EXIF_TIME, OffsetTimeOriginal="+05:00")
    put("b.jpg", 2, DateTimeOriginal="2021:06:28 09:30:11", OffsetTimeOriginal="+05:00")
    before = card.refresh()
    june = card.refresh(corrections=card.corrected("ridge-7,2021-06-01,,,+02:00"))
    assert [row["utc_offset_minutes"] for row in june.values()] == [300, 120]
    assert card.refresh() == before


def test_the_meaning_of_container_times_can_be_changed_later(card: Card, make_video: Any) -> None:
    creation = {"creation_time": "2021-05-28T09:30:11Z"}
    make_video(card.footage.root / "a.mp4", metadata=creation)
    for meaning, offset in (("camera", None), ("utc", 0), ("camera", None)):
        row = card.refresh(Stage0(container_time=meaning))["a.mp4"]  # type: ignore[arg-type]
        assert (row["recorded_at"], row["utc_offset_minutes"]) == (TAKEN, offset)


def test_the_use_of_file_dates_can_be_changed_later_without_reading(card: Card, put: Any) -> None:
    set_modified(put("a.jpg"), "2021-05-28T09:30:11+00:00")
    without = card.refresh()["a.jpg"]
    row = card.refresh(Stage0(use_file_date=True))["a.jpg"]
    assert (row["captured_at"], row["time_source"]) == (TAKEN, "file_date")
    assert card.refresh()["a.jpg"] == without
    assert card.footage.opened == []


def test_a_smaller_limit_of_megapixels_applies_to_earlier_rows(card: Card, put: Any) -> None:
    put("a.jpg")
    assert card.refresh()["a.jpg"]["status"] == "ok"
    row = card.refresh(Stage0(max_megapixels=0.001))["a.jpg"]
    assert row["status"] == "failed" and "max_megapixels" in row["reason"]
    assert card.refresh()["a.jpg"]["status"] == "ok"


# The table


def test_rows_of_another_reader_version_are_not_reused(card: Card, put: Any) -> None:
    put("a.jpg")
    card.refresh()
    path = card.results.root / KEY
    pl.read_parquet(path).write_parquet(path)  # without the reader version
    card.refresh()
    assert card.footage.opened == ["a.jpg"]


def test_tags_of_an_earlier_version_are_read_again_by_an_update_alone(card: Card, put: Any) -> None:
    put("a.jpg", shift=1, DateTimeOriginal=EXIF_TIME)
    card.refresh()
    table = pl.read_parquet(card.results.root / KEY)
    kept = {"munin.reader": "1", "munin.offset_rules": offset_rules(Stage0(), CameraClock())}
    # As version 0.1.0 wrote it, and without the time that it did not find.
    table.drop("trigger", "temperature").with_columns(
        recorded_at=pl.lit(None, pl.Datetime("ms")), time_source=pl.lit(None, pl.String)
    ).write_parquet(card.results.root / KEY, metadata=kept)
    put("b.jpg", shift=2, DateTimeOriginal=EXIF_TIME)
    for _ in range(2):
        rows = card.refresh()
        assert rows["a.jpg"]["recorded_at"] is None and rows["b.jpg"]["recorded_at"] == TAKEN
        assert card.counts.older_tags
    assert card.refresh(update=True)["a.jpg"]["recorded_at"] == TAKEN
    assert not card.counts.older_tags
    card.refresh(update=True)
    assert card.footage.opened == []


def test_a_name_hours_from_the_containers_time_is_a_remark(card: Card, make_video: Any) -> None:
    tags = {"creation_time": "2021-05-28T01:30:11Z"}
    make_video(card.footage.root / "VID_20210528_093011.mp4", metadata=tags, frames=3)
    make_video(card.footage.root / "VID_20210528_013015.mp4", metadata=tags, frames=4)
    rows = card.refresh()
    assert "is 8 h from the local time of its name, 09:30:11" in str(
        rows["VID_20210528_093011.mp4"]["reason"]
    )
    assert rows["VID_20210528_013015.mp4"]["reason"] is None


def test_a_damaged_table_is_made_again(card: Card, put: Any) -> None:
    put("a.jpg")
    card.results.write_bytes(KEY, b"PAR1 and then something else PAR1")
    assert card.refresh()["a.jpg"]["status"] == "ok"


def test_an_interrupted_pass_leaves_the_previous_table(card: Card, put: Any) -> None:
    put("a.jpg")
    card.refresh()
    before = (card.results.root / KEY).read_bytes()

    def breaking() -> Iterator[dict[str, Any]]:
        yield dict.fromkeys(MEDIA.names())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_media_table(breaking(), card.results, KEY, "")
    assert (card.results.root / KEY).read_bytes() == before
    names = {entry.name for entry in (card.results.root / KEY).parent.iterdir()}
    assert names == {"media.parquet", "other_files.parquet"}


def test_a_table_of_many_chunks_has_all_rows_in_order(card: Card) -> None:
    blank = dict.fromkeys(MEDIA.names())
    paths = [f"{number:06}.jpg" for number in range(25_001)]
    write_media_table((blank | {"path": path} for path in paths), card.results, KEY, "rules")
    with open_media_table(card.results, KEY) as known:
        assert known.offset_rules == "rules"
        assert [row["path"] for row in known.rows] == paths


MEMORY = """
import hashlib, resource, sys
from pathlib import Path
from odins_ravne_assets.munin.media.camera_clock import CameraClocks
from odins_ravne_assets.munin.media.footage import offset_rules, refresh_media_table
from odins_ravne_assets.munin.media.media_table import write_media_table
from odins_ravne_assets.munin.tables.schemas import MEDIA
from resources.storage.local_store import LocalStore
from resources.storage.object_store import StoredObject
from resources.settings.profile import Stage0

class Listing(LocalStore):
    def list(self, prefix="", on_error=None):
        for number in range(int(sys.argv[2])):
            yield StoredObject(f"DCIM/{number:09}.JPG", 1_000_000 + number, number)

def rows():
    for found in Listing(Path(sys.argv[1])).list():
        content_hash = hashlib.sha256(found.key.encode()).hexdigest()
        yield dict.fromkeys(MEDIA.names()) | {
            "path": found.key, "bytes": found.size, "modified_ns": found.modified_ns,
            "content_hash": content_hash, "kind": "image", "format": "jpeg", "status": "ok",
            "width": 4000, "height": 3000,
        }

results, settings = LocalStore(Path(sys.argv[1])), Stage0()
rules = offset_rules(settings, CameraClocks.none().of("c"))
write_media_table(rows(), results, "media.parquet", rules)
counts = refresh_media_table(
    "c", Listing(Path(sys.argv[1])), results, "media.parquet", settings, None, CameraClocks.none()
)
assert counts.media == int(sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_number_of_media(tmp_path: Path) -> None:
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-c", MEMORY, str(tmp_path), str(media)],
                capture_output=True,
                check=True,
                text=True,
            ).stdout
        )
        for media in (20_000, 120_000)
    ]
    # 100,000 rows are over 100 MB as Python holds them, and 12 MB as one table of polars.
    assert peaks[1] - peaks[0] < 60_000, "KiB"


# The labelled footage


@pytest.mark.footage
def test_the_labelled_footage_as_one_camera(footage: Path, card: Card) -> None:
    card.footage = CountingStore(footage)
    rows = card.refresh()
    assert card.counts.media == 74
    assert card.counts.other_files.groups["other file"].files == 1  # a licence
    failed = {path: row["reason"] for path, row in rows.items() if row["status"] == "failed"}
    assert failed == {
        "animl/Southwest/error_img.JPG": "file is empty",
        "animl/Southwest/error_vid.mp4": "file is empty",
    }
    heron = rows["camtrapdp_example/media/20210531082538-RCNX0031.JPG"]
    # Not the day it was uploaded, which is in its name.
    assert (heron["captured_at"], heron["time_source"]) == (
        datetime(2021, 4, 11, 20, 43, 9),
        "exif",
    )
    assert any("Taï_cam192" in path for path in rows)
    manifest = pl.read_csv(footage / "MANIFEST.csv")
    for path, size, sha in manifest.select("path", "bytes", "sha256_16").iter_rows():
        if path in rows:
            assert rows[path]["bytes"] == size
            assert rows[path]["content_hash"].startswith(sha)
    assert card.refresh() == rows
    assert card.footage.opened == list(failed)
