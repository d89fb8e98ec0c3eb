"""Throughput of machine types, measured from the ledger or assumed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from resources.ledger.table import LEDGER_SCHEMA
from resources.planning.throughput import (
    MIN_LOG_STD,
    MIN_MEASURED_FRAMES,
    SINGLE_CAMERA_LOG_STD,
    assumed_seconds_per_frame,
    assumed_throughput,
    expected_engine,
    measured_overheads,
    measured_throughputs,
)
from resources.pricing.economics import Overheads
from resources.settings.loader import load_profile

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def row(**columns: Any) -> dict[str, Any]:
    defaults = {
        "camera_id": "north",
        "kind": "attempt",
        "market": "spot",
        "instance_id": "i-1",
        "instance_type": "g4dn.xlarge",
        "end": "done",
    }
    return {**dict.fromkeys(LEDGER_SCHEMA), **defaults, **columns}


def ledger(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=LEDGER_SCHEMA)


def worked(camera: str, frames: int, seconds: float, **columns: Any) -> dict[str, Any]:
    return row(camera_id=camera, frames=frames, detections_seconds=seconds, **columns)


def lived(number: str, first: float, last: float, end: float, **columns: Any) -> dict[str, Any]:
    """A machine launched at 0 with one job, which worked for all but five seconds."""
    return row(
        instance_id=number,
        machine_launched_at=at(0),
        started_at=at(first),
        ended_at=at(last),
        machine_ended_at=at(end),
        detections_seconds=last - first - 5,
        **columns,
    )


def test_a_type_without_measurements_has_an_assumed_throughput() -> None:
    throughput = measured_throughputs(ledger(), ["g4dn.xlarge"], "onnxruntime")["g4dn.xlarge"]
    assert throughput == assumed_throughput("g4dn.xlarge", "onnxruntime")
    assert not throughput.measured
    assert throughput.source.startswith("assumed: ")


def test_an_unknown_type_has_the_default_throughput() -> None:
    assert assumed_throughput("g7.xlarge", "tensorrt").frames_per_second > 0


def test_the_ensemble_is_expected_to_take_longer_than_the_detector() -> None:
    plain, ensemble = (
        assumed_throughput("g4dn.xlarge", "onnxruntime", detector).frames_per_second
        for detector in ("megadetector-lite", "lite-ensemble")
    )
    assert plain / ensemble == pytest.approx(1.6)
    by_model = {"models.detector": "megadetector-lite"}
    seconds = [
        assumed_seconds_per_frame(load_profile("cloud", overrides, environ={}))
        for overrides in (by_model, {})
    ]
    assert seconds[1] / seconds[0] == pytest.approx(1.6)


def test_throughput_is_frames_of_all_cameras_per_seconds_of_all_stages() -> None:
    table = ledger(
        worked("north", 1000, 80, classifications_seconds=20.0),
        worked("south", 1000, 80, footage_seconds=10.0, observations_seconds=10.0),
    )
    throughput = measured_throughputs(table, ["g4dn.xlarge"], "onnxruntime")["g4dn.xlarge"]
    assert throughput.measured
    assert throughput.frames_per_second == pytest.approx(10)
    assert throughput.source == "measured: 2000 frames of 2 cameras"
    assert throughput.log_std == MIN_LOG_STD


def test_too_few_frames_are_no_measurement() -> None:
    table = ledger(worked("north", MIN_MEASURED_FRAMES - 1, 1))
    assert not measured_throughputs(table, ["g4dn.xlarge"], "onnxruntime")["g4dn.xlarge"].measured


def test_each_type_is_measured_separately() -> None:
    table = ledger(worked("north", 1000, 100), worked("north", 900, 30, instance_type="g5.xlarge"))
    found = measured_throughputs(table, ["g4dn.xlarge", "g5.xlarge"], "onnxruntime")
    speeds = [found[kind].frames_per_second for kind in ("g4dn.xlarge", "g5.xlarge")]
    assert speeds == pytest.approx([10, 30])


def test_differences_between_cameras_increase_the_deviation() -> None:
    alike = ledger(worked("north", 1000, 100), worked("south", 1000, 101))
    apart = ledger(worked("north", 1000, 100), worked("south", 1000, 400))
    alone = ledger(worked("north", 1000, 100))
    spreads = [
        measured_throughputs(table, ["g4dn.xlarge"], "onnxruntime")["g4dn.xlarge"].log_std
        for table in (alike, alone, apart)
    ]
    assert spreads == pytest.approx([MIN_LOG_STD, SINGLE_CAMERA_LOG_STD, 0.98], abs=0.01)


def test_interruptions_raise_the_rate_and_long_lifetimes_lower_it() -> None:
    assumed = assumed_throughput("g4dn.xlarge", "onnxruntime").interruptions_per_hour
    long_lifetimes = ledger(lived("i-1", 200, 36000, 36100), lived("i-2", 200, 36000, 36100))
    interrupted = ledger(lived("i-1", 200, 1000, 1120, machine_taken_at=at(1120)))
    on_demand = ledger(lived("i-1", 200, 360000, 360100, market="ondemand"))
    rates = [
        measured_throughputs(table, ["g4dn.xlarge"], "onnxruntime")[
            "g4dn.xlarge"
        ].interruptions_per_hour
        for table in (long_lifetimes, on_demand, interrupted)
    ]
    assert rates[0] < rates[1] == assumed < rates[2]


def test_overheads_are_measured_on_machines_without_interruption() -> None:
    table = ledger(
        lived("i-1", 200, 1000, 1120),
        lived("i-2", 220, 1000, 1130),
        lived("i-3", 900, 1000, 1010, machine_taken_at=at(1010)),
    )
    measured = measured_overheads(table)
    assert measured.boot_seconds == pytest.approx(210)
    assert measured.start_seconds == pytest.approx(5)
    assert measured.idle_seconds == pytest.approx(125)


def test_the_gap_between_two_jobs_is_part_of_the_later_jobs_start() -> None:
    first, second = lived("i-1", 200, 1000, 2000), lived("i-1", 1040, 1900, 2000)
    other = lived("i-2", 200, 1000, 1100)
    measured = measured_overheads(ledger(first, second, other))
    assert measured.start_seconds == pytest.approx(5 + 40)
    assert measured.boot_seconds == pytest.approx(200 - 40)
    assert measured.idle_seconds == pytest.approx(100)


def test_one_machine_is_not_enough_to_measure_overheads() -> None:
    assert measured_overheads(ledger(lived("i-1", 200, 1000, 1120))) == Overheads()


def test_a_launch_is_cut_by_the_assumed_throughput_of_its_engine() -> None:
    on_gpu = load_profile("cloud", environ={})
    on_cpu = load_profile("cloud", {"pipeline.stage1.engine": "onnxruntime"}, environ={})
    for profile, engine in ((on_gpu, "tensorrt"), (on_cpu, "onnxruntime")):
        detector = profile.models.detector
        assumed = assumed_throughput("g4dn.xlarge", engine, detector).frames_per_second
        assert assumed_seconds_per_frame(profile) == pytest.approx(1 / assumed)


def test_auto_means_the_gpu_engine_on_machines_that_all_have_a_gpu() -> None:
    assert expected_engine(load_profile("cloud", environ={})) == "tensorrt"
    mixed = {"cloud.aws.compute.instance_types": ["g5.xlarge", "c7i.xlarge"]}
    assert expected_engine(load_profile("cloud", mixed, environ={})) == "onnxruntime"
    assert expected_engine(load_profile("local", environ={})) == "onnxruntime"
