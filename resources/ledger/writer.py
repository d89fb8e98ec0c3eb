"""Keeps the ledgers of cameras whose jobs run on AWS: looks, writes down, and looks again.

A launch writes its ledger while it runs and when it ends; then its machines may still be up, or
EC2 may yet take one. So whoever wants to know later reconciles: every launch of which something
may still be learned is looked up anew and its rows are rewritten. What was learned is kept beside
them (`launch_facts.py`).
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
from resources.ledger.table import write_ledger
from resources.pricing.prices import PriceBook
from resources.pricing.sources import PriceSource, fill_missing_quotes
from resources.settings.profile import Aws
from resources.storage import layout
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import open_store

# Jobs that were created so long before a launch may be on the same machines.
JOB_LOOKBACK_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class CameraLedger:
    """Where one camera's launches and ledger lie."""

    camera_id: str
    launches: ObjectStore
    ledger: ObjectStore


def open_camera_ledger(camera_id: str, output_url: str, clients: AwsClients) -> CameraLedger:
    """The books of a camera, by where its results go."""
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
        changed: its cost is another than before.
    """

    books: CameraLedger
    launch: str
    rows: pl.DataFrame
    changed: bool


@dataclass(frozen=True)
class _Open:
    """A launch of which something may still be learned."""

    books: CameraLedger
    record: LaunchRecord
    before: LaunchFacts | None

    @property
    def places(self) -> Mapping[str, str]:
        return self.before.places if self.before else {}


@dataclass(frozen=True)
class LedgerWriter:
    """Writes the ledgers of one account's cameras."""

    clients: AwsClients
    aws: Aws
    prices: PriceSource

    def write(self, books: CameraLedger, record: LaunchRecord) -> pl.DataFrame:
        """Write one launch's rows as of now, also while it runs.

        Raises:
            botocore.exceptions.ClientError, BotoCoreError: AWS refused, or did not answer.
            StoreError: the ledger cannot be written.
        """
        before = load_facts(books.ledger, record.identity)
        [written] = self._look([_Open(books, record, before)])
        return written.rows

    def reconcile(self, cameras: Iterable[CameraLedger]) -> list[ReconciledLaunch]:
        """Look up every launch of which something may still be learned, and write its rows.

        Raises:
            botocore.exceptions.ClientError, BotoCoreError: AWS refused, or did not answer.
            StoreError: a ledger cannot be read or written.
        """
        return self._look([each for books in cameras for each in _open_launches(books)])

    def _look(self, launches: Sequence[_Open]) -> list[ReconciledLaunch]:
        if not launches:
            return []
        now = self.clients.clock.now()
        since = min(each.record.began_at for each in launches) - JOB_LOOKBACK_SECONDS
        # Machines first: a job is never told to run on one that was already told to be gone.
        machines = list(list_machines(self.clients, self.aws.name, now))
        places = {arn: name for each in launches for arn, name in each.places.items()}
        jobs = list_jobs(self.clients, self.aws.name, since, _known_jobs(launches), places)
        for each in launches:  # what one launch's workers told helps the others
            jobs = with_instance_ids(each.record, jobs)
        types = {machine.instance_type for machine in machines} | set(self.prices.instance_types)
        prices = replace(self.prices, instance_types=tuple(sorted(types)))
        book = prices.book(since, now, refresh=True)
        return [
            self._write(each, update_facts(each.record, each.before, machines, jobs, now), book)
            for each in launches
        ]

    def _write(self, launch: _Open, facts: LaunchFacts, book: PriceBook) -> ReconciledLaunch:
        books, record = launch.books, launch.record
        facts = _with_prices(facts, launch.before, book)
        kept = PriceBook(book.region, facts.quotes, facts.remarks)
        rows = LaunchRows(books.camera_id, self.aws.region, record, facts, kept).frame()
        before = _total(books.ledger, record.identity)
        write_ledger(books.ledger, record.identity, rows)
        save_facts(books.ledger, record.identity, facts)
        changed = before != rows["usd"].sum()
        return ReconciledLaunch(books, record.identity, rows, changed)


def _open_launches(books: CameraLedger) -> Iterator[_Open]:
    for record in load_records(books.launches):
        before = load_facts(books.ledger, record.identity)
        if not is_settled(record, before):
            yield _Open(books, record, before)


def _known_jobs(launches: Sequence[_Open]) -> dict[str, BatchJob]:
    """What Batch said before, and the launches' own jobs of which it has said nothing yet."""
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
    """The facts with the prices that their rows need; what AWS does not tell any more is kept."""
    types = {machine.instance_type for machine in facts.machines.values()}
    needed = [quote for quote in book.quotes if quote.item in types or quote.market is None]
    quotes = fill_missing_quotes(needed, before.quotes if before else ())
    settled = facts.settled and not book.remarks
    return facts.model_copy(update={"quotes": quotes, "remarks": book.remarks, "settled": settled})


def _total(ledger: ObjectStore, launch: str) -> Decimal | None:
    """What a launch's rows came to when they were last written; None: they never were."""
    key = f"{launch}.parquet"
    if not ledger.exists(key):
        return None
    with ledger.reading(key) as path:
        return Decimal(pl.read_parquet(path, columns=["usd"])["usd"].sum())
