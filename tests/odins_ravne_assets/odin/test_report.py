"""The cost report of literal ledger rows. docs/costs.md explains the example."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from cost_rows import EXAMPLE, FIRST, NOON, SECOND, B, at, ledger, row

from odins_ravne_assets.odin.report import CostReport, ReportScope, cost_report
from odins_ravne_assets.odin.report_text import report_tables, summary_sentences
from odins_ravne_assets.odin.unit_costs import SpeciesVisits
from resources.ledger.aws_bill import AwsBill
from resources.planning.saved_predictions import Prediction

SPECIES = (
    SpeciesVisits("red fox", "Vulpes vulpes", 14, True),
    SpeciesVisits("roe deer", "Capreolus capreolus", 6, True),
    SpeciesVisits("unknown animal", "", 5, False),
)
TOTAL = Decimal("0.19741")


def scope(**changed: object) -> ReportScope:
    defaults = {
        "name": "ravne",
        "region": "eu-north-1",
        "cameras": ("hill",),
        "since": None,
        "now": NOON.timestamp(),
        "least_saving": 0.5,
    }
    return ReportScope(**{**defaults, **changed})  # type: ignore[arg-type]


def report(*rows: dict[str, object], **changed: object) -> CostReport:
    return cost_report(ledger(*rows), scope(**changed))


@pytest.fixture(scope="module")
def example() -> CostReport:
    return cost_report(ledger(*EXAMPLE), scope(), SPECIES)


# Total and parts


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


def test_the_cost_is_reported_by_day_by_market_and_by_machine() -> None:
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


def test_traffic_within_the_region_is_counted() -> None:
    traffic = report(*EXAMPLE, row(**SECOND | {"bytes_read": 5, "bytes_written": 2})).traffic
    assert (traffic.bytes_read, traffic.bytes_written) == (5, 2)
    assert (traffic.requests_put, traffic.requests_get) == (308, 2400)


# Jobs


def test_an_interrupted_job_with_a_second_attempt_is_one_successful_job(
    example: CostReport,
) -> None:
    jobs = example.jobs
    assert (jobs.total, jobs.done, jobs.failed, jobs.attempts) == (1, 1, 0, 2)
    assert jobs.success_rate == 1.0
    assert jobs.interruptions == 1
    assert jobs.processing_seconds == 84 * 60
    assert jobs.queue_seconds == (6 + 5) * 60


def test_a_failed_job_lowers_the_success_rate_and_a_running_job_does_not() -> None:
    failed = row(**{**SECOND, "unit": 1, "attempt": "f", "end": "failed"})
    runs = row(**{**SECOND, "unit": 2, "attempt": "r", "end": None, "ended_at": None})
    jobs = report(*EXAMPLE, failed, runs).jobs
    assert (jobs.total, jobs.done, jobs.failed, jobs.open) == (3, 1, 1, 1)
    assert jobs.success_rate == 0.5


def test_a_job_that_a_user_cancelled_is_not_failed() -> None:
    cancelled = row(**{**SECOND, "unit": 1, "attempt": "c", "end": "cancelled"})
    made = report(*EXAMPLE, cancelled)
    jobs = made.jobs
    assert (jobs.total, jobs.done, jobs.failed, jobs.cancelled) == (2, 1, 0, 1)
    assert jobs.success_rate == 1.0
    assert "(success rate 100.0%, 1 cancelled" in next(summary_sentences(made))


def test_a_job_that_a_run_moved_or_tried_again_is_not_cancelled() -> None:
    moved = row(**FIRST | {"end": "cancelled"})
    jobs = report(moved, row(**SECOND | {"market": "ondemand", "end": "failed"})).jobs
    assert (jobs.failed, jobs.cancelled) == (1, 0)


def test_a_job_that_changed_from_spot_to_on_demand_counts_as_moved() -> None:
    jobs = report(row(**FIRST), row(**SECOND | {"market": "ondemand"})).jobs
    assert (jobs.moved, jobs.done) == (1, 1)


def test_an_empty_report_has_no_success_rate_and_no_unit_costs() -> None:
    made = report()
    assert made.jobs.success_rate is None
    assert made.computing.usd == 0
    assert made.units.per_job is None and made.units.per_1000_images is None
    assert made.savings.rate is None and made.savings.effective is None


def test_local_work_before_a_job_is_not_counted_as_a_job() -> None:
    local = row(**SECOND | {"market": "local", "attempt": "local", "unit": None})
    assert report(*EXAMPLE, local).jobs.total == 1
    assert report(local, region="").jobs.total == 1


# Unit costs


def test_images_and_videos_share_the_cost_by_their_frames(example: CostReport) -> None:
    assert example.units.per_1000_images == pytest.approx(Decimal("0.065803"), abs=Decimal("1e-6"))
    assert example.units.per_video_hour == pytest.approx(Decimal("0.236892"), abs=Decimal("1e-6"))


def test_jobs_cameras_and_observations_of_known_species_have_unit_costs(
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


def test_effective_savings_compare_with_the_same_work_without_interruptions(
    example: CostReport,
) -> None:
    assert example.savings.undisturbed_usd == pytest.approx(Decimal("0.84781"), abs=Decimal("1e-5"))
    assert example.savings.effective == pytest.approx(0.7672, abs=1e-4)


def test_repeated_work_lowers_only_the_effective_savings() -> None:
    wasted: dict[str, object] = {
        "usd": "0.1",
        "usd_on_demand": "0.3",
        "usd_wasted": "0.1",
        "billed_seconds": 1800.0,
        "useful_seconds": 0.0,
        "wasted_why": "crashed",
    }
    repeated = row(**{**SECOND, **B, "attempt": "w", "end": "crashed"} | wasted)
    before, after = report(*EXAMPLE).savings, report(*EXAMPLE, repeated).savings
    assert after.machine_usd == before.machine_usd + Decimal("0.1")
    assert after.effective is not None and before.effective is not None
    assert after.undisturbed_usd < before.undisturbed_usd + Decimal("0.001")
    assert after.effective < before.effective


def test_lost_work_on_a_free_machine_is_not_useful() -> None:
    lost = EXAMPLE[0] | {"useful_seconds": 0.0}
    useful, without = report(*EXAMPLE).savings, report(lost, *EXAMPLE[1:]).savings
    assert useful.machine_usd == without.machine_usd
    assert without.undisturbed_usd < useful.undisturbed_usd - Decimal("0.3348")


def test_local_work_is_in_the_total_without_savings() -> None:
    local = row(**{**SECOND, "market": "local", "usd": "0.02", "instance_type": None})
    made = report(local)
    assert made.computing.usd == Decimal("0.02")
    assert made.savings.rate is None and made.savings.effective is None


# Waste


def test_wasted_cost_is_reported_by_reason_in_descending_order() -> None:
    made = report(
        row(**FIRST | {"usd": "0.02", "usd_wasted": "0.01", "wasted_why": "out of memory"}),
        row(**SECOND | {"usd": "0.3", "usd_wasted": "0.3", "wasted_why": "crashed"}),
    )
    assert [(each.name, each.usd_wasted) for each in made.wasted] == [
        ("crashed", Decimal("0.3")),
        ("out of memory", Decimal("0.01")),
    ]


# Reports since a time


def test_a_report_since_a_time_leaves_out_ended_jobs_and_includes_running_ones() -> None:
    runs = row(**{**SECOND, "unit": 2, "attempt": "r", "end": None, "ended_at": None, "usd": "1"})
    made = report(*EXAMPLE, runs, since=at("11:00").timestamp())
    assert made.jobs.attempts == 2
    assert made.computing.usd == TOTAL + 1 - Decimal("0.0046") - Decimal("0.0033")


# The month


def test_the_forecast_of_the_month_is_linear() -> None:
    made = report(*EXAMPLE)
    assert made.month.name == "2026-11"
    assert made.month.usd == TOTAL
    assert made.month.forecast_usd == pytest.approx(made.month.usd * 30 / Decimal("19.5"))


def test_the_first_days_of_a_month_have_no_forecast() -> None:
    early = datetime(2026, 11, 2, tzinfo=UTC).timestamp()
    assert report(*EXAMPLE, now=early).month.forecast_usd is None


# Prices


def test_unverified_and_stale_prices_have_a_remark() -> None:
    old = row(**SECOND | {"price_source": "a table", "price_verified": False,
                          "price_as_of": at("09:00").replace(month=9)})  # fmt: skip
    made = report(*EXAMPLE, old)
    assert [(price.source, price.verified) for price in made.prices] == [
        ("AWS", True),
        ("a table", False),
    ]
    assert made.remarks == (
        "unverified prices (verified: false) of 2026-09-20 are in use: a table",
    )


def test_a_price_is_not_stale_for_costs_of_its_time() -> None:
    spring = datetime(2027, 4, 1, tzinfo=UTC).timestamp()
    assert report(*EXAMPLE, now=spring).remarks == ()


# AWS's own bill


def bill(machines: str, **others: str) -> AwsBill:
    services = {"Amazon Elastic Compute Cloud - Compute": Decimal(machines)}
    services |= {name.replace("_", " "): Decimal(usd) for name, usd in others.items()}
    first = NOON.replace(day=1, hour=0).timestamp()
    return AwsBill(tag="Project=ravne", since=first, asked_at=NOON.timestamp(), services=services)


def test_a_bill_with_all_costs_is_the_same() -> None:
    rows = ledger(*(each for each in EXAMPLE if each["kind"] in ("attempt", "overhead")))
    made = cost_report(rows, scope(), bill=bill("0.17631"))
    assert made.aws is not None
    assert [(each.part, each.usd, each.explanation) for each in made.aws] == [
        ("machines", Decimal(0), "the same")
    ]


def test_recent_costs_explain_a_difference_to_cost_explorer() -> None:
    rows = ledger(row(**SECOND | {"usd": "0.50"}))
    [machines] = cost_report(rows, scope(), bill=bill("0.10")).aws or ()
    assert machines.late == Decimal("0.50")
    assert "$0.5000 of the last 24 hours, not yet in Cost Explorer" in machines.explanation


def test_other_differences_are_not_explained() -> None:
    early = {"ended_at": at("09:00").replace(day=10), "usd": "0.50"}
    rows = ledger(row(**SECOND | early))
    [machines, others] = cost_report(rows, scope(), bill=bill("2.50", Amazon_Polly="1")).aws or ()
    assert machines.explanation == "$2.00 more in AWS's bill, not explained"
    assert "tagged, but not in the ledger: Amazon Polly" in others.explanation


def test_a_bill_without_the_tag_suggests_to_activate_it() -> None:
    early = {"ended_at": at("09:00").replace(day=10), "usd": "0.50"}
    made = cost_report(ledger(row(**SECOND | early)), scope(), bill=bill("0"))
    [machines] = made.aws or ()
    assert "AWS has no costs with the tag Project=ravne" in machines.explanation


# Plans


def test_actual_costs_are_compared_with_the_plan() -> None:
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
    assert "EC2 interrupted the machine 1 time" in table.rows[0][7]
