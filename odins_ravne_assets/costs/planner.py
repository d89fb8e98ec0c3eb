"""Makes a plan: counts footage, asks for prices and ledgers, and estimates."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from odins_ravne_assets.cameras.results_store import store_opener
from odins_ravne_assets.cameras.selection import S3
from odins_ravne_assets.costs.ledger_reader import read_known_ledgers
from odins_ravne_assets.instance_home import home
from odins_ravne_assets.munin.media.probe_client import ProbeClient
from odins_ravne_assets.munin.workload.footage_estimate import FootageCount, count_footage
from odins_ravne_assets.odin.run_plan import MIN_SAVING_USD, FootageStorageCost, RunPlan
from resources.aws.clients import AwsClients
from resources.batch.work_units import JOB_VCPUS
from resources.clock import clock_at
from resources.errors import UsageError
from resources.planning.estimate import (
    CameraWork,
    Estimate,
    PlanLimits,
    PlannedWork,
    estimate_fixed_price,
    estimate_spot,
)
from resources.planning.predictions import save_prediction
from resources.planning.throughput import (
    LOCAL_MACHINE,
    assumed_seconds_per_frame,
    expected_engine,
    measured_overheads,
    measured_throughputs,
)
from resources.pricing.economics import Offer, Overheads
from resources.pricing.prices import PriceBook, price_remarks
from resources.pricing.sources import price_source, shipped_prices
from resources.pricing.spot_history import SPOT_LOOKBACK_SECONDS, spot_price_stats
from resources.settings.profile import Cloud, Profile
from resources.spot.policy import Priority, Rules, Submit, UnitState, choose_queue
from resources.storage.layout import PLANS_FOLDER
from resources.storage.open_store import display_url

GIGABYTE = 2**30
STORAGE_RATE, PUT_RATE = "s3-standard", "s3-put"
# A worker of this machine has nothing to boot, and nothing is rented.
LOCAL_OVERHEADS = Overheads(boot_seconds=0, start_seconds=5, idle_seconds=0, usd_per_hour=0)


@dataclass(frozen=True)
class PlannedCamera:
    """A camera that is planned for.

    Args:
        output_url: where its results are or will be; None: not said.
    """

    camera_id: str
    footage_url: str
    output_url: str | None


def make_plan(
    cameras: Sequence[PlannedCamera],
    profile: Profile,
    priority: Priority,
    on_count: Callable[[str], None],
) -> RunPlan:
    """Plan a run.

    Args:
        on_count: told each camera whose footage is about to be counted.

    Raises:
        UsageError: there is no medium, or no price is known of any type of the profile.
        StoreError: footage or a ledger cannot be read.
    """
    counts = _counts(cameras, profile, on_count)
    if not sum(count.media for count in counts.values()):
        raise UsageError(f"INPUT {display_url(cameras[0].footage_url)}: holds no pictures or videos")
    return _Planning(cameras, counts, profile, priority).plan()


def save_plan(plan: RunPlan, cameras: Sequence[PlannedCamera], profile: Profile) -> None:
    """Write each camera's share down, where its results will lie.

    Raises:
        StoreError: a store cannot be written.
    """
    store_of = store_opener(profile)
    targets = {camera.camera_id: camera.output_url for camera in cameras}
    for prediction in plan.predictions():
        save_prediction(store_of(f"{targets[prediction.camera_id]}/{PLANS_FOLDER}"), prediction)


def _counts(
    cameras: Sequence[PlannedCamera], profile: Profile, on_count: Callable[[str], None]
) -> dict[str, FootageCount]:
    counts = {}
    store_of = store_opener(profile)
    with ProbeClient(profile.pipeline.stage0) as probe:
        for camera in cameras:
            on_count(camera.camera_id)
            footage = store_of(camera.footage_url)
            output = store_of(camera.output_url) if camera.output_url else None
            counts[camera.camera_id] = count_footage(footage, output, profile, probe)
    return counts


class _Planning:
    """What a plan is made of, gathered."""

    def __init__(
        self,
        cameras: Sequence[PlannedCamera],
        counts: Mapping[str, FootageCount],
        profile: Profile,
        priority: Priority,
    ) -> None:
        self._cameras, self._counts = cameras, counts
        self._profile, self._priority = profile, priority
        # Without an account, what AWS would cost is told by the prices that ship.
        self._aws = profile.aws
        self._now = clock_at(self._aws.clock_url).now()
        self._book = self._prices()
        outputs = [camera.output_url for camera in cameras if camera.output_url]
        ledger, self._unread = read_known_ledgers(profile, outputs)
        there = profile.model_copy(update={"cloud": Cloud(aws=self._aws)})
        self._paces = {
            **measured_throughputs(
                ledger, self._aws.compute.instance_types, expected_engine(there)
            ),
            **measured_throughputs(ledger, [LOCAL_MACHINE], expected_engine(profile)),
        }
        self._overheads = measured_overheads(ledger)
        self._offers = self._cheapest_offers()

    def plan(self) -> RunPlan:
        work = self._work(self._profile)
        estimates = sorted(self._estimates(work), key=lambda each: each.usd.expected)
        likely, begins = self._likely(work, estimates)
        [other_way] = [
            each
            for each in self._estimates(work.other_way())
            if (each.instance_type, each.market) == (likely.instance_type, likely.market)
        ]
        keeping = self._keeping()
        items = {*self._aws.compute.instance_types, *((STORAGE_RATE, PUT_RATE) if keeping else ())}
        used = [quote for quote in self._book.quotes if quote.item in items]
        return RunPlan(
            made_at=self._now,
            counts=self._counts,
            work=work,
            estimates=tuple(estimates),
            likely=likely,
            other_way=other_way,
            begins=begins,
            paces=self._paces,
            keeping=keeping,
            remarks=(*self._unread, *self._book.remarks, *price_remarks(used, self._now)),
        )

    def _prices(self) -> PriceBook:
        if self._profile.cloud is None:
            book = shipped_prices(self._aws.region)
            told = "prices on AWS are those that ship; a cloud profile asks for today's"
            return replace(book, remarks=(*book.remarks, told))
        source = price_source(AwsClients(self._aws), self._aws, home())
        return source.book(self._now - SPOT_LOOKBACK_SECONDS, self._now)

    def _work(self, profile: Profile) -> PlannedWork:
        cost = profile.pipeline.cost_optimization
        works = [
            CameraWork(
                camera.camera_id,
                self._counts[camera.camera_id].frames,
                self._counts[camera.camera_id].frames_left,
                camera.footage_url.startswith(S3),
            )
            for camera in self._cameras
        ]
        machines = max(1, self._aws.compute.max_vcpus // JOB_VCPUS)
        return PlannedWork(
            works, PlanLimits(cost, machines), assumed_seconds_per_frame(profile), self._overheads
        )

    def _cheapest_offers(self) -> list[Offer]:
        """Of each type, the zone where it is cheapest on spot."""
        offers = self._book.offers(self._aws.compute.instance_types, self._now)
        by_type: dict[str, Offer] = {}
        for offer in sorted(offers, key=lambda each: each.spot):
            by_type.setdefault(offer.instance_type, offer)
        return list(by_type.values())

    def _estimates(self, work: PlannedWork) -> Iterator[Estimate]:
        compute = self._aws.compute
        if self._profile.cloud is None:
            alone = replace(
                work, limits=replace(work.limits, machines=1), overheads=LOCAL_OVERHEADS
            )
            per_hour = self._profile.pipeline.local_usd_per_hour
            yield estimate_fixed_price(
                alone, LOCAL_MACHINE, "local", per_hour, self._paces[LOCAL_MACHINE]
            )
        for offer in self._offers:
            pace = self._paces[offer.instance_type]
            moves = spot_price_stats(self._book, offer.instance_type, offer.zone, self._now)
            yield estimate_spot(work, offer, pace, moves, compute.bid_percentage)
            per_hour = float(offer.on_demand)
            yield estimate_fixed_price(work, offer.instance_type, "ondemand", per_hour, pace)

    def _likely(self, work: PlannedWork, estimates: Sequence[Estimate]) -> tuple[Estimate, str]:
        """What a run begins on, and why: asked of the policy that decides it."""
        if self._profile.cloud is None:
            [here] = [each for each in estimates if each.market == "local"]
            return here, "the profile runs everything on this machine"
        cost = self._profile.pipeline.cost_optimization
        seconds = work.frames * work.seconds_per_frame / work.spread.units
        unit = UnitState(seconds, self._now, self._priority)
        rules = Rules(self._aws.compute, cost)
        choice = choose_queue(unit, self._offers, rules, self._now)
        on_demand = isinstance(choice, Submit) and choice.queue == "ondemand"
        market = "ondemand" if on_demand else "spot"
        own = [each for each in estimates if each.market == market]
        # AWS looks for the lowest price of an hour, not of a frame.
        cheap = min(own, key=lambda each: (not each.within_bid, each.usd_per_hour))
        return cheap, choice.reason

    def _keeping(self) -> FootageStorageCost | None:
        """What the footage costs on S3; None where that is next to nothing, or not known."""
        if self._profile.cloud is None:
            return None
        known = {quote.item: quote.usd for quote in self._book.quotes}
        if not {STORAGE_RATE, PUT_RATE} <= known.keys():
            return None
        size = sum(count.bytes for count in self._counts.values())
        here = [c.camera_id for c in self._cameras if not c.footage_url.startswith(S3)]
        files = sum(self._counts[name].media for name in here)
        per_month = float(known[STORAGE_RATE]) * size / GIGABYTE
        if per_month < MIN_SAVING_USD:
            return None
        return FootageStorageCost(float(files * known[PUT_RATE] / 1000), per_month)
