"""The cost ledger: what each attempt and each machine of a launch cost, as a table.

A camera's ledger lies in OUTPUT/ledger: one Parquet file for each launch, LAUNCH.parquet, that is
always rewritten whole. Its rows follow from what is known of the launch (`launch_rows.py`), so
whoever knows more may write it again, and the same knowledge gives the same rows. The sum of
`usd` over all rows of all cameras is what was paid for computing; nothing is in it twice.
"""

from collections.abc import Iterable
from io import BytesIO

import polars as pl

from resources.storage.object_store import ObjectStore

# USD. Ten decimals hold a second of the cheapest machine and a single request; sums stay exact.
MONEY_DECIMALS = 10
MONEY_TYPE = pl.Decimal(28, MONEY_DECIMALS)
# A moment, UTC.
TIMESTAMP_TYPE = pl.Datetime("ms", "UTC")

# What a row is the cost of. An `attempt` is a job's own time on its machine, or a worker's on this
# one. `overhead` is the rest of a machine's life, boot and idle; `disk` and `address` are what a
# machine has besides, at no spot discount. These three are shared among the jobs that ran on it,
# in proportion to their seconds, so there is a row for each launch that used the machine.
# `requests` are those to S3, of a launch's jobs or of this machine; `transfer`: what it took.
# `logs` are what a launch's jobs wrote to CloudWatch.
KINDS = ("attempt", "overhead", "disk", "address", "requests", "transfer", "logs")

LEDGER_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    # Whose it is
    "camera_id": pl.String,  # null: of a machine that no camera's job was launched for
    "launch": pl.String,  # identity of the launch; null as above, and of results taken home
    "unit": pl.Int32,  # number of the work unit; null: not an attempt's row
    "attempt": pl.String,  # name of the job, unlike any other; null: not an attempt's row
    "job_id": pl.String,  # of AWS Batch; null: run on this machine, or never submitted
    "kind": pl.String,  # one of KINDS
    # Where it ran
    "market": pl.String,  # spot | ondemand | local; of an attempt that never ran, its queue's
    "queue": pl.String,  # spot-high | spot | ondemand; null: not an attempt of AWS Batch
    "instance_id": pl.String,  # null: never ran, or run on this machine
    "instance_type": pl.String,
    "zone": pl.String,  # as eu-north-1a
    "region": pl.String,
    # When. An attempt's times are its job's; those of other kinds are the machine's
    "intended_at": TIMESTAMP_TYPE,  # written down, just before it was submitted
    "started_at": TIMESTAMP_TYPE,  # null: never ran
    "ended_at": TIMESTAMP_TYPE,  # null: still runs, or never ran
    "machine_launched_at": TIMESTAMP_TYPE,
    "machine_ended_at": TIMESTAMP_TYPE,  # null: not known to have ended
    "machine_taken_at": TIMESTAMP_TYPE,  # when EC2 took it away; null: it did not
    # How it went
    "end": pl.String,  # an AttemptEnd; null: goes on, or not an attempt
    "reason": pl.String,  # why it was submitted, and there; what own traffic was for
    "said": pl.String,  # what Batch or the worker said of its end
    # What it did; null: nothing was told. Seconds are the worker's, in each stage
    "footage_seconds": pl.Float64,
    "detections_seconds": pl.Float64,
    "classifications_seconds": pl.Float64,
    "observations_seconds": pl.Float64,
    "media": pl.Int64,  # newly looked at
    "images": pl.Int64,  # of these, stills
    "frames": pl.Int64,  # newly looked at, of stills and videos
    "video_seconds": pl.Float64,  # length of the videos newly looked at
    "crops": pl.Int64,  # newly labelled
    "visits": pl.Int64,  # in the table of observations that it made
    "bytes_read": pl.Int64,  # from S3
    "bytes_written": pl.Int64,  # to S3
    # Of kind requests alone, all of a launch's jobs together, or all of this machine's
    "requests_put": pl.Int64,  # PUT, COPY, POST and LIST, which S3 prices alike
    "requests_get": pl.Int64,  # GET and all others
    # What it cost
    "billed_seconds": pl.Float64,  # this row's share of the seconds that are billed
    "useful_seconds": pl.Float64,  # of these, those that bought something; null: no attempt's
    "usd_per_hour": MONEY_TYPE,  # the mean of the prices in force; of kind requests, null
    "price_source": pl.String,
    "price_as_of": TIMESTAMP_TYPE,  # the newest price's date
    "price_verified": pl.Boolean,  # false: nobody has checked a price that is in it
    "usd": MONEY_TYPE,  # what is paid; 0 where nothing ran
    "usd_on_demand": MONEY_TYPE,  # the same seconds on demand; usd where there is no spot price
    "usd_wasted": MONEY_TYPE,  # the part of usd that bought nothing
    "wasted_why": pl.String,  # null: nothing was wasted
    "estimated": pl.Boolean,  # a time or a price is not known yet; later rows will differ
    "remark": pl.String,  # a rule or a guess that has changed the sum; null: none has
}
LEDGER_SCHEMA = pl.Schema(LEDGER_COLUMNS)


def write_ledger(store: ObjectStore, name: str, rows: pl.DataFrame) -> None:
    """Put a launch's rows in place, whole.

    Args:
        name: the launch's identity.

    Raises:
        StoreError: the store cannot be written.
        polars.exceptions.SchemaError: the rows are not a ledger's.
    """
    table = rows.match_to_schema(LEDGER_SCHEMA)
    # Through the store: polars tells a full disk as an error of its own.
    content = BytesIO()
    table.write_parquet(content)
    store.write_bytes(f"{name}.parquet", content.getvalue())


def read_ledger(stores: Iterable[ObjectStore]) -> pl.DataFrame:
    """All rows of many cameras' ledgers, by time; an empty frame when there are none.

    Raises:
        StoreError: a ledger cannot be read.
    """
    tables = [pl.DataFrame(schema=LEDGER_SCHEMA)]
    for store in stores:
        for found in list(store.list()):
            if found.key.endswith(".parquet"):
                with store.reading(found.key) as path:
                    tables.append(pl.read_parquet(path, schema=LEDGER_SCHEMA))
    order = ["intended_at", "started_at", "camera_id", "launch", "attempt", "kind", "instance_id"]
    return pl.concat(tables).sort(order, nulls_last=True)
