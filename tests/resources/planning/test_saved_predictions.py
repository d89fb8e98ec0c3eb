"""Predictions of plans, and their comparison with actual costs."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from resources.errors import StoreError
from resources.ledger.table import LEDGER_SCHEMA
from resources.planning.saved_predictions import (
    Prediction,
    compare_predictions,
    load_predictions,
    save_prediction,
)
from resources.storage.local_store import LocalStore

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def prediction(hours: float = 0, **changes: Any) -> Prediction:
    defaults = {
        "camera_id": "north",
        "made_at": NOON.timestamp() + hours * 3600,
        "frames": 1000,
        "usd": 1.0,
        "usd_low": 0.8,
        "usd_high": 1.3,
        "seconds": 3600.0,
        "instance_type": "g4dn.xlarge",
        "market": "spot",
        "frames_per_second": 10.0,
        "measured": True,
        "offers": (),
    }
    return Prediction(**{**defaults, **changes})


def attempt(hours: float, usd: str, **columns: Any) -> dict[str, Any]:
    defaults = {
        "camera_id": "north",
        "launch": f"launch-{hours}",
        "kind": "attempt",
        "market": "spot",
        "instance_type": "g4dn.xlarge",
        "intended_at": NOON + timedelta(hours=hours),
        "frames": 1000,
        "detections_seconds": 100.0,
        "usd": Decimal(usd),
        "estimated": False,
        "end": "done",
    }
    return {**dict.fromkeys(LEDGER_SCHEMA), **defaults, **columns}


def ledger(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=LEDGER_SCHEMA)


def test_predictions_are_loaded_in_order_of_time(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for hours in (5, 0):
        save_prediction(store, prediction(hours))
    assert load_predictions(store) == [prediction(0), prediction(5)]
    assert (tmp_path / "2026-11-01T12-00-00Z.json").is_file()


def test_a_file_that_is_not_a_prediction_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(StoreError, match=r"x\.json: not a plan"):
        load_predictions(LocalStore(tmp_path))


@pytest.mark.parametrize("content", [b"", b'{"camera_id": "r', b"{}", b"[]"])
def test_a_damaged_prediction_is_left_out_of_a_report_with_a_remark(
    tmp_path: Path, content: bytes
) -> None:
    store, remarks = LocalStore(tmp_path), list[str]()
    save_prediction(store, prediction(0))
    store.write_bytes("x.json", content)
    assert load_predictions(store, remarks) == [prediction(0)]
    assert remarks == [
        f"a plan is left out: {store.url}/x.json: not a plan of this version; delete it"
    ]


def test_keys_of_a_newer_version_of_predictions_are_ignored(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    save_prediction(store, prediction(0))
    path = tmp_path / "2026-11-01T12-00-00Z.json"
    tree = json.loads(path.read_text()) | {"carbon_grams": 1}
    tree["offers"] = [each | {"zone": "a"} for each in tree["offers"]]
    path.write_text(json.dumps(tree))
    [read] = load_predictions(store)
    assert read == prediction(0)


def test_the_cost_of_later_runs_is_compared_with_overheads() -> None:
    overhead = attempt(-1, "0.1", kind="overhead", launch="launch-1", frames=None)
    [found] = compare_predictions([prediction()], ledger(attempt(1, "0.85"), overhead))
    assert found.usd == Decimal("0.95")
    assert found.difference == pytest.approx(-0.05)
    assert found.within_range
    assert found.reasons() == []


def test_a_run_belongs_to_the_last_prediction_before_it() -> None:
    rows = ledger(attempt(-2, "9"), attempt(1, "1"), attempt(6, "2"))
    found = compare_predictions([prediction(0), prediction(5)], rows)
    assert [each.usd for each in found] == [Decimal(1), Decimal(2)]


def test_a_prediction_without_later_runs_is_not_compared() -> None:
    assert compare_predictions([], ledger(attempt(1, "9"))) == []
    assert compare_predictions([prediction()], ledger(attempt(-2, "9"))) == []
    assert compare_predictions([prediction()], ledger(attempt(1, "9", camera_id="south"))) == []


def test_deviations_are_listed() -> None:
    rows = ledger(
        attempt(1, "0.5", launch="a", end="interrupted", frames=400, detections_seconds=50.0),
        attempt(1, "2", launch="a", market="ondemand", frames=400, detections_seconds=50.0),
    )
    [found] = compare_predictions([prediction()], rows)
    assert not found.within_range
    assert found.difference == pytest.approx(1.5)
    assert found.reasons() == [
        "800 frames were processed, not 1000",
        "8.0 frames/s, not the 10.0 measured before",
        "g4dn.xlarge ondemand used, not only g4dn.xlarge spot",
        "EC2 interrupted the machine 1 time",
    ]


def test_the_duration_is_from_the_first_start_to_the_last_end() -> None:
    def ran(start: float, end: float) -> dict[str, Any]:
        times = {
            "started_at": NOON + timedelta(hours=start),
            "ended_at": NOON + timedelta(hours=end),
        }
        return attempt(1, "1", launch="a", **times)

    [found] = compare_predictions([prediction()], ledger(ran(2, 3), ran(2.5, 4)))
    assert found.seconds == 7200
    [running] = compare_predictions([prediction()], ledger(attempt(1, "1")))
    assert running.seconds is None


def test_a_cost_that_is_not_final_is_marked_as_estimated() -> None:
    [found] = compare_predictions([prediction()], ledger(attempt(1, "1", estimated=True)))
    assert found.estimated
