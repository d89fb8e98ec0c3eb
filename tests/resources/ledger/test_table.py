"""Reading and writing of ledger tables."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from resources.errors import StoreError
from resources.ledger.table import (
    LEDGER_SCHEMA,
    OPTIONAL_COLUMNS,
    REQUIRED_COLUMNS,
    read_ledger,
    write_ledger,
)
from resources.storage.local_store import LocalStore


def rows(*columns: dict[str, Any]) -> pl.DataFrame:
    empty = dict.fromkeys(LEDGER_SCHEMA)
    return pl.DataFrame([{**empty, **each} for each in columns], schema=LEDGER_SCHEMA)


def at(hour: int) -> datetime:
    return datetime(2026, 11, 1, hour, tzinfo=UTC)


def test_ledgers_of_several_cameras_are_one_frame_sorted_by_time(tmp_path: Path) -> None:
    north, south = LocalStore(tmp_path / "north"), LocalStore(tmp_path / "south")
    late = {"camera_id": "north", "intended_at": at(9), "usd": Decimal("0.0000000001")}
    write_ledger(north, "a-1", rows(late))
    write_ledger(
        south, "b-1", rows({"camera_id": "south", "intended_at": at(8), "usd": Decimal(2)})
    )

    read = read_ledger([north, south])

    assert read["camera_id"].to_list() == ["south", "north"]
    assert read["usd"].sum() == Decimal("2.0000000001")
    assert read.schema == LEDGER_SCHEMA


def test_writing_a_launch_again_replaces_its_rows(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    write_ledger(store, "a-1", rows({"usd": Decimal(1)}, {"usd": Decimal(1)}))
    write_ledger(store, "a-1", rows({"usd": Decimal(3)}))

    assert read_ledger([store])["usd"].to_list() == [Decimal(3)]


def test_without_a_ledger_the_frame_is_empty_with_the_same_columns(tmp_path: Path) -> None:
    assert read_ledger([LocalStore(tmp_path)]).schema == LEDGER_SCHEMA


def test_rows_with_another_schema_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(pl.exceptions.SchemaError):
        write_ledger(LocalStore(tmp_path), "a-1", pl.DataFrame({"usd": [0.1]}))
    assert not list(tmp_path.iterdir())


@pytest.fixture
def two_launches(tmp_path: Path) -> LocalStore:
    """A ledger of two launches, of 1 and of 2 USD; tests change the file of the second one."""
    store = LocalStore(tmp_path)
    for name, usd in (("a-1", 1), ("b-1", 2)):
        write_ledger(store, name, rows({"camera_id": "north", "launch": name, "usd": Decimal(usd)}))
    return store


@pytest.mark.parametrize("column", sorted(OPTIONAL_COLUMNS))
def test_a_column_that_another_version_lacks_is_null(two_launches: LocalStore, column: str) -> None:
    path = two_launches.root / "b-1.parquet"
    pl.read_parquet(path, glob=False).drop(column).write_parquet(path)
    read = read_ledger([two_launches])
    assert read.schema == LEDGER_SCHEMA
    assert read["usd"].sum() == 3


def test_columns_of_a_newer_version_are_ignored_in_any_order(two_launches: LocalStore) -> None:
    path = two_launches.root / "b-1.parquet"
    newer = pl.read_parquet(path, glob=False).with_columns(carbon_grams=pl.lit(1.0))
    newer.select(sorted(newer.columns)).write_parquet(path)
    assert read_ledger([two_launches]).schema == LEDGER_SCHEMA
    assert read_ledger([two_launches])["usd"].sum() == 3


def without(column: str) -> Callable[[Path], object]:
    return lambda path: pl.read_parquet(path, glob=False).drop(column).write_parquet(path)


def with_other_type(path: Path) -> None:
    pl.read_parquet(path, glob=False).with_columns(usd=pl.lit("2")).write_parquet(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
        with_other_type,
        *map(without, sorted(REQUIRED_COLUMNS)),
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_left_out_with_a_remark(
    two_launches: LocalStore, damage: Callable[[Path], object]
) -> None:
    damage(two_launches.root / "b-1.parquet")
    remarks: list[str] = []
    assert read_ledger([two_launches], remarks)["usd"].to_list() == [Decimal(1)]
    [remark] = remarks
    assert remark.startswith(f"costs are left out: {two_launches.url}/b-1.parquet is damaged or of")
    # A budget cannot do without it.
    with pytest.raises(StoreError, match=r"b-1\.parquet is damaged or of another version"):
        read_ledger([two_launches])
