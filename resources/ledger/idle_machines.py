"""Machines that waited for work and got none: what is kept warm costs money and is no camera's.

A machine that a job ran on, or that was launched for a job, is in the ledgers of the jobs' cameras.
Any other with our tag is kept warm by the profile (`min_vcpus`, `desired_vcpus`), or was forgotten.
Its rows are written like those of a launch, with no camera and no launch, into a ledger of this
machine's, since no camera's output is the place for them. What EC2 told is kept beside them.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from resources.ledger.aws_usage import BatchJob, Machine, list_jobs, list_machines
from resources.ledger.launch_facts import LaunchFacts, merge_machines
from resources.ledger.machine_bill import machine_bill
from resources.ledger.machine_rows import MachineRows
from resources.ledger.money_columns import Row
from resources.ledger.table import LEDGER_SCHEMA, write_ledger
from resources.ledger.writer import JOB_LOOKBACK_SECONDS, LedgerWriter
from resources.pricing.prices import PriceBook, Quote
from resources.pricing.sources import fill_missing_quotes
from resources.settings.profile import Aws
from resources.storage.object_store import ObjectStore

ALL = Decimal(1)
IDLE_REASON = "machines that waited for work, and got none"


class IdleMachineState(BaseModel):
    """What is known of the machines that nobody's job was on.

    Args:
        claimed: ids of those that a job has been seen on, or was waiting for.
    """

    model_config = ConfigDict(frozen=True)

    machines: dict[str, Machine] = {}
    claimed: tuple[str, ...] = ()
    quotes: tuple[Quote, ...] = ()


def ledger_name(aws: Aws) -> str:
    """The name of the file for what is set up in a region of an account, or of a sandbox."""
    where = hashlib.sha256((aws.endpoint_url or "").encode()).hexdigest()[:8]
    return f"{aws.name}-{aws.region}" + (f"-{where}" if aws.endpoint_url else "")


def poll_idle_machines(keeper: LedgerWriter, store: ObjectStore) -> None:
    """Ask AWS for the machines that wait for work, and write their rows as of now.

    Args:
        store: of this machine.

    Raises:
        botocore.exceptions.ClientError, BotoCoreError: AWS refused, or did not answer.
        RavneError: a machine has no price.
        StoreError: the store cannot be written.
    """
    aws, now = keeper.aws, keeper.clients.clock.now()
    before = _known(store, ledger_name(aws))
    told = list(list_machines(keeper.clients, aws.name, now))
    if not (told or before.machines):
        return
    since = min(each.launched for each in (*told, *before.machines.values())) - JOB_LOOKBACK_SECONDS
    jobs = list_jobs(keeper.clients, aws.name, since, {}, {})
    found = update_idle_machines(before, told, jobs, now)
    types = {each.instance_type for each in found.machines.values()}
    prices = replace(keeper.prices, instance_types=tuple(sorted(types)))
    book = prices.book(since, now, refresh=True)
    quotes = fill_missing_quotes(
        [q for q in book.quotes if q.market is None or q.item in types], before.quotes
    )
    found = found.model_copy(update={"quotes": quotes})
    rows = idle_machine_rows(found.machines.values(), PriceBook(aws.region, quotes, book.remarks))
    write_ledger(store, ledger_name(aws), rows)
    store.write_bytes(f"{ledger_name(aws)}.json", found.model_dump_json(indent=1).encode())


def update_idle_machines(
    before: IdleMachineState, told: Sequence[Machine], jobs: Mapping[str, BatchJob], now: float
) -> IdleMachineState:
    """What a look has added: machines of which no job is known, now or before.

    Args:
        told: that EC2 tells of.
        jobs: that Batch tells of.
    """
    known = merge_machines(before.machines, {each.instance_id: each for each in told})
    look = LaunchFacts(at=now, machines=known, jobs=dict(jobs))
    claimed = {
        name
        for name, machine in known.items()
        if name in before.claimed or look.stays_on(name) or look.waiting_for(machine)
    }
    return IdleMachineState(
        machines={name: known[name] for name in sorted(known.keys() - claimed)},
        claimed=tuple(sorted({*before.claimed, *claimed})),
    )


def idle_machine_rows(machines: Iterable[Machine], book: PriceBook) -> pl.DataFrame:
    """The rows of machines that waited: their whole lives, disks and addresses.

    Raises:
        RavneError: no price of a machine is known.
    """
    return pl.DataFrame(list(_rows(machines, book)), schema=LEDGER_SCHEMA)


def _rows(machines: Iterable[Machine], book: PriceBook) -> Iterator[Row]:
    nobodys: Row = {**dict.fromkeys(LEDGER_SCHEMA), "region": book.region}
    for machine in machines:
        yield from MachineRows(book).shared(
            nobodys, machine_bill(machine, (), book), ALL, IDLE_REASON
        )


def read_idle_machine_rows(store: ObjectStore, aws: Aws) -> pl.DataFrame:
    """The rows as they were last written; none, if nobody has looked.

    Raises:
        StoreError: they cannot be read.
    """
    key = f"{ledger_name(aws)}.parquet"
    if not store.exists(key):
        return pl.DataFrame(schema=LEDGER_SCHEMA)
    with store.reading(key) as path:
        return pl.read_parquet(path, schema=LEDGER_SCHEMA)


def exclude_billed_machines(waiting: pl.DataFrame, cameras: pl.DataFrame) -> pl.DataFrame:
    """The rows of machines that are in no camera's ledger: a job that only its worker told of may
    have been on one after all."""
    return waiting.join(cameras.drop_nulls("instance_id"), on="instance_id", how="anti")


def _known(store: ObjectStore, name: str) -> IdleMachineState:
    key = f"{name}.json"
    if not store.exists(key):
        return IdleMachineState()
    try:
        return IdleMachineState.model_validate_json(store.read_bytes(key))
    except ValidationError:
        return IdleMachineState()  # of another version: EC2 tells of what lives
