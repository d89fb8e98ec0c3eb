"""Writes and reconciles the ledgers of cameras whose jobs run on AWS.

A launch writes its ledger while it runs and when it ends. Afterwards its machines may still run,
or EC2 may interrupt one. Reconciling queries AWS again for every launch that is not settled and
rewrites its rows. The facts from AWS are stored next to the rows (`launch_facts.py`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import polars as pl

from resources.aws.clients import AwsClients
from resources.batch.launch_record import LaunchRecord, load_records
from resources.ledger.aws_usage import BatchJob, list_jobs, list_machines
from resources.ledger.launch_facts import (
    LaunchFacts,
    is_settled,
    load_facts,
    save_facts,
    update_facts,
    with_instance_ids,
)
from resources.ledger.launch_rows import LaunchRows
from resources.ledger.table import UnusableLedgerError, read_ledger_file, write_ledger
from resources.pricing.prices import PriceBook
from resources.pricing.sources import PriceSource, fill_missing_quotes
from resources.settings.profile import Aws
from resources.storage import layout
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import open_store

# Jobs that were created this long before a launch may be on the same machines.
JOB_LOOKBACK_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class CameraLedger:
    """The stores of one camera's launch records and ledger."""

    camera_id: str
    launches: ObjectStore
    ledger: ObjectStore


def open_camera_ledger(camera_id: str, output_url: str, clients: AwsClients) -> CameraLedger:
    """Open the ledger of a camera below its output URL."""
    root = output_url.rstrip("/")
    return CameraLedger(
        camera_id,
        open_store(f"{root}/{layout.LAUNCHES_FOLDER}", clients),
        open_store(f"{root}/{layout.LEDGER_FOLDER}", clients),
    )


@dataclass(frozen=True)
class ReconciledLaunch:
    """A launch whose rows were written.

    Args:
        changed: True if its cost differs from the rows before.
    """

    camera: CameraLedger
    launch: str
    rows: pl.DataFrame
    changed: bool


@dataclass(frozen=True)
class _OpenLaunch:
    """A launch that is not settled, with the facts known so far."""

    camera: CameraLedger
    record: LaunchRecord
    before: LaunchFacts | None

    @property
    def instance_ids(self) -> Mapping[str, str]:
        return self.before.places if self.before else {}


@dataclass(frozen=True)
class LedgerWriter:
    """Writes the ledgers of one account's cameras."""

    clients: AwsClients
    aws: Aws
    prices: PriceSource

    def write(self, camera: CameraLedger, record: LaunchRecord) -> pl.DataFrame:
        """Write one launch's rows as of now, also while it runs.

        Raises:
            botocore.exceptions.ClientError, BotoCoreError: AWS denies the request or does not
                answer.
            StoreError: the ledger cannot be written.
        """
        before = load_facts(camera.ledger, record.identity)
        [written] = self._update([_OpenLaunch(camera, record, before)])
        return written.rows

    def reconcile(
        self, cameras: Iterable[CameraLedger], remarks: list[str] | None = None
    ) -> list[ReconciledLaunch]:
        """Query AWS for every launch that is not settled, and rewrite its rows.

        Args:
            remarks: receives a sentence for each launch record that cannot be used, whose launch is
                left out; None: the first one raises.

        Raises:
            botocore.exceptions.ClientError, BotoCoreError: AWS denies the request or does not
                answer.
            StoreError: a ledger cannot be read or written.
        """
        return self._update(
            [each for camera in cameras for each in _open_launches(camera, remarks)]
        )

    def _update(self, launches: Sequence[_OpenLaunch]) -> list[ReconciledLaunch]:
        if not launches:
            return []
        now = self.clients.clock.now()
        since = min(each.record.began_at for each in launches) - JOB_LOOKBACK_SECONDS
        # Machines first: so no job is reported to run on a machine that has ended already.
        machines = list(list_machines(self.clients, self.aws.name, now))
        instance_ids = {arn: name for each in launches for arn, name in each.instance_ids.items()}
        jobs = list_jobs(self.clients, self.aws.name, since, _known_jobs(launches), instance_ids)
        for each in launches:  # instance ids from one launch's workers apply to the others
            jobs = with_instance_ids(each.record, jobs)
        types = {machine.instance_type for machine in machines} | set(self.prices.instance_types)
        prices = replace(self.prices, instance_types=tuple(sorted(types)))
        book = prices.book(since, now, refresh=True)
        return [
            self._write(each, update_facts(each.record, each.before, machines, jobs, now), book)
            for each in launches
        ]

    def _write(self, launch: _OpenLaunch, facts: LaunchFacts, book: PriceBook) -> ReconciledLaunch:
        camera, record = launch.camera, launch.record
        facts = _with_prices(facts, launch.before, book)
        stored_book = PriceBook(book.region, facts.quotes, facts.remarks)
        rows = LaunchRows(camera.camera_id, self.aws.region, record, facts, stored_book).frame()
        before = _total_usd(camera.ledger, record.identity)
        write_ledger(camera.ledger, record.identity, rows)
        save_facts(camera.ledger, record.identity, facts)
        changed = before != rows["usd"].sum()
        return ReconciledLaunch(camera, record.identity, rows, changed)


def _open_launches(camera: CameraLedger, remarks: list[str] | None) -> Iterator[_OpenLaunch]:
    for record in load_records(camera.launches, remarks):
        before = load_facts(camera.ledger, record.identity)
        if not is_settled(record, before):
            yield _OpenLaunch(camera, record, before)


def _known_jobs(launches: Sequence[_OpenLaunch]) -> dict[str, BatchJob]:
    """Jobs of earlier answers, and the launches' own jobs that Batch has not reported yet."""
    known = {
        attempt.job_id: BatchJob(
            job_id=attempt.job_id,
            name=attempt.name,
            queue=attempt.queue,
            created=attempt.intended_at,
        )
        for each in launches
        for attempt in each.record.attempts
        if attempt.job_id
    }
    for each in launches:
        known |= each.before.jobs if each.before else {}
    return known


def _with_prices(facts: LaunchFacts, before: LaunchFacts | None, book: PriceBook) -> LaunchFacts:
    """The facts with the prices that their rows need; earlier prices fill in missing ones."""
    types = {machine.instance_type for machine in facts.machines.values()}
    needed = [quote for quote in book.quotes if quote.item in types or quote.market is None]
    quotes = fill_missing_quotes(needed, before.quotes if before else ())
    settled = facts.settled and not book.remarks
    return facts.model_copy(update={"quotes": quotes, "remarks": book.remarks, "settled": settled})


def _total_usd(ledger: ObjectStore, launch: str) -> Decimal | None:
    """The sum of a launch's stored rows; None if it has none that can be used."""
    key = f"{launch}.parquet"
    if not ledger.exists(key):
        return None
    try:
        return Decimal(read_ledger_file(ledger, key)["usd"].sum())
    except UnusableLedgerError:
        return None  # it is about to be replaced by the same rows
