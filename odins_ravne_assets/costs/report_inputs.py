"""Inputs of the cost report of some cameras: ledgers, S3, AWS's bill, species; and its files."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.cameras.results_store import OpenStore, store_opener
from odins_ravne_assets.cameras.selection import S3
from odins_ravne_assets.databases.locked import opened_instance
from odins_ravne_assets.hugin.identification.identifications import UNKNOWN_ANIMAL
from odins_ravne_assets.instance_home import home, prepare_home
from odins_ravne_assets.munin.media.sources import Source, load_sources
from odins_ravne_assets.odin.focus import OWN_MACHINE, BillingAccount, focus_csv
from odins_ravne_assets.odin.report import CostReport, ReportScope, cost_report
from odins_ravne_assets.odin.report_json import report_json
from odins_ravne_assets.odin.report_page import write_cost_page
from odins_ravne_assets.odin.storage_costs import LifecycleRules, StorageCosts, storage_costs
from odins_ravne_assets.odin.storage_prices import StoragePrices, find_storage_prices
from odins_ravne_assets.odin.unit_costs import SpeciesVisits
from resources.aws.clients import AwsClients
from resources.aws.errors import translate_aws_errors
from resources.clock import clock_at
from resources.errors import RavneError, StoreError
from resources.ledger.aws_bill import AwsBill
from resources.ledger.idle_machines import exclude_billed_machines, read_idle_machine_rows
from resources.ledger.table import read_ledger
from resources.planning.saved_predictions import Prediction, load_predictions
from resources.pricing.sources import shipped_prices
from resources.retention.inventory import Area
from resources.retention.rules import MIN_BILLED_BYTES, minimum_sizes
from resources.settings.profile import Aws, Profile
from resources.storage.layout import (
    COSTS_FOLDER,
    FOOTAGE_FOLDER,
    IDLE_MACHINES_FOLDER,
    LEDGER_FOLDER,
    PLANS_FOLDER,
    REPORT_JSON,
    uploaded_footage_url,
)
from resources.storage.local_store import LocalStore
from resources.storage.object_store import ObjectStore
from resources.storage.stored_json import REPORT_REMEDY, reading_json_object

COST_REPORT_JSON = "cost_report.json"
COST_REPORT_PAGE = "cost_report.html"
COST_FOCUS_CSV = "cost_focus.csv"


@dataclass(frozen=True)
class CostReportInputs:
    """The inputs of a cost report.

    Args:
        remarks: caveats for the reader, sentences.
    """

    rows: pl.DataFrame
    scope: ReportScope
    species: tuple[SpeciesVisits, ...]
    storage: StorageCosts | None
    storage_prices: StoragePrices | None
    bill: AwsBill | None
    remarks: tuple[str, ...]
    predictions: tuple[Prediction, ...]
    profile: Profile

    def report(self, since: float | None = None) -> CostReport:
        """Make the report.

        Args:
            since: seconds since 1970 UTC, by the profile's clock; compute that ended before is left
                out.
        """
        scope = replace(self.scope, since=since)
        return cost_report(
            self.rows,
            scope,
            self.species,
            self.storage,
            self.bill,
            self.remarks,
            self.predictions,
        )


def collect_inputs(
    cameras: Sequence[Camera],
    profile: Profile,
    with_bill: bool = True,
    remarks: Iterable[str] = (),
    all_cameras: bool = False,
) -> CostReportInputs:
    """Collect the inputs. What cannot be read adds a remark that names it, and is left out.

    Args:
        with_bill: include Cost Explorer's bill, which costs a cent a few times a day.
        remarks: more caveats for the reader, sentences.
        all_cameras: the cameras are all known ones; then idle machines are included.

    Raises:
        StoreError: a store refuses.
    """
    aws = profile.cloud.aws if profile.cloud else None
    notes = list(remarks)
    readable = [each for each in cameras if aws or not each.output_url.startswith(S3)]
    if len(readable) < len(cameras):
        skipped = len(cameras) - len(readable)
        notes.append(f"{skipped} cameras with results on S3 left out; use a cloud profile for them")
    now = clock_at(profile.aws.clock_url).now()
    storage, prices = _storage(readable, profile, now, notes) if aws else (None, None)
    return CostReportInputs(
        rows=_rows(readable, profile, all_cameras, notes),
        scope=_scope(cameras, profile, now),
        species=_species(readable, profile, notes),
        storage=storage,
        storage_prices=prices,
        bill=_bill(aws, notes) if aws and with_bill else None,
        predictions=tuple(_predictions(readable, profile, notes)),
        remarks=tuple(notes),
        profile=profile,
    )


def _rows(
    cameras: Iterable[Camera], profile: Profile, all_cameras: bool, remarks: list[str]
) -> pl.DataFrame:
    store_of = store_opener(profile)
    ledgers = (store_of(f"{each.output_url}/{LEDGER_FOLDER}") for each in cameras)
    rows = read_ledger(ledgers, remarks)
    if profile.cloud is None or not all_cameras:
        return rows
    folder = LocalStore(home() / IDLE_MACHINES_FOLDER)
    idle = read_idle_machine_rows(folder, profile.cloud.aws, remarks)
    return pl.concat([rows, exclude_billed_machines(idle, rows)])


def _predictions(
    cameras: Iterable[Camera], profile: Profile, remarks: list[str]
) -> Iterator[Prediction]:
    store_of = store_opener(profile)
    for camera in cameras:
        yield from load_predictions(store_of(f"{camera.output_url}/{PLANS_FOLDER}"), remarks)


def _scope(cameras: Iterable[Camera], profile: Profile, now: float) -> ReportScope:
    aws = profile.cloud.aws if profile.cloud else None
    return ReportScope(
        name=aws.name if aws else "this machine",
        region=aws.region if aws else "",
        cameras=tuple(sorted(each.camera_id for each in cameras)),
        since=None,
        now=now,
        least_saving=profile.pipeline.cost_optimization.cost_threshold,
    )


def refresh_ledgers(cameras: Iterable[Camera], profile: Profile) -> list[str]:
    """Reconcile the ledgers with AWS, see `reconcile_ledgers`.

    Returns:
        Remarks: why the ledgers are unchanged, or which stored files were left out.
    """
    if profile.cloud is None:
        return []
    from odins_ravne_assets.costs.reconciliation import reconcile_ledgers  # loads Dagster: slow

    on_s3 = [
        (each.camera_id, each.output_url) for each in cameras if each.output_url.startswith(S3)
    ]
    prepare_home()
    remarks: list[str] = []
    try:
        with opened_instance() as instance:
            reconcile_ledgers(instance, profile.cloud.aws, on_s3, remarks)
    except RavneError as error:
        return [f"the ledgers could not be updated: {error}"]
    return list(dict.fromkeys(remarks))


def write_cost_report(inputs: CostReportInputs, folder: Path) -> list[Path]:
    """Write cost_report.json, the page and the FOCUS file, each atomically.

    Raises:
        StoreError: the folder cannot be written.
        RavneError: AWS does not return the account's id.
    """
    store, report = LocalStore(folder), inputs.report()
    store.write_bytes(COST_REPORT_JSON, report_json(report).encode())
    account, now = _billing_account(inputs), inputs.scope.now
    focus = focus_csv(inputs.rows, inputs.storage, inputs.storage_prices, account, now)
    store.write_bytes(COST_FOCUS_CSV, focus.encode())
    with store.writing(COST_REPORT_PAGE) as path:
        write_cost_page(report, path)
    return [folder / name for name in (COST_REPORT_PAGE, COST_REPORT_JSON, COST_FOCUS_CSV)]


def costs_folder() -> Path:
    """Return the default folder for the files of the cost report."""
    return home() / COSTS_FOLDER


def _storage(
    cameras: Iterable[Camera], profile: Profile, now: float, remarks: list[str]
) -> tuple[StorageCosts | None, StoragePrices | None]:
    assert profile.cloud is not None
    aws, lifecycle = profile.cloud.aws, profile.storage.lifecycle
    book = shipped_prices(aws.region)
    prices = find_storage_prices(book)
    if prices is None:
        remarks.append(f"no storage prices of {aws.region} are known; sums do not include storage")
        return None, None
    from resources.retention.usage import list_stored_days  # needs boto3, which is optional

    rules = LifecycleRules(lifecycle, minimum_sizes(lifecycle, book))
    sizes = (int(MIN_BILLED_BYTES), rules.min_sizes.to_ia, rules.min_sizes.to_glacier)
    try:
        stored = list_stored_days(AwsClients(aws), _areas(cameras, profile), sizes)
    except StoreError as error:
        remarks.append(f"sums do not include storage: {error}")
        return None, None
    return storage_costs(stored, prices, rules, now), prices


def _areas(cameras: Iterable[Camera], profile: Profile) -> dict[str, Area]:
    """The cameras' locations on S3: all sources of them; local ones were copied for their jobs.

    Raises:
        StoreError: the list of a camera's sources cannot be read.
    """
    areas: dict[str, Area] = {}
    store_of = store_opener(profile)
    for camera in cameras:
        for place in _footage_on_s3(camera, store_of):
            key = place.removeprefix(S3).partition("/")[2]
            areas[place] = "footage" if key.startswith(FOOTAGE_FOLDER) else "footage elsewhere"
        if camera.output_url.startswith(S3):
            areas[camera.output_url] = "results"
    return areas


def _footage_on_s3(camera: Camera, store_of: OpenStore) -> list[str]:
    listed = load_sources(store_of(camera.output_url))
    places = [camera.footage_url]
    if listed:
        places = [
            _place_on_s3(camera, each, is_first=number == 0)
            for number, each in enumerate(listed.sources)
        ]
    elif not camera.footage_url.startswith(S3) and camera.output_url.startswith(S3):
        places = [uploaded_footage_url(camera.camera_id, camera.output_url)]
    return [place for place in places if place.startswith(S3)]


def _place_on_s3(camera: Camera, source: Source, is_first: bool) -> str:
    """Return where a source is on S3: its copy, itself, or where its copy would be."""
    place = source.copy or source.place or ""
    if place.startswith(S3) or not camera.output_url.startswith(S3):
        return place
    name = "" if is_first else source.name
    return uploaded_footage_url(camera.camera_id, camera.output_url, name)


def _bill(aws: Aws, remarks: list[str]) -> AwsBill | None:
    from resources.ledger.cost_explorer import current_month_bill

    try:
        return current_month_bill(AwsClients(aws), aws.name, home())
    except RavneError as error:
        remarks.append(str(error))
        return None


def _species(
    cameras: Iterable[Camera], profile: Profile, remarks: list[str]
) -> tuple[SpeciesVisits, ...]:
    """The current visits of all cameras by species, in descending order."""
    counts: Counter[tuple[str, str, bool]] = Counter()
    store_of = store_opener(profile)
    for camera in cameras:
        store = store_of(camera.output_url)
        if store.exists(REPORT_JSON):
            try:
                counts.update(_species_of(store))
            except StoreError as error:
                remarks.append(f"visits of camera {camera.camera_id} are left out: {error}")
    found = [
        SpeciesVisits(species, scientific_name, visits, known)
        for (species, scientific_name, known), visits in counts.items()
    ]
    return tuple(sorted(found, key=lambda each: (-each.visits, each.species)))


def _species_of(store: ObjectStore) -> Counter[tuple[str, str, bool]]:
    """The visits of a camera by species, scientific name, and whether the species is known.

    Raises:
        StoreError: its report is damaged.
    """
    counts: Counter[tuple[str, str, bool]] = Counter()
    with reading_json_object(store, REPORT_JSON, REPORT_REMEDY) as report:
        for each in report["species"]:
            known = each["category"] == "animal" and each["species"] != UNKNOWN_ANIMAL
            counts[each["species"], each["scientific_name"] or "", known] += each["observations"]
    return counts


def _billing_account(inputs: CostReportInputs) -> BillingAccount:
    cloud = inputs.profile.cloud
    if cloud is None:
        return BillingAccount(OWN_MACHINE, inputs.scope.name)
    with translate_aws_errors("cost costs", "allow sts:GetCallerIdentity"):
        identity = AwsClients(cloud.aws).of("sts").get_caller_identity()
    return BillingAccount(str(identity["Account"]), cloud.aws.name)
