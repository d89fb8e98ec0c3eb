"""Throughput, startup times and interruption rates of machine types.

Measured from the cost ledger; assumed (`throughput_priors.yaml`), and marked as assumed, if the
ledger has too few rows.
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
from resources.pricing.prices import CostKind, Market
from resources.settings.profile import Profile

# Frames of a machine type from which on its measurement replaces the assumption.
MIN_MEASURED_FRAMES = 500
# Complete machine lifetimes from which on boot and idle times are measured.
MIN_MEASURED_MACHINES = 2
# Standard deviation of the logarithm of frames per second between cameras: of an assumption (90 %
# within a factor of 3), of a measurement with one camera, and the minimum.
ASSUMED_LOG_STD = log(3) / 1.645
SINGLE_CAMERA_LOG_STD = 0.3
MIN_LOG_STD = 0.1

# The name of the machine that runs the command, among machine types; stored in plans.
LOCAL_MACHINE = "this machine"
# Names of AWS's machine types with GPUs: g4dn, g5, g6, p4d.
GPU_FAMILIES = re.compile(r"[gp]\d")

STAGE_SECONDS_COLUMNS = (
    "footage_seconds",
    "detections_seconds",
    "classifications_seconds",
    "observations_seconds",
)


@dataclass(frozen=True)
class Throughput:
    """Throughput and interruption rate of a machine type.

    Args:
        frames_per_second: processed frames; all stages together, without startup.
        log_std: standard deviation of its logarithm between cameras.
        frames: number of measured frames; 0: the throughput is assumed.
        source: description of its origin.
        interruptions_per_hour: how often EC2 interrupts such a spot machine.
        observed_hours: of spot machines, in which interruptions were counted.
    """

    instance_type: str
    frames_per_second: float
    log_std: float
    frames: int
    source: str
    interruptions_per_hour: float
    observed_hours: float = 0.0

    @property
    def measured(self) -> bool:
        """True if the throughput is measured, False if it is assumed."""
        return self.frames > 0


@cache
def _priors() -> dict[str, Any]:
    text = (
        files("resources.planning").joinpath("throughput_priors.yaml").read_text(encoding="utf-8")
    )
    tree: dict[str, Any] = yaml.safe_load(text)
    return tree


def assumed_throughput(instance_type: str, engine: str, detector: str = "") -> Throughput:
    """Return the assumed throughput of a machine type without measurements.

    Args:
        engine: onnxruntime or tensorrt.
        detector: `models.detector`, whose frames may take longer than others.
    """
    priors = _priors()
    speeds, rates = priors["frames_per_second"][engine], priors["interruptions_per_hour"]
    return Throughput(
        instance_type=instance_type,
        frames_per_second=float(speeds.get(instance_type, speeds["any"])) / _work_of(detector),
        log_std=ASSUMED_LOG_STD,
        frames=0,
        source=f"assumed: {priors['sources'][speeds['source']]}",
        interruptions_per_hour=float(rates.get(instance_type, rates["any"])),
    )


def _work_of(detector: str) -> float:
    """Return the assumed time of a frame, as a ratio to that of the single shipped detector."""
    ratios = _priors()["work_of_detectors"]
    return float(ratios.get(detector, ratios["any"]))


def assumed_seconds_per_frame(profile: Profile) -> float:
    """Return the seconds per frame by which a launch cuts work units: those of its slowest type.

    Assumed, never measured: a resumed launch must be cut in the same way.
    """
    types = profile.cloud.aws.compute.instance_types if profile.cloud else ("",)
    engine, detector = expected_engine(profile), profile.models.detector
    return 1 / min(assumed_throughput(kind, engine, detector).frames_per_second for kind in types)


def cpu_slowdown() -> str:
    """Return what it costs that the CPU of a machine with a GPU runs the models, for warnings."""
    gpu, cpu = (assumed_throughput("", each) for each in ("tensorrt", "onnxruntime"))
    ratio = gpu.frames_per_second / cpu.frames_per_second
    return (
        f"the CPU takes about {ratio:.1f} times as long, and on a machine paid by the hour costs "
        f"{ratio:.1f} times as much ({cpu.frames_per_second:g} instead of "
        f"{gpu.frames_per_second:g} frames a second, assumed, not measured)"
    )


def expected_engine(profile: Profile) -> Literal["onnxruntime", "tensorrt"]:
    """Return the engine that a profile's machines are expected to use, for `assumed_throughput`.

    It depends on the profile only, unlike the engine that a worker selects: a resumed launch must
    be cut in the same way. `auto` is tensorrt if all machine types have a GPU.
    """
    engine = profile.pipeline.stage1.engine
    if engine != "auto":
        return engine
    types = profile.cloud.aws.compute.instance_types if profile.cloud else ()
    return (
        "tensorrt" if types and all(GPU_FAMILIES.match(kind) for kind in types) else "onnxruntime"
    )


def measured_throughputs(
    ledger: pl.DataFrame, instance_types: Iterable[str], engine: str, detector: str = ""
) -> dict[str, Throughput]:
    """Return the throughput of each machine type: measured from the ledger, else assumed.

    Args:
        ledger: rows of `LEDGER_SCHEMA`, of any cameras and detectors.
        instance_types: names of types, and LOCAL_MACHINE.
        engine, detector: see `assumed_throughput`.
    """
    interruptions = {row["instance_type"]: row for row in _interruptions(ledger).to_dicts()}
    throughputs = {}
    for kind in instance_types:
        throughput = assumed_throughput(kind, engine, detector)
        if kind in interruptions:
            count, hours = interruptions[kind]["interruptions"], interruptions[kind]["hours"]
            rate = interruption_rate(count, hours, throughput.interruptions_per_hour)
            throughput = replace(throughput, interruptions_per_hour=rate, observed_hours=hours)
        is_local = pl.col("market") == Market.LOCAL
        own = is_local if kind == LOCAL_MACHINE else pl.col("instance_type") == kind
        throughputs[kind] = _measure(throughput, ledger.filter(own))
    return throughputs


def _measure(throughput: Throughput, rows: pl.DataFrame) -> Throughput:
    """The throughput of a type's rows; unchanged if they have too few frames."""
    cameras = (
        rows.filter(pl.col("kind") == CostKind.ATTEMPT)
        .with_columns(seconds=pl.sum_horizontal(STAGE_SECONDS_COLUMNS))
        .group_by("camera_id")
        .agg(pl.col("frames").sum(), pl.col("seconds").sum())
        .filter(pl.col("frames") > 0, pl.col("seconds") > 0)
        .with_columns(speed=pl.col("frames") / pl.col("seconds"))
    )
    frames = int(cameras["frames"].sum())
    if frames < MIN_MEASURED_FRAMES:
        return throughput
    count = cameras.height
    return replace(
        throughput,
        frames_per_second=frames / float(cameras["seconds"].sum()),
        log_std=_log_std(cameras),
        frames=frames,
        source=f"measured: {frames} frames of {count} camera{'s' * (count != 1)}",
    )


def _log_std(cameras: pl.DataFrame) -> float:
    """Standard deviation of the logarithm of the speed, cameras weighted by their frames."""
    if cameras.height < 2:
        return SINGLE_CAMERA_LOG_STD
    weight = cameras["frames"] / cameras["frames"].sum()
    logs = cameras["speed"].log()
    mean = float((weight * logs).sum())
    variance = float((weight * (logs - mean) ** 2).sum()) * cameras.height / (cameras.height - 1)
    return max(MIN_LOG_STD, sqrt(variance))


def _machine_lifetimes(ledger: pl.DataFrame) -> pl.DataFrame:
    """A row per machine on AWS with known launch and end, with the times of its jobs."""
    return (
        ledger.filter(
            pl.col("kind") == CostKind.ATTEMPT,
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
            pl.col("started_at").min().alias("first_start"),
            pl.col("ended_at").max().alias("last_end"),
            (pl.col("ended_at") - pl.col("started_at")).sum().alias("busy"),
        )
        .filter(pl.col("machine_ended_at").is_not_null())
    )


def _interruptions(ledger: pl.DataFrame) -> pl.DataFrame:
    """By type: interrupted spot machines, and the lifetime of all of them in hours."""
    lifetime = pl.col("machine_ended_at") - pl.col("launched")
    return (
        _machine_lifetimes(ledger)
        .filter(pl.col("market") == Market.SPOT)
        .group_by("instance_type")
        .agg(
            pl.col("machine_taken_at").is_not_null().sum().alias("interruptions"),
            (lifetime.dt.total_milliseconds().sum() / 1000 / HOUR_SECONDS).alias("hours"),
        )
    )


def measured_overheads(ledger: pl.DataFrame) -> Overheads:
    """Return the overheads of machines and jobs, measured if enough machines ended regularly.

    Otherwise they are assumed.
    """
    assumed = Overheads()
    machines = _machine_lifetimes(ledger).filter(pl.col("machine_taken_at").is_null())
    attempts = (
        ledger.filter(
            pl.col("kind") == CostKind.ATTEMPT,
            pl.col("end") == AttemptOutcome.DONE,
            pl.col("instance_id").is_not_null(),
        )
        .with_columns(work=pl.sum_horizontal(STAGE_SECONDS_COLUMNS))
        .filter(pl.col("work") > 0)
    )
    if machines.height < MIN_MEASURED_MACHINES or attempts.is_empty():
        return assumed
    later_jobs = int((machines["jobs"] - 1).sum())
    gaps = _seconds((machines["last_end"] - machines["first_start"]) - machines["busy"])
    gap = max(0.0, gaps / later_jobs) if later_jobs else 0.0
    boot = _seconds(machines["first_start"] - machines["launched"]) / machines.height
    idle = _seconds(machines["machine_ended_at"] - machines["last_end"]) / machines.height
    starts = _seconds(attempts["ended_at"] - attempts["started_at"]) - float(attempts["work"].sum())
    return replace(
        assumed,
        # The gap between two jobs belongs to the later job's start; the first job's gap is part of
        # the boot time.
        boot_seconds=max(0.0, boot - gap),
        start_seconds=max(0.0, starts / attempts.height) + gap,
        idle_seconds=max(0.0, idle),
        save_share=0.0,  # included in the measured stages
    )


def _seconds(durations: pl.Series) -> float:
    """The sum of durations."""
    return float(durations.dt.total_milliseconds().sum()) / 1000
