"""Damaged results: named, and made again. Parts of a newer version: refused."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pytest
from camera_tables import NIGHT
from report_rig import CameraOutput, LabelledBox, stage3

from odins_ravne_assets.hugin.report.camera_results import load_camera_results
from odins_ravne_assets.munin.media.media_table import open_media_table
from odins_ravne_assets.munin.tables.damage import damage_error, delete_damaged
from odins_ravne_assets.munin.tables.journal import Stage1Journal, Stage2Journal
from resources.errors import DamagedFileError, StoreError
from resources.ledger.table import LEDGER_SCHEMA, write_ledger
from resources.settings.profile import Privacy
from resources.storage.layout import LEDGER_FOLDER, REPORT_JSON
from resources.storage.local_store import LocalStore
from resources.storage.parquet_files import read_parquet, scan_parquet
from resources.storage.stored_json import REPORT_REMEDY, read_json_object

Damage = Callable[[Path], object]
DAMAGES: dict[str, Damage] = {
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "other content": lambda path: path.write_bytes(b"not a table" * 100),
    "a column less": lambda path: (
        pl.read_parquet(path, glob=False).drop("content_hash").write_parquet(path)
    ),
}


def write_part(store: LocalStore) -> Stage1Journal:
    """Journal a medium without boxes, in a part of its own."""
    journal = Stage1Journal(store, "key")
    medium = {"content_hash": "ab" * 32, "status": "done", "reason": None}
    counts = {"frames_decoded": 1, "frames_skipped": 0, "boxes": 0}
    journal.append(medium | counts, [], [], [])
    journal.flush()
    return journal


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("table", ["media", "frames", "boxes", "crops"])
def test_a_damaged_part_counts_as_uncommitted(tmp_path: Path, table: str, damage: Damage) -> None:
    store = LocalStore(tmp_path)
    journal = write_part(store)
    (part,) = journal.parts()
    damage(tmp_path / f"journal/stage1/key/{part}.{table}.parquet")
    (named,) = journal.remove_uncommitted()
    assert named.startswith(f"journal/stage1/key/{part}.{table}.parquet (")
    assert journal.parts() == []
    assert list(store.list("journal/stage1/key")) == []
    assert write_part(store).parts() == [part]  # processed again, under the same name
    assert journal.remove_uncommitted() == []


class S3Like(LocalStore):
    """A store whose files are not read to look for damage."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.url = "s3://bucket/results"


@pytest.mark.parametrize("make_store", [LocalStore, S3Like])
@pytest.mark.parametrize(
    ("damage", "reason"), [(Path.unlink, "is missing"), (DAMAGES["empty"], "has 0 bytes")]
)
@pytest.mark.parametrize("table", ["frames", "boxes", "crops"])
def test_a_committed_part_without_a_file_counts_as_uncommitted(
    tmp_path: Path,
    table: str,
    damage: Damage,
    reason: str,
    make_store: Callable[[Path], LocalStore],
) -> None:
    store = make_store(tmp_path)
    journal = write_part(store)
    (part,) = journal.parts()
    damage(tmp_path / f"journal/stage1/key/{part}.{table}.parquet")
    named = journal.remove_uncommitted()
    assert named == [f"journal/stage1/key/{part}.{table}.parquet ({reason})"]
    assert list(store.list("journal/stage1/key")) == []


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_labels_are_made_again(tmp_path: Path, damage: Damage) -> None:
    labels = Stage2Journal(LocalStore(tmp_path), "key")
    labels.write("part", [])
    damage(tmp_path / "journal/stage2/key/part.labels.parquet")
    (named,) = labels.remove_damaged()
    assert named.startswith("journal/stage2/key/part.labels.parquet (")
    assert labels.parts() == set()


def test_columns_that_a_newer_version_added_are_ignored(tmp_path: Path) -> None:
    journal = write_part(LocalStore(tmp_path))
    (part,) = journal.parts()
    for table in ("media", "boxes"):
        path = tmp_path / f"journal/stage1/key/{part}.{table}.parquet"
        pl.read_parquet(path, glob=False).with_columns(keypoints=pl.lit(1)).write_parquet(path)
    assert journal.remove_uncommitted() == []
    with ExitStack() as stack:
        rows = journal.scan("media", stack).collect()
    assert rows.height == 1
    assert "keypoints" not in rows.columns


def test_a_part_of_a_newer_version_is_refused_and_stays(tmp_path: Path) -> None:
    journal = write_part(LocalStore(tmp_path))
    (part,) = journal.parts()
    path = tmp_path / f"journal/stage1/key/{part}.media.parquet"
    changed = pl.read_parquet(path, glob=False).with_columns(boxes=pl.lit("none"))
    changed.write_parquet(path)
    with pytest.raises(StoreError, match=r"newer version of Odins Ravne \(column boxes\)"):
        journal.remove_uncommitted()
    assert journal.parts() == [part]


def test_a_part_of_an_older_version_is_valid(tmp_path: Path) -> None:
    journal = write_part(LocalStore(tmp_path))
    (part,) = journal.parts()
    path = tmp_path / f"journal/stage1/key/{part}.boxes.parquet"
    old = pl.read_parquet(path, glob=False).drop("person_confidence", "edge_strips", strict=False)
    old.write_parquet(path)
    assert journal.remove_uncommitted() == []
    with ExitStack() as stack:
        assert journal.scan("boxes", stack).collect().height == 0


def test_a_damaged_page_that_made_a_query_fail_is_named_and_deleted(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    journal = write_part(store)
    (part,) = journal.parts()
    key = f"journal/stage1/key/{part}.media.parquet"
    data = bytearray((tmp_path / key).read_bytes())
    data[4:60] = bytes(56)  # the footer is whole
    (tmp_path / key).write_bytes(data)
    assert journal.remove_uncommitted() == []
    damaged = delete_damaged(store)
    assert damaged.keys() == {key}
    assert f"damaged and deleted: {key} (" in str(damage_error(store, damaged))
    assert journal.parts() == []
    assert delete_damaged(store) == {}


@pytest.mark.parametrize("damage", list(DAMAGES.values())[:3], ids=list(DAMAGES)[:3])
def test_a_damaged_table_is_named(tmp_path: Path, damage: Damage) -> None:
    path = tmp_path / "tables" / "detections.parquet"
    path.parent.mkdir()
    pl.DataFrame({"content_hash": ["a"]}).write_parquet(path)
    damage(path)
    for read in (read_parquet, scan_parquet):
        with pytest.raises(DamagedFileError, match=r"detections\.parquet: is damaged"):
            read(path)


def test_a_damaged_media_table_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "media.parquet").write_bytes(b"PAR1")
    with open_media_table(LocalStore(tmp_path), "media.parquet") as known:
        assert known.camera_id is None


@pytest.mark.parametrize("content", [b"", b'{"totals": {"me', b"[1]", b"{}", b"[" * 10**5])
def test_a_damaged_report_is_named(tmp_path: Path, content: bytes) -> None:
    store = LocalStore(tmp_path)
    store.write_bytes(REPORT_JSON, content)
    with pytest.raises(StoreError, match=r"stage3/report\.json: is damaged.*run munin stage3"):
        read_json_object(store, REPORT_JSON, REPORT_REMEDY, "totals")


@pytest.mark.parametrize("damage", list(DAMAGES.values())[:3], ids=list(DAMAGES)[:3])
def test_a_damaged_ledger_is_named_and_is_not_deleted(tmp_path: Path, damage: Damage) -> None:
    """Costs cannot be computed again: their file stays for its owner to decide."""
    store = CameraOutput(tmp_path).still("1.jpg", NIGHT, LabelledBox()).write()
    stage3(store)
    write_ledger(LocalStore(tmp_path / LEDGER_FOLDER), "one", pl.DataFrame(schema=LEDGER_SCHEMA))
    path = tmp_path / LEDGER_FOLDER / "one.parquet"
    damage(path)
    [remark] = load_camera_results(store, store, Privacy()).cost_remarks
    assert remark == "the costs in ledger/one.parquet are left out: the file cannot be read"
    assert delete_damaged(store) == {}
    assert path.exists()
