"""The cost report, from rows of the ledger as literals. docs/costs.md works the example out."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from cost_rows import EXAMPLE, FIRST, NOON, SECOND, B, at, ledger, row

from odins_ravne_assets.odin.report import CostReport, ReportScope, cost_report
from odins_ravne_assets.odin.report_text import report_tables
from odins_ravne_assets.odin.unit_costs import SpeciesVisits
from resources.ledger.aws_bill import AwsBill
from resources.planning.predictions import Prediction

SPECIES = (
    SpeciesVisits("red fox", "Vulpes vulpes", 14, True),
    SpeciesVisits("roe deer", "Capreolus capreolus", 6, True),
    SpeciesVisits("unknown animal", "", 5, False),
)
TOTAL = Decimal("0.19741")


def scope(**changed: object) -> ReportScope:
    facts = {
        "name": "ravne",
        "region": "eu-north-1",
        "cameras": ("hill",),
        "since": None,
        "now": NOON.timestamp(),
        "least_saving": 0.5,
    }
    return ReportScope(**{**facts, **changed})  # type: ignore[arg-type]


def report(*rows: dict[str, object], **changed: object) -> CostReport:
    return cost_report(ledger(*rows), scope(**changed))


@pytest.fixture(scope="module")
def example() -> CostReport:
    return cost_report(ledger(*EXAMPLE), scope(), SPECIES)


# What was spent


def test_every_row_is_in_the_total_once_and_in_one_part(example: CostReport) -> None:
    assert example.computing.usd == TOTAL
    assert {part.name: part.usd for part in example.parts} == {
        "attempt": Decimal("0.15672"),
        "overhead": Decimal("0.01959"),
        "disk": Decimal("0.0108"),
        "address": Decimal("0.0078"),
        "requests": Decimal("0.0025"),
    }
    assert sum(part.usd for part in example.by_camera) == TOTAL


def test_the_money_is_told_by_day_by_market_and_by_machine() -> None:
    yesterday = at("09:00").replace(day=19)
    earlier = {"ended_at": yesterday, "usd": "0.1", "usd_on_demand": "0.1", "attempt": "x"}
    made = report(*EXAMPLE, row(**{**SECOND, **B, **earlier, "market": "ondemand"}))
    assert [(each.day, each.usd) for each in made.days] == [
        (date(2026, 11, 19), Decimal("0.1")),
        (date(2026, 11, 20), TOTAL),
    ]
    assert {each.name: each.usd for each in made.markets} == {
        "spot": TOTAL - Decimal("0.0025"),
        "ondemand": Decimal("0.1"),
    }
    [machine] = made.machines
    assert machine.name == "g4dn.xlarge" and machine.machine_hours == pytest.approx(94 / 60)


def test_what_moved_within_the_region_is_counted() -> None:
    traffic = report(*EXAMPLE, row(**SECOND | {"bytes_read": 5, "bytes_written": 2})).traffic
    assert (traffic.bytes_read, traffic.bytes_written) == (5, 2)
    assert (traffic.requests_put, traffic.requests_get) == (308, 2400)


# Jobs


def test_an_interrupted_job_that_was_done_by_a_second_attempt_is_one_job_and_a_success(
    example: CostReport,
) -> None:
    jobs = example.jobs
    assert (jobs.total, jobs.done, jobs.failed, jobs.attempts) == (1, 1, 0, 2)
    assert jobs.success_rate == 1.0
    assert jobs.interruptions == 1
    assert jobs.processing_seconds == 84 * 60
    assert jobs.queue_seconds == (6 + 5) * 60


def test_a_job_that_failed_lowers_the_success_rate_and_one_that_runs_does_not() -> None:
    failed = row(**{**SECOND, "unit": 1, "attempt": "f", "end": "failed"})
    runs = row(**{**SECOND, "unit": 2, "attempt": "r", "end": None, "ended_at": None})
    jobs = report(*EXAMPLE, failed, runs).jobs
    assert (jobs.total, jobs.done, jobs.failed, jobs.open) == (3, 1, 1, 1)
    assert jobs.success_rate == 0.5


def test_a_job_that_went_from_spot_to_on_demand_counts_as_moved() -> None:
    jobs = report(row(**FIRST), row(**SECOND | {"market": "ondemand"})).jobs
    assert (jobs.moved, jobs.done) == (1, 1)


def test_of_nothing_there_is_no_success_rate_and_no_unit_cost() -> None:
    made = report()
    assert made.jobs.success_rate is None
    assert made.computing.usd == 0
    assert made.units.per_job is None and made.units.per_1000_images is None
    assert made.savings.rate is None and made.savings.effective is None


def test_what_was_done_here_before_a_job_is_no_job_of_the_clouds() -> None:
    here = row(**SECOND | {"market": "local", "attempt": "here", "unit": None})
    assert report(*EXAMPLE, here).jobs.total == 1
    assert report(here, region="").jobs.total == 1


# Unit costs


def test_pictures_and_video_share_the_money_by_the_frames_looked_at(example: CostReport) -> None:
    assert example.units.per_1000_images == pytest.approx(Decimal("0.065803"), abs=Decimal("1e-6"))
    assert example.units.per_video_hour == pytest.approx(Decimal("0.236892"), abs=Decimal("1e-6"))


def test_a_job_a_camera_and_a_visit_of_a_known_species_have_their_price(
    example: CostReport,
) -> None:
    assert example.units.per_job == TOTAL
    assert example.units.per_camera == TOTAL
    assert example.units.per_species_observation == TOTAL / 20


# Savings


def test_rate_savings_compare_the_same_machine_hours(example: CostReport) -> None:
    savings = example.savings
    assert savings.machine_usd == Decimal("0.17631")
    assert savings.machine_usd_on_demand == Decimal("0.8742")
    assert savings.rate == pytest.approx(0.7983, abs=1e-4)


def test_effective_savings_compare_with_the_same_work_undisturbed(example: CostReport) -> None:
    assert example.savings.undisturbed_usd == pytest.approx(Decimal("0.84781"), abs=Decimal("1e-5"))
    assert example.savings.effective == pytest.approx(0.7672, abs=1e-4)


def test_work_that_was_done_twice_lowers_the_effective_savings_alone() -> None:
    wasted: dict[str, object] = {
        "usd": "0.1",
        "usd_on_demand": "0.3",
        "usd_wasted": "0.1",
        "billed_seconds": 1800.0,
        "useful_seconds": 0.0,
        "wasted_why": "crashed",
    }
    again = row(**{**SECOND, **B, "attempt": "w", "end": "crashed"} | wasted)
    before, after = report(*EXAMPLE).savings, report(*EXAMPLE, again).savings
    assert after.machine_usd == before.machine_usd + Decimal("0.1")
    assert after.effective is not None and before.effective is not None
    assert after.undisturbed_usd < before.undisturbed_usd + Decimal("0.001")
    assert after.effective < before.effective


def test_what_a_free_machine_lost_is_no_useful_work() -> None:
    lost = EXAMPLE[0] | {"useful_seconds": 0.0}
    kept, without = report(*EXAMPLE).savings, report(lost, *EXAMPLE[1:]).savings
    assert kept.machine_usd == without.machine_usd
    assert without.undisturbed_usd < kept.undisturbed_usd - Decimal("0.3348")


def test_work_on_ones_own_machine_saves_nothing_and_is_in_the_total() -> None:
    local = row(**{**SECOND, "market": "local", "usd": "0.02", "instance_type": None})
    made = report(local)
    assert made.computing.usd == Decimal("0.02")
    assert made.savings.rate is None and made.savings.effective is None


# Waste


def test_wasted_money_is_told_by_its_reason_the_dearest_first() -> None:
    made = report(
        row(**FIRST | {"usd": "0.02", "usd_wasted": "0.01", "wasted_why": "out of memory"}),
        row(**SECOND | {"usd": "0.3", "usd_wasted": "0.3", "wasted_why": "crashed"}),
    )
    assert [(each.name, each.usd_wasted) for each in made.wasted] == [
        ("crashed", Decimal("0.3")),
        ("out of memory", Decimal("0.01")),
    ]


# Since when


def test_a_report_since_a_time_leaves_out_what_had_ended_and_keeps_what_goes_on() -> None:
    runs = row(**{**SECOND, "unit": 2, "attempt": "r", "end": None, "ended_at": None, "usd": "1"})
    made = report(*EXAMPLE, runs, since=at("11:00").timestamp())
    assert made.jobs.attempts == 2
    assert made.computing.usd == TOTAL + 1 - Decimal("0.0046") - Decimal("0.0033")


# The month


def test_the_month_goes_on_as_it_began() -> None:
    made = report(*EXAMPLE)
    assert made.month.name == "2026-11"
    assert made.month.usd == TOTAL
    assert made.month.forecast_usd == pytest.approx(made.month.usd * 30 / Decimal("19.5"))


def test_in_the_first_days_of_a_month_nothing_is_forecast() -> None:
    early = datetime(2026, 11, 2, tzinfo=UTC).timestamp()
    assert report(*EXAMPLE, now=early).month.forecast_usd is None


# Prices


def test_a_price_that_nobody_checked_or_that_is_old_is_told() -> None:
    old = row(**SECOND | {"price_source": "a table", "price_verified": False,
                          "price_as_of": at("09:00").replace(month=9)})  # fmt: skip
    made = report(*EXAMPLE, old)
    assert [(price.source, price.verified) for price in made.prices] == [
        ("AWS", True),
        ("a table", False),
    ]
    assert made.remarks == (
        "prices of 2026-09-20 that nobody checked (verified: false) are in use: a table",
    )


def test_a_price_of_its_time_is_not_old_however_late_it_is_read() -> None:
    spring = datetime(2027, 4, 1, tzinfo=UTC).timestamp()
    assert report(*EXAMPLE, now=spring).remarks == ()


# AWS's own bill


def bill(machines: str, **others: str) -> AwsBill:
    services = {"Amazon Elastic Compute Cloud - Compute": Decimal(machines)}
    services |= {name.replace("_", " "): Decimal(usd) for name, usd in others.items()}
    first = NOON.replace(day=1, hour=0).timestamp()
    return AwsBill(tag="Project=ravne", since=first, asked_at=NOON.timestamp(), services=services)


def test_a_bill_that_has_everything_is_the_same() -> None:
    rows = ledger(*(each for each in EXAMPLE if each["kind"] in ("attempt", "overhead")))
    made = cost_report(rows, scope(), bill=bill("0.17631"))
    assert made.aws is not None
    assert [(each.part, each.usd, each.explanation) for each in made.aws] == [
        ("machines", Decimal(0), "the same")
    ]


def test_what_aws_does_not_know_yet_is_told_to_be_late() -> None:
    rows = ledger(row(**SECOND | {"usd": "0.50"}))
    [machines] = cost_report(rows, scope(), bill=bill("0.10")).aws or ()
    assert machines.late == Decimal("0.50")
    assert "$0.5000 of the last 24 hours, which AWS tells later" in machines.explanation


def test_what_nothing_explains_is_told_to_be_unexplained() -> None:
    early = {"ended_at": at("09:00").replace(day=10), "usd": "0.50"}
    rows = ledger(row(**SECOND | early))
    [machines, others] = cost_report(rows, scope(), bill=bill("2.50", Amazon_Polly="1")).aws or ()
    assert machines.explanation == "$2.00 more in AWS's are not explained"
    assert "carries the tag, and is not in the ledger: Amazon Polly" in others.explanation


def test_a_bill_without_the_tag_asks_whether_it_was_activated() -> None:
    early = {"ended_at": at("09:00").replace(day=10), "usd": "0.50"}
    made = cost_report(ledger(row(**SECOND | early)), scope(), bill=bill("0"))
    [machines] = made.aws or ()
    assert "AWS knows of nothing with the tag Project=ravne" in machines.explanation


# What was planned


def test_what_was_paid_stands_beside_what_was_planned() -> None:
    planned = Prediction(
        camera_id="hill",
        made_at=at("09:00").timestamp(),
        frames=3000,
        usd=0.2,
        usd_low=0.15,
        usd_high=0.25,
        seconds=5000.0,
        instance_type="g4dn.xlarge",
        market="spot",
        frames_per_second=60.0,
        measured=False,
        offers=(),
    )
    [plan] = cost_report(ledger(*EXAMPLE), scope(), predictions=[planned]).plans
    assert plan.usd == TOTAL
    assert plan.difference == pytest.approx(-0.013, abs=0.001)
    assert plan.within_range
    made = cost_report(ledger(*EXAMPLE), scope(), predictions=[planned])
    [table] = [each for each in report_tables(made) if each.heading == "Compared with the plan"]
    assert table.rows[0][:5] == ("hill", "$0.2000", "$0.1500 – $0.2500", "$0.1974", "-1.3%")
    assert table.rows[0][5:7] == ("1 h 23 min", "1 h 29 min")
    assert "EC2 took the machine 1 time" in table.rows[0][7]
