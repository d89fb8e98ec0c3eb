"""Deletion of old runs from Dagster's records: events, logs and databases of runs.

A run's records take about 0.25 MB, most of it the run's own SQLite database. What later work needs
stays, however old it is: see `_needed`. Results, ledgers and launch records are files of OUTPUT,
which this does not touch.
"""

import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic, time
from uuid import UUID

import dagster as dg
from dagster import DagsterEventType, DagsterRunStatus
from dagster._core.storage.event_log import SqliteEventLogStorage

from odins_ravne_assets.instance_home import home
from odins_ravne_assets.runs.tags import BACKFILL_TAG
from resources.errors import StoreError
from resources.storage.layout import BACKFILLS_FOLDER
from resources.storage.local_store import LocalStore
from resources.storage.stored_json import read_json_object

PAGE_SIZE = 500  # runs, events
PARTITION_TAG, DAGSTER_BACKFILL_TAG = "dagster/partition", "dagster/backfill"
ENDED = {DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED}
ACTIVE_BACKFILL = {"REQUESTED", "CANCELING", "FAILING"}  # of Dagster's BulkActionStatus
DATABASE_SUFFIXES = (".db", ".db-wal", ".db-shm", ".db-journal")
# A database without a run is left by a killed deletion; a run that begins has its row first.
ORPHAN_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Pruned:
    """What a deletion of old runs has done.

    Args:
        runs: number of deleted runs.
        needed: number of old runs that later work needs.
        remaining: number of old runs that the next call deletes.
    """

    runs: int
    needed: int
    remaining: int

    def __str__(self) -> str:
        more = f", {self.remaining} more remain to be deleted" if self.remaining else ""
        return f"runs deleted: {self.runs}; old runs kept for later work: {self.needed}{more}"


@dataclass(frozen=True)
class _Run:
    """What decides about a run."""

    run: dg.DagsterRun
    updated: datetime

    @property
    def subject(self) -> tuple[str, str]:
        return self.run.job_name, self.run.tags.get(PARTITION_TAG, "")


def prune_runs(
    instance: dg.DagsterInstance,
    keep_days: int,
    now: datetime,
    seconds: float = float("inf"),
) -> Pruned:
    """Delete the runs that ended `keep_days` ago or earlier, except those that are needed.

    A process that is killed meanwhile leaves no run half deleted: the next call ends it.

    Args:
        now: with an offset.
        seconds: after which no further run is deleted in this call.
    """
    began = monotonic()
    runs = list(_all_runs(instance))  # the newest first
    before = now - timedelta(days=keep_days)
    old = [each for each in runs if each.run.status in ENDED and each.updated < before]
    needed = _needed(instance, runs, {each.run.run_id for each in old}) if old else set()
    deletable = [each.run.run_id for each in old if each.run.run_id not in needed]
    deleted = 0
    for run_id in reversed(deletable):
        if monotonic() - began > seconds:
            break
        _delete(instance, run_id)
        deleted += 1
    _delete_orphans(instance, {each.run.run_id for each in runs})
    return Pruned(deleted, len(old) - len(deletable), len(deletable) - deleted)


def _all_runs(instance: dg.DagsterInstance) -> Iterator[_Run]:
    cursor = None
    while True:
        page = instance.get_run_records(limit=PAGE_SIZE, cursor=cursor)
        for record in page:
            yield _Run(record.dagster_run, record.update_timestamp)
            cursor = record.dagster_run.run_id
        if len(page) < PAGE_SIZE:
            return


def _needed(instance: dg.DagsterInstance, runs: Sequence[_Run], old: set[str]) -> set[str]:
    """Return the runs that later work needs: their ids.

    The latest run of each job and camera, and its latest success: `munin status`, checks, a launch
    that can be resumed. The latest materialization of each asset and camera, whose metadata is
    read. The runs of a backfill that can be resumed. Runs that occupy a slot. What a younger run
    retries.
    """
    needed = set(instance.event_log_storage.get_concurrency_run_ids())
    seen: set[tuple[tuple[str, str], bool]] = set()
    for each in runs:
        for kind in {(each.subject, False), (each.subject, each.run.is_success)}:
            if kind not in seen:
                seen.add(kind)
                needed.add(each.run.run_id)
        if each.run.run_id not in old:
            needed |= {id for id in (each.run.root_run_id, each.run.parent_run_id) if id}
    needed |= _of_open_backfills(instance, runs)
    for key in instance.all_asset_keys():
        needed |= _latest_materializations(instance, key)
    return needed


def _of_open_backfills(instance: dg.DagsterInstance, runs: Sequence[_Run]) -> set[str]:
    """Return the runs of backfills, of the command and of the UI, that have not ended."""
    found: dict[str, list[dg.DagsterRun]] = defaultdict(list)
    of_ui: dict[str, list[str]] = defaultdict(list)
    for each in runs:
        if number := each.run.tags.get(BACKFILL_TAG):
            found[number].append(each.run)
        if number := each.run.tags.get(DAGSTER_BACKFILL_TAG):
            of_ui[number].append(each.run.run_id)
    needed: set[str] = set()
    for number, members in found.items():
        done = {run.tags.get(PARTITION_TAG, "") for run in members if run.is_success}
        if not _cameras_of_backfill(number) <= done:
            needed |= {run.run_id for run in members}
    for number, ids in of_ui.items():
        backfill = instance.get_backfill(number)
        if backfill is not None and backfill.status.value in ACTIVE_BACKFILL:
            needed |= set(ids)
    return needed


def _cameras_of_backfill(number: str) -> set[str]:
    """Return the cameras of a backfill's request; none if there is no request to resume."""
    store, key = LocalStore(home() / BACKFILLS_FOLDER), f"{number}.json"
    try:
        return set(read_json_object(store, key, "start the backfill anew", "cameras")["cameras"])
    except StoreError:
        return set()


def _latest_materializations(instance: dg.DagsterInstance, key: dg.AssetKey) -> set[str]:
    """Return the runs with the latest materialization of each camera of an asset."""
    latest = instance.get_latest_materialization_event(key)
    found = {latest.run_id} if latest else set()
    ids = sorted(
        instance.event_log_storage.get_latest_storage_id_by_partition(
            key, DagsterEventType.ASSET_MATERIALIZATION
        ).values()
    )
    for start in range(0, len(ids), PAGE_SIZE):
        page = ids[start : start + PAGE_SIZE]
        wanted = dg.AssetRecordsFilter(key, storage_ids=page)
        records = instance.fetch_materializations(wanted, limit=len(page)).records
        found |= {record.run_id for record in records}
    return found


def _delete(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete a run with its logs, its events and its database."""
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    shutil.rmtree(Path(instance.storage_directory()) / run_id, ignore_errors=True)
    instance.delete_run(run_id)
    _delete_database(instance, run_id)


def _delete_database(instance: dg.DagsterInstance, run_id: str) -> None:
    events = instance.event_log_storage
    if not isinstance(events, SqliteEventLogStorage):
        return
    database = Path(events.path_for_shard(run_id))
    for suffix in DATABASE_SUFFIXES:
        database.with_suffix(suffix).unlink(missing_ok=True)


def _delete_orphans(instance: dg.DagsterInstance, known: set[str]) -> None:
    """Delete the databases of runs that a killed deletion has left."""
    events = instance.event_log_storage
    if not isinstance(events, SqliteEventLogStorage):
        return
    for run_id in set(events.get_all_run_ids()) - known:
        database = Path(events.path_for_shard(run_id))
        if _is_run_id(run_id) and time() - database.stat().st_mtime > ORPHAN_SECONDS:
            events.delete_events(run_id)
            _delete_database(instance, run_id)


def _is_run_id(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
