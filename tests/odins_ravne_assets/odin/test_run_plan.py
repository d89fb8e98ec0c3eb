"""What a plan says to somebody who has footage and little money."""

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
from resources.settings.profile import CostOptimization

COUNT = FootageCount(100, 0, 10**9, 0, 0, 0.0, 100, 0, 100)
LIKELY = Estimate(
    instance_type="g4dn.xlarge",
    market="spot",
    zone="eu-north-1a",
    usd_per_hour=0.19,
    within_bid=True,
    frames_per_second=60.0,
    measured=True,
    interruptions_per_hour=0.05,
    usd=Range(2.0, 1.5, 3.0),
    usd_simulated=2.0,
    seconds=Range(7800, 7200, 9000),
    unit_seconds=6600.0,
    spread=JobLayout(2, 3, 2),
)
FAST = replace(
    LIKELY, usd=Range(2.5, 2, 3), seconds=Range(1800, 1500, 2000), spread=JobLayout(10, 11, 10)
)


def plan(likely: Estimate = LIKELY, other_way: Estimate = FAST, *more: Estimate) -> RunPlan:
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
        other_way=other_way,
        begins="spot is cheap",
        paces={"g4dn.xlarge": assumed_throughput("g4dn.xlarge", "onnxruntime")},
        keeping=None,
        remarks=(),
    )


def said(made: RunPlan) -> str:
    return "\n".join(recommendations(made))


def test_cost_and_time_come_first_each_with_its_range() -> None:
    assert next(recommendations(plan())) == (
        "Expected: $2.00 ($1.50 to $3.00), in about 2 h 10 min (2 h 00 min to 2 h 30 min), on 2 "
        "machines; g4dn.xlarge spot."
    )


def test_what_it_costs_to_be_done_sooner() -> None:
    assert (
        "Best cut for cost: 2 work units of about 1 h 50 min of work; cut into 10 it is done in "
        "30.0 min for $0.5000 more (offline_camera_optimized: false)." in said(plan())
    )


def test_work_that_is_cut_the_same_either_way() -> None:
    told = "Best cut: 2 work units of about 1 h 50 min of work; more of them would save neither"
    assert told in said(plan(LIKELY, LIKELY))


def test_another_type_is_named_where_it_is_cheaper_by_enough() -> None:
    cheaper = replace(LIKELY, instance_type="g6.xlarge", usd=Range(1.5, 1, 2))
    assert "Cheapest would be g6.xlarge spot, at $1.50" in said(plan(LIKELY, FAST, cheaper))
    hardly = replace(cheaper, usd=Range(1.95, 1, 2))
    assert "Cheapest would be" not in said(plan(LIKELY, FAST, hardly))


@pytest.mark.parametrize(
    ("if_waited", "told"),
    [
        (1.2, "Waiting may save $0.8000: g4dn.xlarge was so much cheaper"),
        (1.99, "would save next to nothing"),
    ],
)
def test_what_waiting_would_save(if_waited: float, told: str) -> None:
    assert told in said(plan(replace(LIKELY, usd_if_waited=if_waited)))


def test_nothing_is_said_of_waiting_where_no_history_is_known_or_prices_are_fixed() -> None:
    assert "aiting" not in said(plan(LIKELY))
    assert "aiting" not in said(plan(replace(LIKELY, market="ondemand")))


def test_what_keeping_the_footage_costs() -> None:
    made = replace(plan(), keeping=FootageStorageCost(upload_usd=0.02, usd_per_month=1.5))
    assert "Copying the footage up costs $0.0200, and keeping it on S3 costs $1.50" in said(made)
    there = replace(plan(), keeping=FootageStorageCost(upload_usd=0.0, usd_per_month=1.5))
    assert "\nKeeping it on S3 costs $1.50 a month" in said(there)


def test_each_camera_is_predicted_its_share() -> None:
    north, south = plan().predictions()
    assert (north.camera_id, south.camera_id) == ("north", "south")
    assert north.usd + south.usd == pytest.approx(2.0)
    assert north.usd > south.usd
    assert north.usd_low / north.usd == pytest.approx(0.75)


def test_this_machine_has_a_time_and_no_price() -> None:
    here = replace(LIKELY, instance_type="this machine", market="local", usd=Range(0, 0, 0))
    assert said(plan(here, here)) == (
        "Expected: in about 2 h 10 min (2 h 00 min to 2 h 30 min) on this machine."
    )
