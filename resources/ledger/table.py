"""The cost ledger: the cost of each attempt and each machine of a launch, as a table.

A camera's ledger is stored in OUTPUT/ledger: one Parquet file per launch, LAUNCH.parquet, always
rewritten as a whole. Its rows are a pure function of the facts about the launch (`launch_rows.py`),
so any process with newer facts may rewrite it. The sum of `usd` over all rows of all cameras is
the cost of compute; nothing is counted twice.

A file of another version is read as far as it goes: columns that it lacks are null, columns of
newer versions are ignored. One that is damaged, or lacks a column of REQUIRED_COLUMNS, is left out
of reports, with a remark; a budget refuses it.
"""

from collections.abc import Iterable
from io import BytesIO

import polars as pl

from resources.errors import DamagedFileError, StoreError
from resources.storage.object_store import ObjectStore
from resources.storage.parquet_files import read_known_columns

# USD. Ten decimals represent a second of the cheapest machine and a single request; sums are exact.
MONEY_DECIMALS = 10
MONEY_TYPE = pl.Decimal(28, MONEY_DECIMALS)
TIMESTAMP_TYPE = pl.Datetime("ms", "UTC")

LEDGER_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    # Owner
    "camera_id": pl.String,  # null: a machine that was not launched for any camera's job
    "launch": pl.String,  # identity of the launch; null as above, and for downloads of results
    "unit": pl.Int32,  # number of the work unit; null: not an attempt
    "attempt": pl.String,  # unique name of the job; null: not an attempt
    "job_id": pl.String,  # of AWS Batch; null: run on this machine, or never submitted
    "kind": pl.String,  # a CostKind
    # Machine
    "market": pl.String,  # a Market; of an attempt that never ran, its queue's
    "queue": pl.String,  # spot-high | spot | ondemand; null: not an attempt of AWS Batch
    "instance_id": pl.String,  # null: never ran, or run on this machine
    "instance_type": pl.String,
    "zone": pl.String,  # as eu-north-1a
    "region": pl.String,
    # Times. Those of an attempt are its job's; those of other kinds are the machine's
    "intended_at": TIMESTAMP_TYPE,  # intent recorded, just before submission
    "started_at": TIMESTAMP_TYPE,  # null: never ran
    "ended_at": TIMESTAMP_TYPE,  # null: running, or never ran
    "machine_launched_at": TIMESTAMP_TYPE,
    "machine_ended_at": TIMESTAMP_TYPE,  # null: no end known
    "machine_taken_at": TIMESTAMP_TYPE,  # when EC2 interrupted it; null: not interrupted
    # Outcome
    "end": pl.String,  # an AttemptOutcome; null: not ended, or not an attempt
    "reason": pl.String,  # of the submission and its queue; purpose of this machine's own traffic
    "said": pl.String,  # message of Batch or the worker about its end
    # Work; null: not reported. Seconds are the worker's, per stage
    "footage_seconds": pl.Float64,
    "detections_seconds": pl.Float64,
    "classifications_seconds": pl.Float64,
    "observations_seconds": pl.Float64,
    "media": pl.Int64,  # newly processed
    "images": pl.Int64,  # of these, still images
    "frames": pl.Int64,  # newly processed, of images and videos
    "video_seconds": pl.Float64,  # length of the newly processed videos
    "crops": pl.Int64,  # newly classified
    "visits": pl.Int64,  # rows of the observations table
    "bytes_read": pl.Int64,  # from S3
    "bytes_written": pl.Int64,  # to S3
    # Kind requests only; sum of a launch's jobs, or of this machine
    "requests_put": pl.Int64,  # PUT, COPY, POST and LIST, which have the same price
    "requests_get": pl.Int64,  # GET and all others
    # Cost
    "billed_seconds": pl.Float64,  # this row's share of the billed seconds
    "useful_seconds": pl.Float64,  # billed seconds without lost work; null: not an attempt
    "usd_per_hour": MONEY_TYPE,  # mean of the prices in force; null for kind requests
    "price_source": pl.String,
    "price_as_of": TIMESTAMP_TYPE,  # date of the newest price
    "price_verified": pl.Boolean,  # false: some price is not verified
    "usd": MONEY_TYPE,  # amount paid; 0 if nothing ran
    "usd_on_demand": MONEY_TYPE,  # the same seconds on demand; usd if there is no spot price
    "usd_wasted": MONEY_TYPE,  # part of usd without benefit: lost work, idle machines
    "wasted_why": pl.String,  # null: nothing was wasted
    "estimated": pl.Boolean,  # a time or price is not final; the row will be corrected
    "remark": pl.String,  # a billing rule or assumption that changed the sum; null: none
}
LEDGER_SCHEMA = pl.Schema(LEDGER_COLUMNS)
# Without one of these, sums of costs would be wrong.
REQUIRED_COLUMNS = frozenset(
    {"camera_id", "launch", "kind", "market", "usd", "usd_on_demand", "usd_wasted", "estimated"}
)
OPTIONAL_COLUMNS = frozenset(LEDGER_COLUMNS) - REQUIRED_COLUMNS


def write_ledger(store: ObjectStore, name: str, rows: pl.DataFrame) -> None:
    """Write a launch's rows, replacing its file atomically.

    Args:
        name: the launch's identity.

    Raises:
        StoreError: the store cannot be written.
        polars.exceptions.SchemaError: the rows do not match LEDGER_SCHEMA.
    """
    table = rows.match_to_schema(LEDGER_SCHEMA)
    # Through the store, which reports a full disk as a StoreError.
    content = BytesIO()
    table.write_parquet(content)
    store.write_bytes(f"{name}.parquet", content.getvalue())


class UnusableLedgerError(StoreError):
    """A file of a ledger is damaged, or of a version that cannot be read."""


def read_ledger_file(store: ObjectStore, key: str) -> pl.DataFrame:
    """Read the rows of one launch.

    Raises:
        UnusableLedgerError: the file cannot be used.
        StoreError: the store refuses.
    """
    with store.reading(key) as path:
        try:
            return read_known_columns(path, LEDGER_SCHEMA, OPTIONAL_COLUMNS)
        except DamagedFileError as error:
            raise UnusableLedgerError(
                f"{store.url}/{key} is damaged or of another version ({error.reason}); read it "
                "with the version that wrote it, or delete it to go on without the costs in it"
            ) from None


def read_ledger(stores: Iterable[ObjectStore], remarks: list[str] | None = None) -> pl.DataFrame:
    """Read all rows of several cameras' ledgers, sorted by time; empty if there are none.

    Args:
        remarks: receives a sentence for each file that cannot be used, which is left out; None: the
            first one raises.

    Raises:
        StoreError: the store refuses; a file cannot be used and `remarks` is None.
    """
    tables = [pl.DataFrame(schema=LEDGER_SCHEMA)]
    for store in stores:
        for stored in list(store.list()):
            if not stored.key.endswith(".parquet"):
                continue  # facts about launches are stored next to the rows
            try:
                tables.append(read_ledger_file(store, stored.key))
            except UnusableLedgerError as error:
                if remarks is None:
                    raise
                remarks.append(f"costs are left out: {error}")
    order = ["intended_at", "started_at", "camera_id", "launch", "attempt", "kind", "instance_id"]
    return pl.concat(tables).sort(order, nulls_last=True)
