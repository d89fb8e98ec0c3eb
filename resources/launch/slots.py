"""The limit of concurrent jobs over all runs of an instance: slots of a Dagster concurrency pool.

A launch claims a slot for each job before it submits the job, and releases it when the job has
ended. So runs started by a user, a backfill or a sensor share `max_parallel_jobs`, and the UI shows
the owners of the slots (Deployment, Concurrency). A running job that a run resumes continues with
or without a slot; until then the killed run retains its slot.
"""

from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster import DagsterRunStatus
from dagster._utils.concurrency import ClaimedSlotInfo
from sqlalchemy.exc import IntegrityError

from resources.errors import UsageError
from resources.launch.hooks import CloseDeadRuns, ignore
from resources.spot.policy import PRIORITY_TAG, Priority
from resources.storage.file_lock import SystemFileLock

SLOT_PRIORITIES: dict[Priority, int] = {"low": -1, "normal": 0, "high": 1}
RUNNING_PRIORITY = 2
# A file in the instance's folder.
SLOTS_LOCK = ".slots"
# The cursor with the limit that launches have set: another one is an operator's.
LIMIT_KEY = "munin/pool-limit/{pool}"
# Return the slots of a run that has ended whose jobs are still running.
RunningSlots = Callable[[dg.DagsterRun], Set[str]]
FINAL_STATUSES = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)


def priority_of(run: dg.DagsterRun) -> Priority:
    """Return the priority in a run's tag.

    Raises:
        UsageError: the tag has another value.
    """
    value = run.tags.get(PRIORITY_TAG, "normal")
    for priority in SLOT_PRIORITIES:
        if value == priority:
            return priority
    raise UsageError(f"{PRIORITY_TAG} {value}: is not low, normal or high; set one of these")


def has_ended(context: dg.AssetExecutionContext) -> bool:
    """Return True if another process has ended a run that is executed here.

    It does so if this process was asleep or disconnected for so long that it counted as lost.
    """
    try:
        run = context.instance.get_run_by_id(context.run.run_id)
    # Nobody is known to have ended the run.
    except Exception as error:  # noqa: BLE001 (each database has errors of its own)
        context.log.warning(f"the state of the run is not known: {error}")
        return False
    return run is not None and run.status in FINAL_STATUSES


class LaunchSlots:
    """The slots of one run.

    Args:
        pool: the name of the pool, of this machine or of an account.
        limit: of the run's profile: jobs of all runs in the pool together.
        priority: waiting jobs of a higher priority claim slots first.
        close_dead_runs: mark runs as failed whose process was killed, since they never release
            their slots.
        running_slots: return the slots of a run that has ended whose jobs are still running.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        run_id: str,
        pool: str,
        limit: int,
        priority: Priority = "normal",
        close_dead_runs: CloseDeadRuns = ignore,
        running_slots: RunningSlots = lambda run: frozenset(),
    ) -> None:
        self._instance = instance
        self._storage = instance.event_log_storage
        self._run_id = run_id
        self.pool = pool
        self.limit = limit
        self._priority = SLOT_PRIORITIES[priority]
        self._close_dead_runs = close_dead_runs
        self._running_slots = running_slots
        # The pool's limit, if it is one that an operator has set in the UI.
        self.operator_limit: int | None = None
        self._held: set[str] = set()
        self._claims: set[str] = set()  # of jobs that hold a slot or wait for one
        # An instance in memory belongs to one process.
        self._is_shared = self._storage.supports_global_concurrency_limits

    def take(self, job: str) -> bool:
        """Claim a slot for a job. Return True if the job has one, now or from before."""
        if job in self._held:
            return True
        self._claims.add(job)
        if not self._is_shared:
            if len(self._held) < self.limit:
                self._held.add(job)
            return job in self._held
        if not self._claim(job, self._priority):
            self._free_slots_of_ended_runs()
            if not self._claim(job, self._priority):
                return False
        self._held.add(job)
        return True

    def take_running(self, job: str) -> None:
        """Claim a slot for a job that is already running, before all waiting jobs."""
        self._claims.add(job)
        if job in self._held:
            return
        if self._is_shared and not self._claim(job, RUNNING_PRIORITY):
            return
        self._held.add(job)

    def retain(self, jobs: Set[str]) -> None:
        """Release the slots and pending claims of all other jobs."""
        for job in self._claims - jobs:
            self._claims.remove(job)
            self._held.discard(job)
            if self._is_shared:
                self._storage.free_concurrency_slot_for_step(self._run_id, job)

    @contextmanager
    def released(self) -> Iterator[None]:
        """Release all slots on exit."""
        try:
            yield
        finally:
            self._held.clear()
            self._claims.clear()
            if self._is_shared:
                self._storage.free_concurrency_slots_for_run(self._run_id)

    @property
    def waiting_message(self) -> str:
        """The log line of a run that waits for a slot."""
        if self.operator_limit is not None:
            return (
                f"waiting: {self.operator_limit} jobs may run, the limit of the pool {self.pool} "
                "that is set in the UI (Deployment, Concurrency); delete it there to have "
                f"pipeline.cost_optimization.max_parallel_jobs, {self.limit}"
            )
        return (
            f"waiting: {self.limit} jobs are running, the limit of "
            "pipeline.cost_optimization.max_parallel_jobs for all runs together"
        )

    def _has_room(self, job: str) -> bool:
        """Return True if the limit of this run's profile allows another job.

        The pool has the highest limit of all profiles that use it: a profile with a lower one waits
        here, and does not lower the limit of the others. A limit that an operator has set in the UI
        replaces those of the profiles.
        """
        info = self._storage.get_concurrency_info(self.pool)
        key = LIMIT_KEY.format(pool=self.pool)
        cursors = self._instance.daemon_cursor_storage
        ours = cursors.get_cursor_values({key}).get(key)
        limit = None if info.using_default_limit else info.limit
        self.operator_limit = limit if str(limit) not in {"None", ours, str(self.limit)} else None
        if self.operator_limit is not None:
            return True
        highest = max(limit or 0, self.limit)
        if str(highest) != ours:
            cursors.set_cursor_values({key: str(highest)})
        if (highest != limit or info.slot_count != highest) and not self._set_limit(highest):
            return False
        if highest == self.limit:
            return True  # Dagster counts, by priority and in order of waiting
        others = [slot for slot in info.claimed_slots if not self._is_of(slot, job)]
        return len(others) < self.limit

    def _is_of(self, slot: ClaimedSlotInfo, job: str) -> bool:
        return (slot.run_id, slot.step_key) == (self._run_id, job)

    def _set_limit(self, limit: int) -> bool:
        """Set the pool's limit; return False if Dagster cannot until a job has ended."""
        for _ in range(2):
            try:
                self._storage.set_concurrency_slots(self.pool, limit)
            except IntegrityError:
                # On Postgres another machine may have created the pool since Dagster's query. And
                # Dagster 1.13 cannot set a limit after the only one was deleted in the UI while a
                # job had a slot: it inserts an empty row.
                continue
            return True
        return False

    def _claim(self, job: str, priority: int) -> bool:
        with self._lock():
            if not self._has_room(job) and priority != RUNNING_PRIORITY:
                return False
            claim = self._storage.claim_concurrency_slot(self.pool, self._run_id, job, priority)
        return bool(claim.is_claimed)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold a lock over all processes of this machine.

        Dagster reads the slots and then writes. On Postgres it locks the rows; on SQLite two
        processes could both create the pool, or claim its last slot.
        """
        with SystemFileLock(Path(self._instance.root_directory) / SLOTS_LOCK):
            yield

    def _free_slots_of_ended_runs(self) -> None:
        self._close_dead_runs(self._instance)
        info = self._storage.get_concurrency_info(self.pool)
        slots = {(slot.run_id, slot.step_key) for slot in info.claimed_slots}
        slots |= {(step.run_id, step.step_key) for step in info.pending_steps}
        for run_id in {run_id for run_id, _ in slots} - {self._run_id}:
            run = self._instance.get_run_by_id(run_id)
            if run is None or run.status in FINAL_STATUSES:
                running = self._running_slots(run) if run else frozenset[str]()
                for job in {job for owner, job in slots if owner == run_id} - running:
                    self._storage.free_concurrency_slot_for_step(run_id, job)
