"""Reading and writing of ledger tables."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from resources.ledger.table import LEDGER_SCHEMA, read_ledger, write_ledger
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
