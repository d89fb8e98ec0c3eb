"""The cost of idle machines, on which no job of any camera ran.

A machine on which a job ran, or that was launched for a job, is in the ledgers of the jobs'
cameras. Any other machine with the tag Project is kept warm by the profile (`min_vcpus`,
`desired_vcpus`), or was forgotten. Its rows have the form of a launch's, without camera and
launch, in a ledger on this machine. The facts from EC2 are stored next to them.
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
from resources.ledger.table import (
    LEDGER_SCHEMA,
    UnusableLedgerError,
    read_ledger_file,
    write_ledger,
)
from resources.ledger.writer import JOB_LOOKBACK_SECONDS, LedgerWriter
from resources.pricing.prices import PriceBook, Quote
from resources.pricing.sources import fill_missing_quotes
from resources.settings.profile import Aws
from resources.storage.object_store import ObjectStore

IDLE_REASON = "idle machine: no job needed it"


class IdleMachineState(BaseModel):
    """The idle machines found so far.

    Args:
        claimed: ids of machines that a job ran on or was queued for.
    """

    model_config = ConfigDict(frozen=True)

    machines: dict[str, Machine] = {}
    claimed: tuple[str, ...] = ()
    quotes: tuple[Quote, ...] = ()


def ledger_name(aws: Aws) -> str:
    """Return the name of the ledger file for a region of an account, or of a sandbox."""
    where = hashlib.sha256((aws.endpoint_url or "").encode()).hexdigest()[:8]
    return f"{aws.name}-{aws.region}" + (f"-{where}" if aws.endpoint_url else "")


def poll_idle_machines(writer: LedgerWriter, store: ObjectStore) -> None:
    """Query AWS for idle machines, and write their rows as of now.

    Args:
        store: a folder of this machine.

    Raises:
        botocore.exceptions.ClientError, BotoCoreError: AWS denies the request or does not answer.
        RavneError: the price of a machine is not known.
        StoreError: the store cannot be written.
    """
    aws, now = writer.aws, writer.clients.clock.now()
    before = _load_state(store, ledger_name(aws))
    reported = list(list_machines(writer.clients, aws.name, now))
    if not (reported or before.machines):
        return
    launched = [each.launched for each in (*reported, *before.machines.values())]
    since = min(launched) - JOB_LOOKBACK_SECONDS
    jobs = list_jobs(writer.clients, aws.name, since, {}, {})
    state = update_idle_machines(before, reported, jobs, now)
    types = {each.instance_type for each in state.machines.values()}
    prices = replace(writer.prices, instance_types=tuple(sorted(types)))
    book = prices.book(since, now, refresh=True)
    quotes = fill_missing_quotes(
        [q for q in book.quotes if q.market is None or q.item in types], before.quotes
    )
    state = state.model_copy(update={"quotes": quotes})
    rows = idle_machine_rows(state.machines.values(), PriceBook(aws.region, quotes, book.remarks))
    write_ledger(store, ledger_name(aws), rows)
    store.write_bytes(f"{ledger_name(aws)}.json", state.model_dump_json(indent=1).encode())


def update_idle_machines(
    before: IdleMachineState,
    reported: Sequence[Machine],
    jobs: Mapping[str, BatchJob],
    now: float,
) -> IdleMachineState:
    """Return the machines without a job, now or before.

    Args:
        reported: machines as EC2 reports them now.
        jobs: as Batch reports them now.
    """
    known = merge_machines(before.machines, {each.instance_id: each for each in reported})
    facts = LaunchFacts(at=now, machines=known, jobs=dict(jobs))
    claimed = {
        name
        for name, machine in known.items()
        if name in before.claimed
        or facts.intervals_on(name)
        or facts.jobs_queued_at_launch(machine)
    }
    return IdleMachineState(
        machines={name: known[name] for name in sorted(known.keys() - claimed)},
        claimed=tuple(sorted({*before.claimed, *claimed})),
    )


def idle_machine_rows(machines: Iterable[Machine], book: PriceBook) -> pl.DataFrame:
    """Return the rows of idle machines: their whole lifetimes, disks and addresses.

    Raises:
        RavneError: the price of a machine is not known.
    """
    return pl.DataFrame(list(_rows(machines, book)), schema=LEDGER_SCHEMA)


def _rows(machines: Iterable[Machine], book: PriceBook) -> Iterator[Row]:
    owner: Row = {**dict.fromkeys(LEDGER_SCHEMA), "region": book.region}
    for machine in machines:
        bill = machine_bill(machine, (), book)
        yield from MachineRows(book).overhead_rows(owner, bill, Decimal(1), IDLE_REASON)


def read_idle_machine_rows(
    store: ObjectStore, aws: Aws, remarks: list[str] | None = None
) -> pl.DataFrame:
    """Read the rows as they were last written; empty if they never were.

    Args:
        remarks: see `resources.ledger.table.read_ledger`.

    Raises:
        StoreError: they cannot be read.
    """
    key = f"{ledger_name(aws)}.parquet"
    if not store.exists(key):
        return pl.DataFrame(schema=LEDGER_SCHEMA)
    try:
        return read_ledger_file(store, key)
    except UnusableLedgerError as error:
        if remarks is None:
            raise
        remarks.append(f"idle machines are left out: {error}")
        return pl.DataFrame(schema=LEDGER_SCHEMA)


def exclude_billed_machines(idle: pl.DataFrame, cameras: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of machines that are in no camera's ledger.

    A job that only its worker reported may have run on a machine that seemed idle.
    """
    return idle.join(cameras.drop_nulls("instance_id"), on="instance_id", how="anti")


def _load_state(store: ObjectStore, name: str) -> IdleMachineState:
    key = f"{name}.json"
    if not store.exists(key):
        return IdleMachineState()
    try:
        return IdleMachineState.model_validate_json(store.read_bytes(key))
    except ValidationError:
        return IdleMachineState()  # another version's: EC2 still reports running machines
