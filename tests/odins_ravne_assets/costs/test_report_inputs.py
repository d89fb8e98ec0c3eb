"""The cost report of several cameras, one of which has a file that cannot be used."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.costs.report_inputs import collect_inputs
from resources.ledger.table import LEDGER_SCHEMA, write_ledger
from resources.settings.profile import Profile
from resources.storage.local_store import LocalStore

REPORT = '{"species": [{"species": "elk", "scientific_name": null, "category": "animal"}]}'


@pytest.fixture
def cameras(tmp_path: Path) -> list[Camera]:
    """Two cameras, whose launches cost a dollar each."""
    found = []
    for name in ("lake", "ridge"):
        row = {"camera_id": name, "launch": "local-1", "kind": "attempt", "usd": Decimal(1)}
        rows = pl.DataFrame([dict.fromkeys(LEDGER_SCHEMA) | row], schema=LEDGER_SCHEMA)
        write_ledger(LocalStore(tmp_path / name / "ledger"), "local-1", rows)
        found.append(Camera(name, "file:///cards", (tmp_path / name).as_uri()))
    return found


def put(key: str, content: bytes) -> Callable[[Path], None]:
    return lambda results: LocalStore(results).write_bytes(key, content)


@pytest.mark.parametrize(
    ("damage", "usd", "remark"),
    [
        (put("ledger/local-1.parquet", b""), 1, "costs are left out: {}/ledger/local-1.parquet"),
        (put("ledger/stray.parquet", b"PAR1"), 2, "costs are left out: {}/ledger/stray.parquet"),
        (put("plans/2026.json", b""), 2, "a plan is left out: {}/plans/2026.json"),
        (
            put("stage3/report.json", b""),
            2,
            "visits of camera ridge are left out: {}/stage3/report",
        ),
        (put("stage3/report.json", REPORT.encode()), 2, "visits of camera ridge are left out: {}/"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_remark_that_names_it(
    cameras: list[Camera],
    tmp_path: Path,
    damage: Callable[[Path], None],
    usd: int,
    remark: str,
) -> None:
    damage(tmp_path / "ridge")
    found = collect_inputs(cameras, Profile())
    assert found.rows["usd"].sum() == usd
    [said] = found.remarks
    assert said.startswith(remark.format((tmp_path / "ridge").as_uri()))
    assert found.report().remarks[0] == said
