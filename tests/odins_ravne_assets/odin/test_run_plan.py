"""The recommendations of a plan."""

from dataclasses import replace

import pytest

from odins_ravne_assets.munin.workload.footage_estimate import FootageCount
from odins_ravne_assets.odin.run_plan import FootageStorageCost, RunPlan, recommendations
from resources.planning.estimate import (
    CameraWork,
    Estimate,
    JobLayout,
    PlanLimits,
    PlannedWork,
    Range,
)
from resources.planning.throughput import assumed_throughput
from resources.pricing.economics import Overheads
from resources.pricing.prices import Market
from resources.settings.profile import CostOptimization

COUNT = FootageCount(100, 0, 10**9, 0, 0, 0.0, 100, 0, 100)
LIKELY = Estimate(
    instance_type="g4dn.xlarge",
    market=Market.SPOT,
    zone="eu-north-1a",
    usd_per_hour=0.19,
    within_bid=True,
    frames_per_second=60.0,
    measured=True,
    interruptions_per_hour=0.05,
    usd=Range(2.0, 1.5, 3.0),
    seconds=Range(7800, 7200, 9000),
    unit_seconds=6600.0,
    layout=JobLayout(2, 3, 2),
)
FAST = replace(
    LIKELY, usd=Range(2.5, 2, 3), seconds=Range(1800, 1500, 2000), layout=JobLayout(10, 11, 10)
)


def plan(likely: Estimate = LIKELY, alternative: Estimate = FAST, *more: Estimate) -> RunPlan:
    work = PlannedWork(
        [CameraWork("north", 300, 300), CameraWork("south", 100, 100)],
        PlanLimits(CostOptimization(), 25),
        1 / 60,
        Overheads(),
    )
    return RunPlan(
        made_at=0.0,
        counts={"north": COUNT, "south": COUNT},
        work=work,
        estimates=tuple(sorted((likely, *more), key=lambda each: each.usd.expected)),
        likely=likely,
        alternative=alternative,
        decision="spot is cheap",
        throughputs={"g4dn.xlarge": assumed_throughput("g4dn.xlarge", "onnxruntime")},
        storage=None,
        remarks=(),
    )


def text(made: RunPlan) -> str:
    return "\n".join(recommendations(made))


def test_cost_and_duration_come_first_with_their_ranges() -> None:
    assert next(recommendations(plan())) == (
        "Expected: $2.00 ($1.50 to $3.00), in about 2 h 10 min (2 h 00 min to 2 h 30 min), on 2 "
        "machines; g4dn.xlarge spot."
    )


def test_the_cost_of_a_shorter_duration() -> None:
    assert (
        "Cheapest split: 2 work units of about 1 h 50 min of work; with 10 units the run takes "
        "30.0 min for $0.5000 more (offline_camera_optimized: false)." in text(plan())
    )


def test_work_with_the_same_split_for_cost_and_speed() -> None:
    expected = "Best split: 2 work units of about 1 h 50 min of work; more units would save neither"
    assert expected in text(plan(LIKELY, LIKELY))


def test_a_much_cheaper_type_is_recommended() -> None:
    cheaper = replace(LIKELY, instance_type="g6.xlarge", usd=Range(1.5, 1, 2))
    assert "The cheapest is g6.xlarge spot, at $1.50" in text(plan(LIKELY, FAST, cheaper))
    hardly_cheaper = replace(cheaper, usd=Range(1.95, 1, 2))
    assert "The cheapest is" not in text(plan(LIKELY, FAST, hardly_cheaper))


@pytest.mark.parametrize(
    ("low_price", "expected"),
    [
        (1.2, "Waiting may save $0.8000: g4dn.xlarge was that much cheaper"),
        (1.99, "would save almost nothing"),
    ],
)
def test_the_saving_of_waiting(low_price: float, expected: str) -> None:
    assert expected in text(plan(replace(LIKELY, usd_at_low_price=low_price)))


def test_waiting_is_not_mentioned_without_a_price_history_or_with_fixed_prices() -> None:
    assert "aiting" not in text(plan(LIKELY))
    assert "aiting" not in text(plan(replace(LIKELY, market=Market.ON_DEMAND)))


def test_the_cost_of_storing_the_footage() -> None:
    local = replace(plan(), storage=FootageStorageCost(upload_usd=0.02, usd_per_month=1.5))
    assert "\nUploading the footage costs $0.0200." in text(local)
    on_s3 = replace(plan(), storage=FootageStorageCost(upload_usd=0.0, usd_per_month=1.5))
    assert "Uploading" not in text(on_s3)
    for each in (local, on_s3):
        assert "\nStoring the footage on S3 costs $1.50 a month at first." in text(each)


def test_each_camera_has_a_prediction_of_its_share() -> None:
    north, south = plan().predictions()
    assert (north.camera_id, south.camera_id) == ("north", "south")
    assert north.usd + south.usd == pytest.approx(2.0)
    assert north.usd > south.usd
    assert north.usd_low / north.usd == pytest.approx(0.75)


def test_a_plan_for_this_machine_has_a_duration_and_no_price() -> None:
    local = replace(LIKELY, instance_type="this machine", market=Market.LOCAL, usd=Range(0, 0, 0))
    assert text(plan(local, local)) == (
        "Expected: in about 2 h 10 min (2 h 00 min to 2 h 30 min) on this machine."
    )
