"""Work on this machine is measured like rented work, and costs the profile's rate."""

from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from resources.batch.outcome import AttemptOutcome
from resources.ledger.asset_metadata import stage_cost_metadata, stage_shares
from resources.ledger.local_writer import LocalLedgerWriter
from resources.ledger.table import read_ledger
from resources.storage.local_store import LocalStore


class ManualClock:
    """A clock that advances only by sleeping."""

    def __init__(self) -> None:
        self.time = 1_795_000_000.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float, wake: Event | None = None) -> bool:
        self.time += seconds
        return False


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def writer(tmp_path: Path, clock: ManualClock) -> LocalLedgerWriter:
    return LocalLedgerWriter(LocalStore(tmp_path), "cam", "local-1", Decimal("0.36"), clock)


def rows(writer: LocalLedgerWriter) -> list[dict[str, Any]]:
    writer.write()
    return list(read_ledger([writer.store]).iter_rows(named=True))


def test_an_attempt_costs_its_time_at_the_profiles_rate(
    writer: LocalLedgerWriter, clock: ManualClock
) -> None:
    attempt = writer.start_attempt("asked for")
    attempt.work = {"frames": 100, "media": 9, "detections_seconds": 90.0}
    clock.sleep(100)
    writer.end_attempt(attempt, AttemptOutcome.DONE, None)

    [row] = rows(writer)
    assert (row["usd"], row["usd_on_demand"], row["usd_wasted"]) == (
        Decimal("0.01"),
        Decimal("0.01"),
        0,
    )
    assert (row["market"], row["kind"], row["end"]) == ("local", "attempt", "done")
    assert (row["frames"], row["billed_seconds"], row["estimated"]) == (100, 100.0, False)


def test_unfinished_work_of_a_crashed_worker_is_wasted(
    writer: LocalLedgerWriter, clock: ManualClock
) -> None:
    attempt = writer.start_attempt("asked for")
    attempt.work = {"useful_seconds": 75.0}
    clock.sleep(100)
    writer.end_attempt(attempt, AttemptOutcome.CRASHED, None)
    clock.sleep(10)
    retry = writer.start_attempt("the worker before died")
    clock.sleep(10)
    writer.end_attempt(retry, AttemptOutcome.DONE, None)

    first, second = rows(writer)
    assert first["usd_wasted"] == Decimal("0.0025")
    assert (second["attempt"], second["usd_wasted"]) == ("local-1-a2", 0)


def test_a_running_worker_costs_until_now(writer: LocalLedgerWriter, clock: ManualClock) -> None:
    writer.start_attempt("asked for")
    clock.sleep(50)
    [row] = rows(writer)
    assert (row["usd"], row["ended_at"], row["estimated"]) == (Decimal("0.005"), None, True)


def test_the_assets_of_a_launch_add_up_to_its_cost(
    writer: LocalLedgerWriter, clock: ManualClock
) -> None:
    """By the seconds of their stages; startup and lost time in proportion."""
    attempt = writer.start_attempt("asked for")
    attempt.work = {
        "detections_seconds": 60.0,
        "classifications_seconds": 20.0,
        "images": 5,
        "frames": 30,
    }
    clock.sleep(100)
    writer.end_attempt(attempt, AttemptOutcome.DONE, None)
    writer.write()
    costs = stage_cost_metadata(read_ledger([writer.store]), "local-1")

    detections, classifications = costs("detections"), costs("classifications")
    assert detections["cost/usd_total"] == pytest.approx(0.0075)
    assert classifications["cost/usd_total"] == pytest.approx(0.0025)
    assert detections["cost/usd_of_launch"] == pytest.approx(0.01)
    assert detections["cost/usd_per_1000_images"] == pytest.approx(1.5)
    assert detections["throughput/frames_per_second"] == 0.5
    assert costs("observations")["cost/usd_total"] == 0


def test_an_asset_has_the_cost_of_its_launch_and_of_all_launches(
    writer: LocalLedgerWriter, clock: ManualClock
) -> None:
    for launch in ("local-1", "local-2"):
        writer.launch, writer.attempts = launch, []
        attempt = writer.start_attempt("asked for")
        attempt.work = {"observations_seconds": 1.0}
        clock.sleep(100)
        writer.end_attempt(attempt, AttemptOutcome.DONE, None)
        writer.write()
    metadata = stage_cost_metadata(read_ledger([writer.store]), "local-2")("observations")
    assert (metadata["cost/usd_total"], metadata["cost/usd_total_ever"]) == (0.01, 0.02)


def test_without_reported_seconds_all_cost_goes_to_detections(writer: LocalLedgerWriter) -> None:
    writer.start_attempt("asked for")
    writer.write()
    assert stage_shares(read_ledger([writer.store])) == {"detections": 1}
