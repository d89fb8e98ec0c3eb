"""Make tests/support/dagster_homes: the databases of a DAGSTER_HOME that an older Dagster wrote.

    python3.11 -m venv /tmp/old
    /tmp/old/bin/pip install dagster==1.9.3
    /tmp/old/bin/python tools/make_old_dagster_home.py

Run it with the Python of an environment that has the older Dagster; it needs nothing else. The
home has what the command's runs write: cameras as dynamic partitions, a successful run of each with
a materialization, its metadata and a check, a failed run, the limit of a pool, and a tick.
"""

import os
import sqlite3
import sys
import tempfile
import zipfile
from contextlib import closing
from pathlib import Path

import dagster as dg

HOMES = Path(__file__).parent.parent / "tests" / "support" / "dagster_homes"
CAMERAS = dg.DynamicPartitionsDefinition(name="cameras")
POOL, POOL_LIMIT = "jobs-on-this-machine", 3
SEED = {"north-01": 12, "north-02": 7}  # camera and its number of files


@dg.asset(partitions_def=CAMERAS)
def footage(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    if context.partition_key not in SEED:
        raise dg.Failure("no such footage", allow_retries=False)
    return dg.MaterializeResult(metadata={"media/files": SEED[context.partition_key]})


@dg.asset_check(asset=footage)
def all_media_are_readable() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


def main() -> None:
    """Make the home and pack its databases."""
    HOMES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        os.environ["DAGSTER_HOME"] = name
        (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        with dg.DagsterInstance.get() as instance:
            fill(instance)
        pack(home, HOMES / f"dagster-{dg.__version__}.zip")


def fill(instance: dg.DagsterInstance) -> None:
    """Write runs, events, a limit and a tick."""
    job = dg.Definitions(
        assets=[footage],
        asset_checks=[all_media_are_readable],
        jobs=[dg.define_asset_job("camera", selection="*", partitions_def=CAMERAS)],
    ).get_job_def("camera")
    instance.event_log_storage.set_concurrency_slots(POOL, POOL_LIMIT)
    for camera in (*SEED, "missing"):
        instance.add_dynamic_partitions("cameras", [camera])
        job.execute_in_process(instance=instance, partition_key=camera, raise_on_error=False)


def pack(home: Path, archive: Path) -> None:
    """Write all databases of a home into an archive, without their write-ahead logs."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for path in sorted(home.rglob("*.db")):
            with closing(sqlite3.connect(path)) as database:
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                database.execute("VACUUM")
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            entry = zipfile.ZipInfo(path.relative_to(home).as_posix())
            packed.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    print(f"{archive}: {archive.stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(main())
