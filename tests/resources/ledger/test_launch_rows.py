"""The ledger rows of a launch, from its record and the facts of AWS."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from resources.batch.launch_record import Attempt, LaunchRecord, UnitRecord
from resources.ledger.aws_usage import BatchJob, Machine
from resources.ledger.launch_facts import LaunchFacts, is_settled, update_facts
from resources.ledger.launch_rows import NO_JOB_RAN, UNKNOWN_MACHINE, LaunchRows
from resources.pricing.prices import PriceBook, Quote

NINE = datetime(2026, 11, 1, 9, tzinfo=UTC).timestamp()


def quote(item: str, usd: str, **more: Any) -> Quote:
    as_of = datetime.fromtimestamp(NINE, UTC)
    known = {"unit": "hour", "source": "the test", "verified": True} | more
    return Quote(item=item, usd=Decimal(usd), as_of=as_of, **known)


BOOK = PriceBook(
    "eu-north-1",
    (
        quote("g4dn.xlarge", "0.36", market="spot", zone="eu-north-1a"),
        quote("g4dn.xlarge", "1.44", market="ondemand"),
        quote("ebs-gp3", "0.072", verified=False),
        quote("public-ipv4", "0.0036"),
        quote("s3-put", "0.005"),
        quote("s3-get", "0.0004"),
        quote("logs-ingested", "0.50"),
    ),
)


def attempt(number: int, **more: Any) -> Attempt:
    known = {"job_id": f"job-{number}", "intended_at": NINE}
    return Attempt(f"ravne-cam-u0-a{number}", "spot", "the test", **(known | more))


def record(*attempts: Attempt) -> LaunchRecord:
    return LaunchRecord(
        "work", "s", 1, NINE, [UnitRecord(0, None, None, 1.0, attempts=[*attempts])]
    )


def ran(name: str, start: float | None, stop: float | None, **more: Any) -> BatchJob:
    """A job of Batch; times in seconds since nine."""
    known = {
        "started": None if start is None else NINE + start,
        "stopped": None if stop is None else NINE + stop,
        "instance_id": None if start is None else "i-1",
        "end": None if stop is None else "done",
    }
    return BatchJob(job_id=name, name=name, queue="spot", created=NINE, **(known | more))


def machine(lived: float | None = 1000, **more: Any) -> Machine:
    ended = None if lived is None else NINE + lived
    known = {"instance_id": "i-1", "seen_at": NINE + 1000, "ended": ended} | more
    return Machine(
        instance_type="g4dn.xlarge",
        zone="eu-north-1a",
        market="spot",
        launched=NINE,
        end_known=ended is not None,
        **known,
    )


def update(
    launch: LaunchRecord,
    machines: list[Machine],
    jobs: list[BatchJob],
    before: LaunchFacts | None = None,
    now: float = 2000,
) -> LaunchFacts:
    return update_facts(launch, before, machines, {each.job_id: each for each in jobs}, NINE + now)


def rows(launch: LaunchRecord, facts: LaunchFacts, book: PriceBook = BOOK) -> pl.DataFrame:
    return LaunchRows("cam", "eu-north-1", launch, facts, book).frame()


def kind(table: pl.DataFrame, name: str) -> dict[str, Any]:
    [row] = table.filter(pl.col("kind") == name).iter_rows(named=True)
    return row


def test_a_machine_costs_attempt_overhead_disk_and_address() -> None:
    launch = record(attempt(1))
    table = rows(launch, update(launch, [machine()], [ran("job-1", 200, 900)]))

    usd = dict(table.select("kind", "usd").iter_rows())
    assert usd["attempt"] == Decimal("0.07")
    assert usd["overhead"] == Decimal("0.03")
    assert usd["disk"] == Decimal("0.0016666667")  # 60 GB at $0.072 a month of 30 days, 1000 s
    assert usd["address"] == Decimal("0.001")
    assert not table["estimated"].any()
    assert kind(table, "disk")["price_verified"] is False
    assert kind(table, "overhead")["usd_on_demand"] == Decimal("0.12")


def test_another_cameras_job_on_the_machine_pays_its_share() -> None:
    launch = record(attempt(1))
    facts = update(launch, [machine()], [ran("job-1", 100, 400), ran("other", 400, 1000)])
    table = rows(launch, facts)

    assert kind(table, "attempt")["usd"] == Decimal("0.03")
    assert kind(table, "overhead")["usd"] == Decimal("0.01") / 3 // Decimal("1e-10") * Decimal(
        "1e-10"
    )
    assert kind(table, "address")["usd"] == Decimal("0.001") / 3 // Decimal("1e-10") * Decimal(
        "1e-10"
    )


def test_a_machine_without_a_job_is_waste_of_the_jobs_queued_for_it() -> None:
    launch = record(attempt(1, end="cancelled", moving="starved"))
    queued = [ran("job-1", None, 500, end="cancelled"), ran("other", None, 600, end="cancelled")]
    table = rows(launch, update(launch, [machine()], queued))

    overhead = kind(table, "overhead")
    assert overhead["usd"] == overhead["usd_wasted"] == Decimal("0.05")
    assert overhead["wasted_why"] == NO_JOB_RAN
    assert kind(table, "attempt")["usd"] == 0


@pytest.mark.parametrize(
    ("end", "work", "wasted", "why"),
    [
        ("done", {}, "0", None),
        ("interrupted", {"useful_seconds": 450.0}, "0.025", "EC2 interrupted the machine before"),
        ("interrupted", {}, "0.07", "EC2 interrupted the machine before"),
        ("crashed", {"useful_seconds": 9999.0}, "0", None),
        ("out of memory", {"useful_seconds": 0.0}, "0.07", "attempt ended: out of memory"),
    ],
)
def test_unfinished_work_of_an_attempt_is_wasted(
    end: str, work: dict[str, float], wasted: str, why: str | None
) -> None:
    launch = record(attempt(1, work=work))
    row = kind(
        rows(launch, update(launch, [machine()], [ran("job-1", 200, 900, end=end)])), "attempt"
    )
    assert row["usd_wasted"] == Decimal(wasted)
    assert row["wasted_why"] is None if why is None else row["wasted_why"].startswith(why)


def test_an_attempt_that_never_ran_has_a_row_without_cost() -> None:
    launch = record(attempt(1, job_id=None, end="cancelled", said="moved"))
    row = kind(rows(launch, update(launch, [], [])), "attempt")
    assert (row["usd"], row["end"], row["market"]) == (0, "cancelled", "spot")
    assert row["started_at"] is None


def test_the_job_of_an_attempt_without_a_job_id_is_found_in_batch() -> None:
    """It is found by its name, if the orchestrator died after submitting it."""
    launch = record(attempt(1, job_id=None))
    job = ran("job-9", 200, 900, end="failed", said="no such file")
    job = job.model_copy(update={"name": "ravne-cam-u0-a1"})
    row = kind(rows(launch, update(launch, [machine()], [job])), "attempt")
    assert (row["job_id"], row["end"], row["said"]) == ("job-9", "failed", "no such file")
    assert row["usd"] == Decimal("0.07")


def test_the_cost_of_an_attempt_on_an_unknown_machine_is_overhead() -> None:
    launch = record(attempt(1))
    facts = update(launch, [machine()], [ran("job-1", 200, 900, instance_id=None)])
    table = rows(launch, facts)
    assert kind(table, "attempt")["remark"] == UNKNOWN_MACHINE
    assert kind(table, "overhead")["usd"] == Decimal("0.1")


def test_the_machine_of_a_job_is_inferred_if_only_one_is_possible() -> None:
    launch, arn = record(attempt(1)), "arn:aws:ecs:eu-north-1:1:container-instance/c/1"
    job = ran("job-1", 200, 900, instance_id=None, container_instance=arn)
    too_short = machine(500, instance_id="i-2")
    assert update(launch, [machine(), too_short], [job]).jobs["job-1"].instance_id == "i-1"
    equal = machine(1000, instance_id="i-3")
    assert update(launch, [machine(), equal], [job]).jobs["job-1"].instance_id is None


def test_a_machine_unknown_to_ec2_is_taken_from_its_workers_report() -> None:
    host = {
        "instance_id": "i-1",
        "instance_type": "g4dn.xlarge",
        "zone": "eu-north-1a",
        "market": "spot",
    }
    launch = record(attempt(1, host=host))
    table = rows(launch, update(launch, [], [ran("job-1", 200, 900, instance_id=None)]))
    assert kind(table, "attempt")["usd"] == Decimal("0.07")
    assert kind(table, "overhead")["billed_seconds"] == 240 + 120  # assumed boot and idle time
    assert kind(table, "overhead")["estimated"] is True


def test_a_running_job_costs_until_now_and_is_estimated() -> None:
    launch = record(attempt(1))
    running = machine(None, seen_at=NINE + 2000)
    row = kind(rows(launch, update(launch, [running], [ran("job-1", 200, None)])), "attempt")
    assert (row["usd"], row["estimated"], row["ended_at"]) == (Decimal("0.18"), True, None)


def test_a_machine_that_ec2_has_forgotten_stays_estimated() -> None:
    launch, job = record(attempt(1)), ran("job-1", 200, 900)
    seen = update(launch, [machine(None)], [job], now=1000)
    later = update(launch, [], [job], before=seen, now=99_000)
    assert not seen.settled and later.settled
    assert kind(rows(launch, later), "overhead")["billed_seconds"] == 1020 - 700


def test_the_first_report_of_a_machines_end_is_final() -> None:
    launch, job = record(attempt(1)), ran("job-1", 200, 900)
    first = update(launch, [machine(1000)], [job])
    later = update(launch, [machine(1500)], [job], before=first)
    assert later.machines["i-1"].ended == NINE + 1000


def test_a_settled_launch_that_resumes_is_not_settled() -> None:
    launch, job = record(attempt(1)), ran("job-1", 200, 900)
    facts = update(launch, [machine()], [job])
    assert is_settled(launch, facts)
    launch.units[0].attempts.append(attempt(2))
    assert not is_settled(launch, facts)


def test_the_same_facts_give_the_same_rows() -> None:
    launch = record(attempt(1), attempt(2))
    facts = update(launch, [machine()], [ran("job-1", 100, 400), ran("job-2", 500, 600)])
    again = LaunchFacts.model_validate_json(facts.model_dump_json())
    assert rows(launch, again).equals(rows(launch, facts))


def test_requests_cost_by_the_thousand() -> None:
    launch = record(attempt(1, work={"requests_put": 2000, "requests_get": 5000}))
    row = kind(rows(launch, update(launch, [], [])), "requests")
    assert row["usd"] == Decimal("0.012")
    assert (row["requests_put"], row["requests_get"]) == (2000, 5000)


def test_a_row_without_a_price_has_a_remark_and_is_estimated() -> None:
    launch = record(attempt(1))
    facts = update(launch, [machine()], [ran("job-1", 200, 900)])
    table = rows(launch, facts, PriceBook("eu-north-1", BOOK.quotes[2:]))
    row = kind(table, "attempt")
    assert row["usd"] == 0 and row["estimated"]
    assert "g4dn.xlarge in eu-north-1: no price is known" in row["remark"]


def test_logs_are_estimated_by_the_jobs_that_started_with_a_remark() -> None:
    launch = record(attempt(1), attempt(2))
    table = rows(launch, update(launch, [machine()], [ran("job-1", 200, 900)]))
    [logs] = table.filter(kind="logs").iter_rows(named=True)
    # One job ran: 4 KiB at $0.50 a GB.
    assert (logs["usd"], logs["remark"]) == (
        Decimal("0.0000019073"),
        "an estimate: at most 4096 bytes a job",
    )
