"""Plans a run: counts footage, reads prices and ledgers, and estimates costs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from odins_ravne_assets.cameras.results_store import store_opener
from odins_ravne_assets.cameras.selection import S3
from odins_ravne_assets.costs.ledger_reader import read_known_ledgers
from odins_ravne_assets.instance_home import home
from odins_ravne_assets.model_library.bucket import fetch_models
from odins_ravne_assets.munin.media.probe_client import ProbeClient
from odins_ravne_assets.munin.media.source_match import RunFootage, find_sources
from odins_ravne_assets.munin.media.source_store import Footage, SourceFootage
from odins_ravne_assets.munin.workload.footage_estimate import FootageCount, count_footage
from odins_ravne_assets.munin.workload.used_settings import choose_settings
from odins_ravne_assets.odin.run_plan import MIN_SAVING_USD, FootageStorageCost, RunPlan
from resources.aws.clients import AwsClients
from resources.batch.names import Queue
from resources.batch.work_units import JOB_VCPUS
from resources.clock import clock_at
from resources.errors import ModelError, UsageError
from resources.planning.estimate import (
    CameraWork,
    Estimate,
    PlanLimits,
    PlannedWork,
    Range,
    estimate_fixed_price,
    estimate_spot,
)
from resources.planning.saved_predictions import save_prediction
from resources.planning.throughput import (
    LOCAL_MACHINE,
    assumed_seconds_per_frame,
    expected_engine,
    measured_overheads,
    measured_throughputs,
)
from resources.pricing.economics import Offer, Overheads
from resources.pricing.prices import GIB, Market, PriceBook, price_remarks
from resources.pricing.sources import price_source, shipped_prices
from resources.pricing.spot_history import SPOT_LOOKBACK_SECONDS, spot_price_stats
from resources.settings.profile import Cloud, Models, Profile
from resources.spot.policy import Priority, Rules, Submit, UnitState, choose_queue
from resources.storage.layout import MEDIA_TABLE, PLANS_FOLDER
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import display_url

# The stages of `munin batch` whose settings results keep.
PLANNED_STAGES = ("detections", "classifications")
STORAGE_RATE, PUT_RATE = "s3-standard", "s3-put"
# A worker on this machine boots nothing and rents nothing.
LOCAL_OVERHEADS = Overheads(boot_seconds=0, start_seconds=5, idle_seconds=0, usd_per_hour=0)


@dataclass(frozen=True)
class PlannedCamera:
    """A camera of a plan.

    Args:
        output_url: location of its results; None: not given.
        earlier_footage: see Camera.
    """

    camera_id: str
    footage_url: str
    output_url: str | None
    earlier_footage: tuple[str, ...] = ()


def make_plan(
    cameras: Sequence[PlannedCamera],
    profile: Profile,
    priority: Priority,
    on_count: Callable[[str], None],
    update: bool,
) -> RunPlan:
    """Plan a run.

    Args:
        on_count: called with each camera before its footage is counted.
        update: plan an update of results that are made with other settings.

    Raises:
        ModelError: see `choose_settings`.
        UsageError: there are no media, or no machine type of the profile has a known price; or see
            `choose_settings`.
        StoreError: footage or a ledger cannot be read.
    """
    counts, notices, models = _counts(cameras, profile, on_count, update)
    if not sum(count.media for count in counts.values()):
        raise UsageError(
            f"INPUT {display_url(cameras[0].footage_url)}: contains no pictures or videos"
        )
    plan = _Planner(cameras, counts, profile, priority).plan()
    return replace(plan, settings=tuple(notices), models=models)


def save_plan(plan: RunPlan, cameras: Sequence[PlannedCamera], profile: Profile) -> None:
    """Save each camera's prediction in its results.

    Raises:
        StoreError: a store cannot be written.
    """
    store_of = store_opener(profile)
    targets = {camera.camera_id: camera.output_url for camera in cameras}
    for prediction in plan.predictions():
        save_prediction(store_of(f"{targets[prediction.camera_id]}/{PLANS_FOLDER}"), prediction)


def _counts(
    cameras: Sequence[PlannedCamera],
    profile: Profile,
    on_count: Callable[[str], None],
    update: bool,
) -> tuple[dict[str, FootageCount], list[str], dict[str, Models]]:
    """Count each camera's footage under the settings that its run would use.

    Returns:
        The counts, a line for each camera whose results have other settings, and the models of each
        camera's run.
    """
    counts: dict[str, FootageCount] = {}
    notices: list[str] = []
    models: dict[str, Models] = {}
    store_of = store_opener(profile)
    fetch = partial(fetch_models, open_store=store_of, log=lambda _: None)
    fetch(profile.models)
    with ProbeClient(profile.pipeline.stage0) as probe:
        for camera in cameras:
            on_count(camera.camera_id)
            output = store_of(camera.output_url) if camera.output_url else None
            footage, messages = _footage(camera, output, profile, probe)
            notices += [f"{camera.camera_id}: a run would say: {line}" for line in messages]
            run_profile = profile
            if output:
                try:
                    used = choose_settings(output, profile, PLANNED_STAGES, update, fetch)
                except (ModelError, UsageError) as error:
                    raise type(error)(f"camera {camera.camera_id}: {error}") from None
                run_profile = used.profile
                notices += [f"{camera.camera_id}: {used.notice}"] if used.notice else []
            counts[camera.camera_id] = count_footage(footage, output, run_profile, probe)
            models[camera.camera_id] = run_profile.models
    return counts, notices, models


def _footage(
    camera: PlannedCamera, output: ObjectStore | None, profile: Profile, probe: ProbeClient
) -> tuple[Footage, tuple[str, ...]]:
    """Return all sources of a camera that a run would read, and what it would say about them."""
    store_of = store_opener(profile)
    if output is None or not output.exists(MEDIA_TABLE):
        return store_of(camera.footage_url), ()
    place = RunFootage(
        camera.footage_url,
        earlier=camera.earlier_footage,
        uses_copies=profile.cloud is not None,
    )
    found = find_sources(
        camera.camera_id, place, output, store_of, lambda path: probe(path).recorded_at
    )
    return SourceFootage(found.opened, camera.footage_url), found.messages


class _Planner:
    """Collects the inputs of a plan and estimates."""

    def __init__(
        self,
        cameras: Sequence[PlannedCamera],
        counts: Mapping[str, FootageCount],
        profile: Profile,
        priority: Priority,
    ) -> None:
        self._cameras, self._counts = cameras, counts
        self._profile, self._priority = profile, priority
        # Without an account, AWS's cost is estimated with the package's price table.
        self._aws = profile.aws
        self._now = clock_at(self._aws.clock_url).now()
        self._book = self._prices()
        outputs = [camera.output_url for camera in cameras if camera.output_url]
        ledger, self._unread = read_known_ledgers(profile, outputs)
        on_aws = profile.model_copy(update={"cloud": Cloud(aws=self._aws)})
        self._throughputs = {
            **measured_throughputs(
                ledger,
                self._aws.compute.instance_types,
                expected_engine(on_aws),
                profile.models.detector,
            ),
            **measured_throughputs(
                ledger, [LOCAL_MACHINE], expected_engine(profile), profile.models.detector
            ),
        }
        self._overheads = measured_overheads(ledger)
        self._offers = self._cheapest_offers()

    def plan(self) -> RunPlan:
        work = self._work(self._profile)
        estimates = sorted(self._estimates(work), key=lambda each: each.usd.expected)
        likely, decision = self._likely(work, estimates)
        [alternative] = [
            each
            for each in self._estimates(work.alternative_split())
            if (each.instance_type, each.market) == (likely.instance_type, likely.market)
        ]
        storage = self._storage_cost()
        items = {*self._aws.compute.instance_types, *((STORAGE_RATE, PUT_RATE) if storage else ())}
        used = [quote for quote in self._book.quotes if quote.item in items]
        return RunPlan(
            made_at=self._now,
            counts=self._counts,
            work=work,
            estimates=tuple(estimates),
            likely=likely,
            alternative=alternative,
            decision=decision,
            throughputs=self._throughputs,
            storage=storage,
            remarks=(*self._unread, *self._book.remarks, *price_remarks(used, self._now)),
        )

    def _prices(self) -> PriceBook:
        if self._profile.cloud is None:
            book = shipped_prices(self._aws.region)
            remark = "AWS prices are from the package's table; a cloud profile uses current prices"
            return replace(book, remarks=(*book.remarks, remark))
        source = price_source(AwsClients(self._aws), self._aws, home())
        return source.book(self._now - SPOT_LOOKBACK_SECONDS, self._now)

    def _work(self, profile: Profile) -> PlannedWork:
        cost = profile.pipeline.cost_optimization
        cameras = [
            CameraWork(
                camera.camera_id,
                self._counts[camera.camera_id].frames,
                self._counts[camera.camera_id].frames_left,
                camera.footage_url.startswith(S3),
                self._counts[camera.camera_id].crops_left,
            )
            for camera in self._cameras
        ]
        machines = max(1, self._aws.compute.max_vcpus // JOB_VCPUS)
        return PlannedWork(
            cameras, PlanLimits(cost, machines), assumed_seconds_per_frame(profile), self._overheads
        )

    def _cheapest_offers(self) -> list[Offer]:
        """The cheapest spot offer of each machine type."""
        offers = self._book.offers(self._aws.compute.instance_types, self._now)
        by_type: dict[str, Offer] = {}
        for offer in sorted(offers, key=lambda each: each.spot):
            by_type.setdefault(offer.instance_type, offer)
        return list(by_type.values())

    def _estimates(self, work: PlannedWork) -> Iterator[Estimate]:
        """The estimate for each machine type and market."""
        estimates = self._estimates_of_work(work)
        # Launches start no machine for cameras without work: see `needs_machine`.
        return estimates if work.frame_equivalents else map(_without_work, estimates)

    def _estimates_of_work(self, work: PlannedWork) -> Iterator[Estimate]:
        compute = self._aws.compute
        if self._profile.cloud is None:
            local = replace(
                work, limits=replace(work.limits, machines=1), overheads=LOCAL_OVERHEADS
            )
            per_hour = self._profile.pipeline.local_usd_per_hour
            yield estimate_fixed_price(
                local, LOCAL_MACHINE, Market.LOCAL, per_hour, self._throughputs[LOCAL_MACHINE]
            )
        for offer in self._offers:
            throughput = self._throughputs[offer.instance_type]
            prices = spot_price_stats(self._book, offer.instance_type, offer.zone, self._now)
            yield estimate_spot(work, offer, throughput, prices, compute.bid_percentage)
            per_hour = float(offer.on_demand)
            yield estimate_fixed_price(
                work, offer.instance_type, Market.ON_DEMAND, per_hour, throughput
            )

    def _likely(self, work: PlannedWork, estimates: Sequence[Estimate]) -> tuple[Estimate, str]:
        """The estimate for the market that the spot policy would choose now, and its reason."""
        if self._profile.cloud is None:
            [local] = [each for each in estimates if each.market == Market.LOCAL]
            return local, "the profile runs everything on this machine"
        cost = self._profile.pipeline.cost_optimization
        seconds = work.frame_equivalents * work.seconds_per_frame / work.layout.units
        unit = UnitState(seconds, self._now, self._priority)
        rules = Rules(self._aws.compute, cost)
        choice = choose_queue(unit, self._offers, rules, self._now)
        on_demand = isinstance(choice, Submit) and choice.queue == Queue.ON_DEMAND
        market = Market.ON_DEMAND if on_demand else Market.SPOT
        own = [each for each in estimates if each.market == market]
        # AWS minimizes the price per hour, not per frame.
        likely = min(own, key=lambda each: (not each.within_bid, each.usd_per_hour))
        return likely, choice.reason

    def _storage_cost(self) -> FootageStorageCost | None:
        """The cost of the footage on S3; None if it is negligible or not known."""
        if self._profile.cloud is None:
            return None
        rates = {quote.item: quote.usd for quote in self._book.quotes}
        if not {STORAGE_RATE, PUT_RATE} <= rates.keys():
            return None
        size = sum(count.bytes for count in self._counts.values())
        local = [c.camera_id for c in self._cameras if not c.footage_url.startswith(S3)]
        files = sum(self._counts[name].media for name in local)
        per_month = float(rates[STORAGE_RATE]) * size / float(GIB)
        if per_month < MIN_SAVING_USD:
            return None
        return FootageStorageCost(float(files * rates[PUT_RATE] / 1000), per_month)


def _without_work(estimate: Estimate) -> Estimate:
    nothing = Range(0, 0, 0)
    return replace(estimate, usd=nothing, seconds=nothing, unit_seconds=0, usd_at_low_price=None)
