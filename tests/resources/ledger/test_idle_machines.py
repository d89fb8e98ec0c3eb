"""Idle machines are in the costs of all cameras, but of no single camera."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from cost_rows import EXAMPLE, ledger

from odins_ravne_assets.odin.report import ReportScope, cost_report
from odins_ravne_assets.odin.report_text import cost_breakdown_table
from resources.ledger.aws_usage import BatchJob, Machine
from resources.ledger.idle_machines import (
    IDLE_REASON,
    IdleMachineState,
    exclude_billed_machines,
    idle_machine_rows,
    ledger_name,
    read_idle_machine_rows,
    update_idle_machines,
)
from resources.ledger.table import LEDGER_SCHEMA, write_ledger
from resources.pricing.sources import shipped_prices
from resources.settings.profile import Aws
from resources.storage.local_store import LocalStore

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
BOOK = shipped_prices("eu-north-1")


def machine(name: str = "i-1", seen: float = 3600.0, ended: float | None = None) -> Machine:
    """Launched at noon, on demand; times are seconds after it."""
    return Machine(
        instance_id=name,
        instance_type="g4dn.xlarge",
        zone="eu-north-1a",
        market="ondemand",
        launched=NOON,
        seen_at=NOON + seen,
        ended=None if ended is None else NOON + ended,
        end_known=ended is not None,
    )


def job(created: float, started: float | None = None, on: str | None = None) -> BatchJob:
    return BatchJob(
        job_id="job",
        name="job",
        queue="ondemand",
        created=NOON + created,
        started=None if started is None else NOON + started,
        instance_id=on,
    )


def poll(
    before: IdleMachineState, *machines: Machine, jobs: tuple[BatchJob, ...] = ()
) -> list[str]:
    state = update_idle_machines(
        before, machines, {each.job_id: each for each in jobs}, NOON + 3600
    )
    return list(state.machines)


def test_a_machine_is_idle_until_a_job_runs_on_it() -> None:
    empty = IdleMachineState()
    assert poll(empty, machine()) == ["i-1"]
    assert poll(empty, machine(), jobs=(job(500, 600, "i-1"),)) == []
    assert poll(empty, machine(), jobs=(job(500, 600, "i-2"),)) == ["i-1"]


def test_a_machine_that_was_launched_for_a_job_is_not_idle() -> None:
    assert poll(IdleMachineState(), machine(), jobs=(job(-60),)) == []


def test_a_claimed_machine_stays_claimed_when_batch_has_forgotten_the_job() -> None:
    first = update_idle_machines(IdleMachineState(), [machine()], {"job": job(-60)}, NOON + 60)
    assert poll(first, machine()) == []


def test_a_machine_that_ec2_has_forgotten_counts_until_it_was_last_seen() -> None:
    first = update_idle_machines(IdleMachineState(), [machine(seen=3600)], {}, NOON + 3600)
    again = update_idle_machines(first, [], {}, NOON + 90_000)
    [row] = (
        idle_machine_rows(again.machines.values(), BOOK)
        .filter(kind="overhead")
        .iter_rows(named=True)
    )
    assert (row["billed_seconds"], row["estimated"]) == (3600.0, True)


def test_it_costs_its_whole_lifetime_disk_and_address_and_all_is_wasted() -> None:
    rows = idle_machine_rows([machine(ended=7200.0)], BOOK)
    time, disk, address = rows.iter_rows(named=True)
    assert (time["usd"], time["usd_wasted"], time["wasted_why"]) == (
        Decimal("1.116"),
        Decimal("1.116"),
        IDLE_REASON,
    )
    assert address["usd"] == Decimal("0.01") and disk["usd"] > 0
    assert set(rows["camera_id"]) == set(rows["launch"]) == {None}
    assert not rows["estimated"].any()


def test_a_machine_in_a_cameras_ledger_is_not_counted_twice() -> None:
    rows = idle_machine_rows([machine("i-a"), machine("i-z")], BOOK)
    assert set(exclude_billed_machines(rows, ledger(*EXAMPLE))["instance_id"]) == {"i-z"}
    assert exclude_billed_machines(rows, pl.DataFrame(schema=LEDGER_SCHEMA)).height == rows.height


def test_the_report_shows_them_as_a_separate_part() -> None:
    rows = pl.concat([ledger(*EXAMPLE), idle_machine_rows([machine("i-z", ended=7200.0)], BOOK)])
    report = cost_report(
        rows, ReportScope("ravne", "eu-north-1", ("hill",), None, NOON + 9000, 0.5)
    )
    parts = {name: usd for name, usd, _ in cost_breakdown_table(report).rows}
    assert parts["idle machines without a job"].startswith("$1.1")
    assert parts["boot and idle time"] == "$0.0196"
    assert sum(part.usd for part in report.parts) == report.computing.usd
    assert [each.name for each in report.by_camera] == ["hill"]
    before = cost_report(ledger(*EXAMPLE), report.scope).savings
    assert report.savings.undisturbed_usd == pytest.approx(
        before.undisturbed_usd, rel=Decimal("0.02")
    )


def test_each_account_and_each_sandbox_has_a_separate_ledger(tmp_path: Path) -> None:
    store, account, sandbox = LocalStore(tmp_path), Aws(), Aws(endpoint_url="http://127.0.0.1:1")
    write_ledger(store, ledger_name(sandbox), idle_machine_rows([machine()], BOOK))
    assert read_idle_machine_rows(store, sandbox).height == 3
    assert read_idle_machine_rows(store, account).is_empty()
