"""The journal: parts that are written once, and keys of all that results depend on."""

import hashlib
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odins_ravne_assets.munin.tables import journal as journal_module
from odins_ravne_assets.munin.tables import schemas
from odins_ravne_assets.munin.tables.journal import (
    HashSet,
    Stage1Journal,
    Stage2Journal,
    journal_key,
    unlabelled_parts,
    withdraw_all_failures,
)
from resources.storage.local_store import LocalStore


def content(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def finish(journal: Stage1Journal, number: int, boxes: int = 1) -> None:
    """Journal one still with some animals in it."""
    place = {"content_hash": content(number), "frame_number": 0}
    rows = [
        {
            **place,
            "box_number": box,
            "time_offset_ms": 0,
            "category": "animal",
            "confidence": 0.9,
            "category_confidence": None,
            "x": 0.1,
            "y": 0.1,
            "w": 0.2,
            "h": 0.2,
        }
        for box in range(boxes)
    ]
    crops = [
        {**place, "box_number": box, "crop_x": 0.0, "crop_y": 0.0, "crop_w": 1.0, "crop_h": 1.0}
        | {"jpeg": b"jpeg"}
        for box in range(boxes)
    ]
    media = {
        "content_hash": content(number),
        "status": "done",
        "reason": None,
        "frames_decoded": 1,
        "frames_skipped": 0,
        "boxes": boxes,
    }
    journal.append(media, [{**place, "time_offset_ms": 0, "boxes": boxes}], rows, crops)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def test_flushed_media_are_finished_for_the_next_worker(store: LocalStore) -> None:
    first = Stage1Journal(store, "key")
    finish(first, 1)
    finish(first, 2, boxes=3)
    assert content(1) not in Stage1Journal(store, "key").finished()
    first.flush()
    finished = Stage1Journal(store, "key").finished()
    assert content(1) in finished and content(2) in finished and content(3) not in finished
    with ExitStack() as stack:
        assert first.scan("boxes", stack).collect().height == 4
        assert first.scan("crops", stack).collect()["jpeg"].to_list() == [b"jpeg"] * 4


def test_a_part_without_its_commit_is_ignored(store: LocalStore) -> None:
    journal = Stage1Journal(store, "key")
    finish(journal, 1)
    journal.flush()
    [part] = journal.parts()
    store.delete(f"journal/stage1/key/{part}.media.parquet")
    again = Stage1Journal(store, "key")
    assert again.parts() == [] and len(again.finished()) == 0
    with ExitStack() as stack:
        assert again.scan("boxes", stack).collect().is_empty()
    again.remove_uncommitted()
    assert list(store.list()) == []


def test_removing_uncommitted_parts_leaves_committed_ones(store: LocalStore) -> None:
    journal = Stage1Journal(store, "key")
    finish(journal, 1)
    journal.flush()
    before = list(store.list())
    journal.remove_uncommitted()
    assert list(store.list()) == before


def test_the_same_media_make_the_same_part(store: LocalStore) -> None:
    for order in ([1, 2], [2, 1]):
        journal = Stage1Journal(store, "key")
        for number in order:
            finish(journal, number)
        journal.flush()
    assert len(Stage1Journal(store, "key").parts()) == 1


def fail(journal: Stage1Journal, number: int, reason: str) -> None:
    """Journal one medium that could not be decoded."""
    counts = {"frames_decoded": 0, "frames_skipped": 0, "boxes": 0}
    media = {"content_hash": content(number), "status": "failed", "reason": reason, **counts}
    journal.append(media, [], [], [])


def reasons(journal: Stage1Journal) -> list[str | None]:
    with ExitStack() as stack:
        return journal.scan("media", stack).collect().sort("content_hash")["reason"].to_list()


def test_a_withdrawn_failure_is_not_finished(store: LocalStore) -> None:
    journal = Stage1Journal(store, "key")
    finish(journal, 1)
    fail(journal, 2, "hung")
    journal.flush()
    assert withdraw_all_failures(store) == 1
    again = Stage1Journal(store, "key")
    assert content(1) in again.finished() and content(2) not in again.finished()
    assert reasons(again) == [None]


def test_a_medium_that_fails_again_has_the_new_reason_and_one_row(store: LocalStore) -> None:
    for reason in ("hung", "hung again", "and again"):
        journal = Stage1Journal(store, "key")
        assert withdraw_all_failures(store) == (reason != "hung")
        fail(journal, 2, reason)
        journal.flush()
        found = Stage1Journal(store, "key")
        assert reasons(found) == [reason]
        assert content(2) in found.finished()


def test_an_empty_flush_writes_nothing(store: LocalStore) -> None:
    Stage1Journal(store, "key").flush()
    assert list(store.list()) == []


def test_a_part_is_due_if_it_is_full_or_old(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Stage1Journal(store, "key")
    assert not journal.due()
    finish(journal, 1)
    assert not journal.due()
    monkeypatch.setattr(journal_module, "PART_SECONDS", 0.0)
    assert journal.due()
    monkeypatch.setattr(journal_module, "PART_SECONDS", 1000.0)
    monkeypatch.setattr(journal_module, "PART_MEDIA", 1)
    assert journal.due()


def test_journals_of_different_keys_are_separate(store: LocalStore) -> None:
    one, other = Stage1Journal(store, "one"), Stage1Journal(store, "other")
    finish(one, 1)
    one.flush()
    assert other.parts() == [] and len(one.parts()) == 1


def test_stage_2_labels_part_by_part(store: LocalStore) -> None:
    stage1, stage2 = Stage1Journal(store, "key"), Stage2Journal(store, "labels")
    for number in (1, 2):
        finish(stage1, number)
        stage1.flush()
    first, second = unlabelled_parts(stage1, stage2)
    stage2.write(first, [])
    assert list(unlabelled_parts(stage1, stage2)) == [second]
    with ExitStack() as stack:
        assert stage2.scan([first], stack).collect().is_empty()


def test_a_key_depends_on_all_its_settings() -> None:
    settings = {"model": "a", "threshold": 0.25, "sampling": "fps"}
    keys = {journal_key(settings)}
    keys |= {journal_key({**settings, name: "other"}) for name in settings}
    assert len(keys) == 4
    assert journal_key(dict(reversed(settings.items()))) == journal_key(settings)


@given(st.sets(st.integers(0, 1000)), st.integers(0, 1000))
def test_a_hash_set_contains_its_hashes_only(numbers: set[int], other: int) -> None:
    hashes = HashSet(pl.Series([content(number)]) for number in numbers)
    assert len(hashes) == len(numbers)
    assert (content(other) in hashes) == (other in numbers)


def test_hashes_that_end_in_zeros_are_distinct() -> None:
    one, other = "ab" + "00" * 31, "ab01" + "00" * 30
    assert one in HashSet([pl.Series([one])]) and other not in HashSet([pl.Series([one])])


def test_parts_of_an_earlier_version_are_read_together_with_new_ones(store: LocalStore) -> None:
    """Columns that were added later are null in them."""
    journal = Stage1Journal(store, "key")
    finish(journal, 1)
    journal.flush()
    (old,) = journal.parts()
    for table in ("frames", "boxes"):
        with journal.reading(old, table) as path:
            frame = pl.read_parquet(path)
            frame.drop(schemas.ADDED_COLUMNS & set(frame.columns)).write_parquet(path)
            assert pl.read_parquet(path).width < frame.width
    finish(journal, 2)
    journal.flush()
    with ExitStack() as stack:
        for table, schema in (("frames", schemas.FOUND_FRAMES), ("boxes", schemas.FOUND_BOXES)):
            rows = journal.scan(table, stack).collect()
            assert rows.schema == schema
            assert rows.height == 2
