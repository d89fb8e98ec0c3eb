"""How fast machines work, how soon they are ready, and how often they are taken away.

Measured by the cost ledger, per machine type; assumed (`throughput_priors.yaml`) where the ledger
holds too little, and marked so.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from math import log, sqrt
from typing import Any, Literal

import polars as pl
import yaml

from resources.batch.outcome import AttemptOutcome
from resources.pricing.economics import HOUR_SECONDS, Overheads, interruption_rate
from resources.settings.profile import Profile

# What a type must have looked at before the ledger's word counts.
MIN_MEASURED_FRAMES = 500
# Machines whose whole life must be known before their boot and idle times count.
MIN_MEASURED_MACHINES = 2
# Standard deviation of the logarithm of frames per second, from one camera's footage to another's:
# of an assumption (19 of 20 within a factor of 3), of one camera's measurement, and at least.
ASSUMED_LOG_STD = log(3) / 1.645
SINGLE_CAMERA_LOG_STD = 0.3
MIN_LOG_STD = 0.1

# How the machine that runs the command is named among the types.
LOCAL_MACHINE = "this machine"
# AWS's machines with GPUs, by the names of their types: g4dn, g5, g6, p4d.
GPU_FAMILIES = re.compile(r"[gp]\d")

STAGE_SECONDS_COLUMNS = (
    "footage_seconds",
    "detections_seconds",
    "classifications_seconds",
    "observations_seconds",
)


@dataclass(frozen=True)
class Throughput:
    """How a machine type works.

    Args:
        frames_per_second: looked at; all stages together, start-up not included.
        spread: standard deviation of its logarithm, over other footage.
        frames: that were measured; 0: it is assumed.
        source: where the figure is from, for people.
        interruptions_per_hour: how often EC2 takes such a machine on spot.
        hours: of spot machines, from which that rate was seen beside what was assumed.
    """

    instance_type: str
    frames_per_second: float
    spread: float
    frames: int
    source: str
    interruptions_per_hour: float
    hours: float = 0.0

    @property
    def measured(self) -> bool:
        return self.frames > 0


@cache
def _priors() -> dict[str, Any]:
    text = (
        files("resources.planning").joinpath("throughput_priors.yaml").read_text(encoding="utf-8")
    )
    tree: dict[str, Any] = yaml.safe_load(text)
    return tree


def assumed_throughput(instance_type: str, engine: str) -> Throughput:
    """What is assumed of a type that nothing was measured of.

    Args:
        engine: onnxruntime or tensorrt.
    """
    tree = _priors()
    speeds, losses = tree["frames_per_second"][engine], tree["interruptions_per_hour"]
    return Throughput(
        instance_type,
        float(speeds.get(instance_type, speeds["any"])),
        ASSUMED_LOG_STD,
        0,
        f"assumed: {tree['sources'][speeds['source']]}",
        float(losses.get(instance_type, losses["any"])),
    )


def assumed_seconds_per_frame(profile: Profile) -> float:
    """What a launch takes a frame for when it cuts a camera: on the slowest of its types.

    Assumed, never measured: a launch that is taken up must be cut as it was before.
    """
    types = profile.cloud.aws.compute.instance_types if profile.cloud else ("",)
    engine = expected_engine(profile)
    return 1 / min(assumed_throughput(kind, engine).frames_per_second for kind in types)


def expected_engine(profile: Profile) -> Literal["onnxruntime", "tensorrt"]:
    """What is to run the models of a profile, as `assumed_throughput` names it, by the profile alone.

    The same on every machine, unlike what a worker finds on its own: a launch that is taken up
    must be cut as it was before. `auto` is tensorrt on AWS's machines with GPUs.
    """
    asked = profile.pipeline.stage1.engine
    if asked != "auto":
        return asked
    types = profile.cloud.aws.compute.instance_types if profile.cloud else ()
    return (
        "tensorrt" if types and all(GPU_FAMILIES.match(kind) for kind in types) else "onnxruntime"
    )


def measured_throughputs(
    ledger: pl.DataFrame, instance_types: Iterable[str], engine: str
) -> dict[str, Throughput]:
    """How each type works: as the ledger has measured it, else as is assumed.

    Args:
        ledger: rows of `cost_ledger.SCHEMA`, of any cameras.
        instance_types: names of types, and LOCAL.
    """
    seen = {row["instance_type"]: row for row in _losses(ledger).iter_rows(named=True)}
    found = {}
    for kind in instance_types:
        pace = assumed_throughput(kind, engine)
        if kind in seen:
            hours = seen[kind]["hours"]
            rate = interruption_rate(seen[kind]["taken"], hours, pace.interruptions_per_hour)
            pace = replace(pace, interruptions_per_hour=rate, hours=hours)
        own = (
            pl.col("market") == "local"
            if kind == LOCAL_MACHINE
            else pl.col("instance_type") == kind
        )
        found[kind] = _measured(pace, ledger.filter(own))
    return found


def _measured(pace: Throughput, rows: pl.DataFrame) -> Throughput:
    worked = (
        rows.filter(pl.col("kind") == "attempt")
        .with_columns(seconds=pl.sum_horizontal(STAGE_SECONDS_COLUMNS))
        .group_by("camera_id")
        .agg(pl.col("frames").sum(), pl.col("seconds").sum())
        .filter(pl.col("frames") > 0, pl.col("seconds") > 0)
        .with_columns(speed=pl.col("frames") / pl.col("seconds"))
    )
    frames = int(worked["frames"].sum())
    if frames < MIN_MEASURED_FRAMES:
        return pace
    cameras = worked.height
    return replace(
        pace,
        frames_per_second=frames / float(worked["seconds"].sum()),
        spread=_spread(worked),
        frames=frames,
        source=f"measured: {frames} frames of {cameras} camera{'s' * (cameras != 1)}",
    )


def _spread(worked: pl.DataFrame) -> float:
    """Standard deviation of the logarithm of the speed, cameras weighed by their frames."""
    if worked.height < 2:
        return SINGLE_CAMERA_LOG_STD
    weight = worked["frames"] / worked["frames"].sum()
    logs = worked["speed"].log()
    mean = float((weight * logs).sum())
    variance = float((weight * (logs - mean) ** 2).sum()) * worked.height / (worked.height - 1)
    return max(MIN_LOG_STD, sqrt(variance))


def _machines(ledger: pl.DataFrame) -> pl.DataFrame:
    """A row per machine of AWS whose life is known from beginning to end, with its jobs' times."""
    return (
        ledger.filter(
            pl.col("kind") == "attempt",
            pl.col("started_at").is_not_null(),
            pl.col("ended_at").is_not_null(),
            pl.col("machine_launched_at").is_not_null(),
        )
        .group_by("instance_id")
        .agg(
            pl.col("instance_type", "market").first(),
            pl.len().alias("jobs"),
            pl.col("machine_launched_at").min().alias("launched"),
            pl.col("machine_ended_at", "machine_taken_at").max(),
            pl.col("started_at").min().alias("first"),
            pl.col("ended_at").max().alias("last"),
            (pl.col("ended_at") - pl.col("started_at")).sum().alias("busy"),
        )
        .filter(pl.col("machine_ended_at").is_not_null())
    )


def _losses(ledger: pl.DataFrame) -> pl.DataFrame:
    """By type: spot machines that EC2 took, and the hours that all of them lived."""
    lived = pl.col("machine_ended_at") - pl.col("launched")
    return (
        _machines(ledger)
        .filter(pl.col("market") == "spot")
        .group_by("instance_type")
        .agg(
            pl.col("machine_taken_at").is_not_null().sum().alias("taken"),
            (lived.dt.total_milliseconds().sum() / 1000 / HOUR_SECONDS).alias("hours"),
        )
    )


def measured_overheads(ledger: pl.DataFrame) -> Overheads:
    """What machines and jobs take besides their work: measured, if enough of them ended by
    themselves; else what is assumed."""
    assumed = Overheads()
    whole = _machines(ledger).filter(pl.col("machine_taken_at").is_null())
    started = (
        ledger.filter(
            pl.col("kind") == "attempt",
            pl.col("end") == AttemptOutcome.DONE.value,
            pl.col("instance_id").is_not_null(),
        )
        .with_columns(work=pl.sum_horizontal(STAGE_SECONDS_COLUMNS))
        .filter(pl.col("work") > 0)
    )
    if whole.height < MIN_MEASURED_MACHINES or started.is_empty():
        return assumed
    later_jobs = int((whole["jobs"] - 1).sum())
    gaps = _seconds((whole["last"] - whole["first"]) - whole["busy"])
    gap = max(0.0, gaps / later_jobs) if later_jobs else 0.0
    boot = _seconds(whole["first"] - whole["launched"]) / whole.height
    idle = _seconds(whole["machine_ended_at"] - whole["last"]) / whole.height
    own = _seconds(started["ended_at"] - started["started_at"]) - float(started["work"].sum())
    return replace(
        assumed,
        # A job's start has what lies between two jobs in it; before the first, that is the boot's.
        boot_seconds=max(0.0, boot - gap),
        start_seconds=max(0.0, own / started.height) + gap,
        idle_seconds=max(0.0, idle),
        save_share=0.0,  # it is in the measured stages
    )


def _seconds(durations: pl.Series) -> float:
    """The sum of durations."""
    return float(durations.dt.total_milliseconds().sum()) / 1000
