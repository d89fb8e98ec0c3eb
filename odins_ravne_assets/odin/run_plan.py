"""The plan of a run: its frames, the estimates per machine type, and recommendations."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from odins_ravne_assets.munin.workload.footage_estimate import FootageCount
from odins_ravne_assets.odin.formatting import format_count, format_duration, format_usd
from resources.planning.estimate import Estimate, PlannedWork, camera_shares, estimate_json
from resources.planning.saved_predictions import PredictedOffer, Prediction
from resources.planning.throughput import Throughput
from resources.pricing.prices import Market
from resources.settings.profile import Models

# An alternative is recommended if it saves at least this share of the cost, and a cent.
MIN_SAVING_SHARE = 0.05
MIN_SAVING_USD = 0.01


@dataclass(frozen=True)
class FootageStorageCost:
    """The cost of footage on S3.

    Args:
        upload_usd: for the upload of local footage; 0 if it is on S3.
        usd_per_month: for its storage.
    """

    upload_usd: float
    usd_per_month: float


@dataclass(frozen=True)
class RunPlan:
    """The plan of a run.

    Args:
        made_at: seconds since 1970 UTC.
        counts: of each camera's footage.
        estimates: for each machine type and market, the cheapest first.
        likely: the estimate for the type and market that a run with this profile would use.
        alternative: the same type and market, cut for speed if `likely` is cut for cost, and vice
            versa.
        decision: the reason of the spot policy's decision now.
        throughputs: by machine type.
        remarks: caveats about prices, each a sentence.
        settings: a line for each camera whose results have other settings than the profile.
        models: the models of each camera's run.
    """

    made_at: float
    counts: Mapping[str, FootageCount]
    work: PlannedWork
    estimates: tuple[Estimate, ...]
    likely: Estimate
    alternative: Estimate
    decision: str
    throughputs: Mapping[str, Throughput]
    storage: FootageStorageCost | None
    remarks: tuple[str, ...]
    settings: tuple[str, ...] = ()
    models: Mapping[str, Models] = field(default_factory=dict)

    @property
    def has_work(self) -> bool:
        """True if there are frames to process or crops to classify."""
        return self.work.frame_equivalents > 0

    @property
    def frames(self) -> int:
        """The number of frames to process."""
        return self.work.frames

    def predictions(self) -> Iterator[Prediction]:
        """Yield each camera's share of the likely estimate."""
        likely = self.likely
        share_of = camera_shares(self.work, self.throughputs[likely.instance_type])
        for camera in self.work.cameras:
            share = share_of[camera.camera_id]
            yield Prediction(
                camera_id=camera.camera_id,
                made_at=self.made_at,
                frames=camera.frames_left,
                usd=likely.usd.expected * share,
                usd_low=likely.usd.low * share,
                usd_high=likely.usd.high * share,
                seconds=likely.seconds.expected,
                instance_type=likely.instance_type,
                market=likely.market,
                frames_per_second=likely.frames_per_second,
                measured=likely.measured,
                offers=tuple(_offer(each, share) for each in self.estimates),
            )

    def as_json(self) -> dict[str, Any]:
        """Return the plan as JSON: flat, units in the names, times in seconds since 1970 UTC."""
        return {
            "made_at": self.made_at,
            "cameras": {name: asdict(count) for name, count in self.counts.items()},
            "frames": self.frames,
            "likely": estimate_json(self.likely),
            "other_way": estimate_json(self.alternative),
            "estimates": [estimate_json(each) for each in self.estimates],
            "begins": self.decision,
            "paces": {kind: each.source for kind, each in self.throughputs.items()},
            "keeping": asdict(self.storage) if self.storage else None,
            "remarks": list(self.remarks),
            "settings": list(self.settings),
        }


def _offer(estimate: Estimate, share: float) -> PredictedOffer:
    return PredictedOffer(
        instance_type=estimate.instance_type,
        market=estimate.market,
        usd=estimate.usd.expected * share,
        usd_per_hour=estimate.usd_per_hour,
        frames_per_second=estimate.frames_per_second,
    )


def recommendations(plan: RunPlan) -> Iterator[str]:
    """Yield recommendations to save cost, one or two sentences each."""
    likely = plan.likely
    if not plan.has_work:
        yield "Nothing is left to process: a run finds the visits again, and starts no machine."
        return
    yield _expected(plan)
    cheapest = plan.estimates[0]
    if cheapest is not likely and _is_worthwhile(likely.usd.expected, cheapest.usd.expected):
        yield (
            f"The cheapest is {_label(cheapest)}, at {format_usd(cheapest.usd.expected)}: AWS "
            "selects by price per hour and available capacity, so make it the only one in "
            "cloud.aws.compute.instance_types if you can wait for it."
        )
    yield from _work_unit_size(plan)
    yield from _waiting(plan)
    if plan.storage:
        upload = plan.storage.upload_usd
        if upload:
            yield f"Uploading the footage costs {format_usd(upload)}."
        monthly = format_usd(plan.storage.usd_per_month)
        yield f"Storing the footage on S3 costs {monthly} a month at first."


def _expected(plan: RunPlan) -> str:
    likely = plan.likely
    duration = (
        f"in about {format_duration(likely.seconds.expected)} "
        f"({format_duration(likely.seconds.low)} to {format_duration(likely.seconds.high)})"
    )
    if likely.market == Market.LOCAL:
        price = f"{format_usd(likely.usd.expected)}, " if likely.usd.expected else ""
        return f"Expected: {price}{duration} on this machine."
    low, high = format_usd(likely.usd.low), format_usd(likely.usd.high)
    return (
        f"Expected: {format_usd(likely.usd.expected)} ({low} to {high}), {duration}, on "
        f"{format_count(likely.layout.machines, 'machine')}; {_label(likely)}."
    )


def _work_unit_size(plan: RunPlan) -> Iterator[str]:
    """The best size of work units."""
    likely, alternative = plan.likely, plan.alternative
    if likely.market == Market.LOCAL:
        return
    is_cheap = plan.work.limits.cost.offline_camera_optimized
    cheap, fast = (likely, alternative) if is_cheap else (alternative, likely)
    duration = format_duration(cheap.unit_seconds)
    best = f"{format_count(cheap.layout.units, 'work unit')} of about {duration} of work"
    if cheap.layout.units == fast.layout.units:
        yield f"Best split: {best}; more units would save neither cost nor time."
        return
    more = fast.usd.expected - cheap.usd.expected
    yield (
        f"Cheapest split: {best}; with {fast.layout.units} units the run takes "
        f"{format_duration(fast.seconds.expected)} for {format_usd(max(0.0, more))} more "
        f"(offline_camera_optimized: {'false' if is_cheap else 'true makes it the cheapest'})."
    )


def _waiting(plan: RunPlan) -> Iterator[str]:
    """The saving of waiting for a lower spot price."""
    likely = plan.likely
    if likely.market != Market.SPOT or likely.usd_at_low_price is None:
        return
    if _is_worthwhile(likely.usd.expected, likely.usd_at_low_price):
        saving = likely.usd.expected - likely.usd_at_low_price
        yield (
            f"Waiting may save {format_usd(saving)}: {likely.instance_type} was that much cheaper "
            "for a tenth of the last weeks."
        )
    else:
        yield "Waiting for a lower spot price would save almost nothing."


def _is_worthwhile(now: float, alternative: float) -> bool:
    return now - alternative > max(MIN_SAVING_USD, MIN_SAVING_SHARE * now)


def _label(estimate: Estimate) -> str:
    market = {Market.SPOT: "spot", Market.ON_DEMAND: "on demand", Market.LOCAL: ""}[estimate.market]
    return f"{estimate.instance_type} {market}".strip()
