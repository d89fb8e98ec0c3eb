"""Budgets: a run that might exceed one submits no further job, logs it, and can be resumed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from cloud_rig import STAGES_1_TO_3, Cloud, RunResult, running_cloud
from command_line import journal_hashes
from hypothesis import given
from hypothesis import strategies as st
from media_files import write_picture

from odins_ravne_assets.cameras.catalog import Camera
from resources.batch import work_units
from resources.batch.launch_record import (
    Attempt,
    LaunchRecord,
    UnitRecord,
    identity_hash,
    records_of_run,
)
from resources.batch.names import Queue
from resources.batch.outcome import AttemptOutcome
from resources.launch.batch_step import without_budgets
from resources.launch.budget import (
    Spending,
    budget_of,
    committed_usd,
    expected_usd,
    month_start,
    refusal,
)
from resources.ledger.table import LEDGER_SCHEMA, write_ledger
from resources.pricing.economics import Offer, Overheads, on_demand_usd, spot_usd
from resources.sandbox.wire.protocol import AwsRequest
from resources.settings.profile import CostOptimization, Pipeline, Profile
from resources.storage.layout import BUDGET_LOCK_FOLDER
from resources.storage.local_store import LocalStore

OFFERS = [
    Offer("g4dn.xlarge", "a", Decimal("0.2"), Decimal("0.5")),
    Offer("g5.xlarge", "a", Decimal("0.4"), Decimal("1.0")),
]
MONEY = st.decimals(0, 100, places=4)


def profile(**cost: float) -> dict[str, object]:
    chosen = Profile(pipeline=Pipeline(cost_optimization=CostOptimization(**cost)))
    return chosen.model_dump(mode="json")


# Rules


@given(MONEY, MONEY, MONEY, MONEY)
def test_a_job_is_allowed_exactly_if_the_expected_cost_is_within_the_budget(
    budget: Decimal, spent: Decimal, committed: Decimal, job: Decimal
) -> None:
    refused = refusal(budget, "run", Spending(spent, committed), job)
    assert (refused is None) == (spent + committed + job <= budget)


def test_without_a_budget_nothing_is_refused() -> None:
    assert refusal(None, "month", Spending(Decimal(10**9)), Decimal(1)) is None
    assert budget_of(CostOptimization(), "run") is None
    assert budget_of(CostOptimization(budget_usd_per_run=0.1), "run") == Decimal("0.1")


def test_a_refusal_names_the_setting_and_the_amounts() -> None:
    spending = Spending(Decimal("18.5"), Decimal("1.25"))
    assert refusal(Decimal(20), "month", spending, Decimal("0.4")) == (
        "budget_usd_per_month is $20.00: this month's runs have cost $18.50, running jobs may "
        "cost $1.25 more, the next job about $0.4000"
    )


def test_the_expected_cost_of_a_job_is_that_of_the_cheapest_offer() -> None:
    overheads = Overheads()
    assert float(expected_usd(3600, Queue.SPOT, OFFERS)) == pytest.approx(
        spot_usd(OFFERS[0], 3600, overheads)
    )
    assert float(expected_usd(3600, Queue.ON_DEMAND, OFFERS, "g5.xlarge")) == pytest.approx(
        on_demand_usd(OFFERS[1], 3600, overheads)
    )
    assert expected_usd(3600, Queue.SPOT, []) == 0


def test_the_committed_cost_of_a_job_decreases_while_it_runs() -> None:
    attempt = Attempt("a", Queue.SPOT, "", intended_at=0.0)
    unit = UnitRecord(0, None, None, 3600.0, attempts=[attempt])
    total = expected_usd(3600, Queue.SPOT, OFFERS)
    assert committed_usd(unit, OFFERS, 5000.0) == total  # it is queued
    attempt.started_at = 1000.0
    half = 1000.0 + (3600 + Overheads().seconds) / 2
    assert float(committed_usd(unit, OFFERS, half)) == pytest.approx(float(total) / 2)
    assert committed_usd(unit, OFFERS, 10**6) == 0  # longer than expected: all of it is spent
    attempt.end = AttemptOutcome.DONE
    assert committed_usd(unit, OFFERS, 1000.0) == 0


def test_a_month_begins_at_midnight_utc_of_its_first_day() -> None:
    moment = datetime(2026, 11, 23, 18, 30, tzinfo=UTC).timestamp()
    assert month_start(moment) == datetime(2026, 11, 1, tzinfo=UTC)


def test_a_raised_budget_does_not_change_the_identity_of_the_work() -> None:
    def identity(**cost: float) -> str:
        return identity_hash({"profile": without_budgets(profile(**cost))})

    assert identity(budget_usd_per_run=1) == identity(budget_usd_per_month=9) == identity()
    assert identity(fallback_timeout=1) != identity()


def test_a_run_includes_the_launches_of_runs_whose_launches_it_resumed() -> None:
    def launch(work: str, *runs: str) -> LaunchRecord:
        return LaunchRecord(work, "s", 1, 0.0, [], runs=list(runs))

    stage0, others = launch("stage0", "first"), launch("others", "first", "second")
    again, earlier = launch("stage0-again", "second"), launch("other", "earlier run")
    found = records_of_run([stage0, others, again, earlier], "second")
    assert {record.work for record in found} == {"stage0", "others", "stage0-again"}


# Launches


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


def new_camera(cloud: Cloud, folder: Path) -> Camera:
    """Create a camera with two blank images on S3."""
    for number in range(2):
        write_picture(folder / folder.name / f"{number}.jpg", (320, 240), shift=number)
    return cloud.camera(folder / folder.name)


def run(cloud: Cloud, camera: Camera, stages: tuple[str, ...], **budget: float) -> RunResult:
    at_once = {"pipeline__cost_optimization__max_parallel_jobs": 2}
    named = {f"pipeline__cost_optimization__{key}": usd for key, usd in budget.items()}
    return cloud.run(camera, stages, **at_once, **named)


def test_a_run_over_its_budget_waits_for_its_jobs_fails_and_is_resumed_with_a_higher_budget(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = new_camera(cloud, tmp_path)
    assert run(cloud, camera, ("footage",)).success
    monkeypatch.setattr(work_units, "MAX_UNIT_SECONDS", 0.01)  # a unit for each image

    # No job is allowed
    ran = run(cloud, camera, STAGES_1_TO_3, budget_usd_per_run=1e-6)
    assert ran.error.startswith("budget_usd_per_run is $0.0000: this run has cost $0.00, the next")
    assert ran.error.endswith(
        "finished work is saved: raise pipeline.cost_optimization.budget_usd_per_run and run "
        "again to continue"
    )
    [stopped] = cloud.records(camera)[1:]
    assert not list(stopped.attempts)
    assert [each.reason in ran.error for each in stopped.units[0].refusals] == [True]

    # One job is allowed
    one = float(ran.error.partition("the next job about $")[2].partition(";")[0])
    ran = run(cloud, camera, STAGES_1_TO_3, budget_usd_per_run=one + 0.0005)
    assert not ran.success and ran.error.startswith("budget_usd_per_run is $0.02")
    assert ran.logged("unit 1: not submitted to spot: budget_usd_per_run is")
    assert ran.logged("running jobs may cost $0.0")
    [stopped] = cloud.records(camera)[1:]
    assert [unit.outcome for unit in stopped.units] == ["done", "open", "open"]
    assert [len(unit.attempts) for unit in stopped.units] == [1, 0, 0]
    assert not cloud.live_jobs() and not stopped.finished

    # All jobs are allowed
    ran = run(cloud, camera, STAGES_1_TO_3, budget_usd_per_run=5)
    assert ran.success, ran.error
    assert ran.logged("resuming an unfinished launch")
    [record] = cloud.records(camera)[1:]
    assert record.finished and len(record.runs) == 3
    assert [len(unit.attempts) for unit in record.units] == [1, 1, 1]
    assert len(set(journal_hashes(cloud.results(camera)))) == 2


def test_the_month_includes_the_cost_of_all_known_cameras_in_this_month_only(
    cloud: Cloud, tmp_path: Path
) -> None:
    now = datetime.fromtimestamp(cloud.sandbox.clock.now(), UTC)
    row = {**dict.fromkeys(LEDGER_SCHEMA), "camera_id": "other", "launch": "a", "kind": "attempt"}
    rows = [
        {**row, "usd": Decimal(3), "started_at": now},
        {**row, "usd": Decimal(7), "started_at": now.replace(day=1) - timedelta(days=1)},
    ]
    other = cloud.new_output("file:///nowhere")
    ledger = cloud.store(f"{other.output_url}/ledger")
    write_ledger(ledger, "a", pl.DataFrame(rows, schema=LEDGER_SCHEMA))
    cloud.known_outputs = [("other", other.output_url)]
    ran = run(cloud, new_camera(cloud, tmp_path), ("footage",), budget_usd_per_month=3.01)
    assert ran.error.startswith("budget_usd_per_month is $3.01: this month's runs have cost $3.00")
    assert not cloud.live_jobs()


def test_under_a_monthly_budget_one_camera_submits_at_a_time(cloud: Cloud, tmp_path: Path) -> None:
    """The lock is held from the check until the job is in the record."""
    camera = new_camera(cloud, tmp_path)
    lock_store = LocalStore(cloud.folder / BUDGET_LOCK_FOLDER)
    submissions = []

    def check(request: AwsRequest) -> None:
        if request.path.endswith("submitjob"):
            [unit] = cloud.records(camera)[-1].units
            submissions.append((is_locked(lock_store), unit.active is not None))

    cloud.known_outputs = []
    cloud.sandbox.on_request = check
    try:
        assert run(cloud, camera, ("footage",), budget_usd_per_month=5).success
    finally:
        cloud.sandbox.on_request = lambda request: None
    assert submissions == [(True, True)]
    assert not is_locked(lock_store)


def is_locked(store: LocalStore) -> bool:
    """Return True if another process or thread holds the lock."""

    class WaitingError(Exception):
        pass

    def stop() -> None:
        raise WaitingError

    try:
        with store.exclusive(stop):
            return False
    except WaitingError:
        return True
