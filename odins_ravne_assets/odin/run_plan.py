"""A plan of a run: what is to be looked at, what that costs on each machine, and what follows."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from odins_ravne_assets.munin.workload.footage_estimate import FootageCount
from odins_ravne_assets.odin.formatting import format_count, format_duration, format_usd
from resources.planning.estimate import Estimate, PlannedWork, camera_shares, estimate_json
from resources.planning.predictions import PredictedOffer, Prediction
from resources.planning.throughput import Throughput

# Waiting, or another cut, is told of where it saves this share of the cost, and a cent.
MIN_SAVING_SHARE = 0.05
MIN_SAVING_USD = 0.01


@dataclass(frozen=True)
class FootageStorageCost:
    """What it costs to have the footage on S3.

    Args:
        upload_usd: to copy up what lies here; 0 if it is there.
        usd_per_month: to keep it.
    """

    upload_usd: float
    usd_per_month: float


@dataclass(frozen=True)
class RunPlan:
    """A plan.

    Args:
        made_at: seconds since 1970 UTC.
        counts: what each camera's footage holds.
        estimates: for each type and market, the cheapest first.
        likely: of these, what a run would use with the profile as it is.
        other_way: the same type and market, cut for speed if `likely` is cut for cost, and the
            other way round.
        begins: what the spot policy would decide now, in words.
        paces: by machine type.
        remarks: on prices, for the reader, each a sentence.
    """

    made_at: float
    counts: Mapping[str, FootageCount]
    work: PlannedWork
    estimates: tuple[Estimate, ...]
    likely: Estimate
    other_way: Estimate
    begins: str
    paces: Mapping[str, Throughput]
    keeping: FootageStorageCost | None
    remarks: tuple[str, ...]

    @property
    def frames(self) -> int:
        return self.work.frames

    def predictions(self) -> Iterator[Prediction]:
        """Each camera's share of what is likely."""
        likely = self.likely
        share_of = camera_shares(self.work, self.paces[likely.instance_type])
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
        """For programs: flat, units in the names, times in seconds since 1970 UTC."""
        return {
            "made_at": self.made_at,
            "cameras": {name: asdict(count) for name, count in self.counts.items()},
            "frames": self.frames,
            "likely": estimate_json(self.likely),
            "other_way": estimate_json(self.other_way),
            "estimates": [estimate_json(each) for each in self.estimates],
            "begins": self.begins,
            "paces": {kind: pace.source for kind, pace in self.paces.items()},
            "keeping": asdict(self.keeping) if self.keeping else None,
            "remarks": list(self.remarks),
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
    """What follows for somebody who has footage and little money, a sentence or two each."""
    likely = plan.likely
    yield _expected(plan)
    cheapest = plan.estimates[0]
    if cheapest is not likely and _worth(likely.usd.expected, cheapest.usd.expected):
        yield (
            f"Cheapest would be {_named(cheapest)}, at {money(cheapest.usd.expected)}: AWS chooses "
            "by price per hour and by what is free, so name it alone in "
            "cloud.aws.compute.instance_types if you can wait for it."
        )
    yield from _cut(plan)
    yield from _waiting(plan)
    if plan.keeping:
        upload = plan.keeping.upload_usd
        copying = f"Copying the footage up costs {money(upload)}, and " if upload else ""
        keeping = f"keeping it on S3 costs {money(plan.keeping.usd_per_month)} a month at first."
        yield copying + (keeping if copying else f"K{keeping[1:]}")


def _expected(plan: RunPlan) -> str:
    likely = plan.likely
    took = (
        f"in about {format_duration(likely.seconds.expected)} "
        f"({format_duration(likely.seconds.low)} to {format_duration(likely.seconds.high)})"
    )
    if likely.market == "local":
        price = f"{money(likely.usd.expected)}, " if likely.usd.expected else ""
        return f"Expected: {price}{took} on this machine."
    low, high = money(likely.usd.low), money(likely.usd.high)
    return (
        f"Expected: {money(likely.usd.expected)} ({low} to {high}), {took}, on "
        f"{format_count(likely.spread.machines, 'machine')}; {_named(likely)}."
    )


def _cut(plan: RunPlan) -> Iterator[str]:
    """Which size of work units is best."""
    now, other = plan.likely, plan.other_way
    if now.market == "local":
        return
    is_cheap = plan.work.limits.cost.offline_camera_optimized
    cheap, fast = (now, other) if is_cheap else (other, now)
    size = format_duration(cheap.unit_seconds)
    best = f"{format_count(cheap.spread.units, 'work unit')} of about {size} of work"
    if cheap.spread.units == fast.spread.units:
        yield f"Best cut: {best}; more of them would save neither money nor time."
        return
    more = fast.usd.expected - cheap.usd.expected
    yield (
        f"Best cut for cost: {best}; cut into {fast.spread.units} it is done in "
        f"{format_duration(fast.seconds.expected)} for {money(max(0.0, more))} more "
        f"(offline_camera_optimized: {'false' if is_cheap else 'true makes it the cheapest'})."
    )


def _waiting(plan: RunPlan) -> Iterator[str]:
    """What waiting for a lower spot price would save."""
    likely = plan.likely
    if likely.market != "spot" or likely.usd_if_waited is None:
        return
    if _worth(likely.usd.expected, likely.usd_if_waited):
        saved = likely.usd.expected - likely.usd_if_waited
        yield (
            f"Waiting may save {money(saved)}: {likely.instance_type} was so much cheaper for a "
            "tenth of the last weeks."
        )
    else:
        yield "Waiting for a lower spot price would save next to nothing."


def money(amount: float) -> str:
    """USD, of what was estimated."""
    return format_usd(Decimal(amount))


def _worth(now: float, instead: float) -> bool:
    return now - instead > max(MIN_SAVING_USD, MIN_SAVING_SHARE * now)


def _named(estimate: Estimate) -> str:
    market = {"spot": "spot", "ondemand": "on demand", "local": ""}[estimate.market]
    return f"{estimate.instance_type} {market}".strip()
