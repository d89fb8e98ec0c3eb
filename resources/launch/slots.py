"""How many jobs run at once over all of an instance: slots of one of Dagster's concurrency pools.

A launch takes a slot for each job before it submits it and gives it back when the job has ended;
so runs that were started by hand, by a backfill and by a sensor hold `max_parallel_jobs` together,
and the UI shows who holds the slots (Deployment, Concurrency). A job that is already running when a
run takes it up keeps running, slot or not; the run that was killed keeps its slot until then.
"""

import fcntl
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster import DagsterRunStatus
from sqlalchemy.exc import IntegrityError

from resources.errors import UsageError
from resources.launch.hooks import CloseDeadRuns, ignore
from resources.spot.policy import PRIORITY_TAG, Priority

SLOT_PRIORITIES: dict[Priority, int] = {"low": -1, "normal": 0, "high": 1}
RUNNING_PRIORITY = 2
# Of the instance's folder.
SLOTS_LOCK = ".slots"
# The slots of a run that has ended whose jobs still run.
RunningSlots = Callable[[dg.DagsterRun], Set[str]]
FINAL_STATUSES = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)


def priority_of(run: dg.DagsterRun) -> Priority:
    """What a run's tag asks for.

    Raises:
        UsageError: it asks for something else.
    """
    asked = run.tags.get(PRIORITY_TAG, "normal")
    for priority in SLOT_PRIORITIES:
        if asked == priority:
            return priority
    raise UsageError(f"priority {asked}: is not low, normal or high")


class LaunchSlots:
    """The slots of one run.

    Args:
        pool: whose slots: of this machine, or of an account.
        limit: how many the pool has.
        priority: who waits goes before those of a lower one.
        close_dead_runs: ends runs whose process was killed: they hold slots for ever.
        left_running: tells which slots of a run that has ended still have a job.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        run_id: str,
        pool: str,
        limit: int,
        priority: Priority = "normal",
        close_dead_runs: CloseDeadRuns = ignore,
        left_running: LeftRunning = lambda run: frozenset(),
    ) -> None:
        self._instance = instance
        self._storage = instance.event_log_storage
        self._run_id = run_id
        self.pool = pool
        self.limit = limit
        self._priority = SLOT_PRIORITIES[priority]
        self._close_dead_runs = close_dead_runs
        self._left_running = left_running
        self._held: set[str] = set()
        self._asked: set[str] = set()  # these, and those that wait for one
        # An instance in memory is one process's own.
        self._counted = self._storage.supports_global_concurrency_limits

    def take(self, job: str) -> bool:
        """Take a slot for a job, or the slot that it has; whether there is one."""
        if job in self._held:
            return True
        self._asked.add(job)
        if not self._counted:
            if len(self._held) < self.limit:
                self._held.add(job)
            return job in self._held
        if not self._claim(job, self._priority):
            self._free_those_of_ended_runs()
            if not self._claim(job, self._priority):
                return False
        self._held.add(job)
        return True

    def hold(self, job: str) -> None:
        """Take a slot for a job that runs already, before all that wait, once there is one."""
        self._asked.add(job)
        if job in self._held:
            return
        if self._counted and not self._claim(job, RUNNING_PRIORITY):
            return
        self._held.add(job)

    def keep(self, jobs: Set[str]) -> None:
        """Give back the slots of all other jobs, and their places in the queue for one."""
        for job in self._asked - jobs:
            self._asked.remove(job)
            self._held.discard(job)
            if self._counted:
                self._storage.free_concurrency_slot_for_step(self._run_id, job)

    @contextmanager
    def given_back(self) -> Iterator[None]:
        """Gives all slots back in the end, whatever becomes of the launch."""
        try:
            yield
        finally:
            self._held.clear()
            self._asked.clear()
            if self._counted:
                self._storage.free_concurrency_slots_for_run(self._run_id)

    @property
    def why_waiting(self) -> str:
        """What a run is told that waits."""
        return (
            f"waiting: {self.limit} jobs run already, as many as "
            "pipeline.cost_optimization.max_parallel_jobs allows for all runs together"
        )

    def _set_limit(self) -> None:
        if self._storage.get_concurrency_info(self.pool).slot_count == self.limit:
            return
        try:
            self._storage.set_concurrency_slots(self.pool, self.limit)
        except IntegrityError:
            # On Postgres another machine may have made the pool since Dagster looked for it.
            self._storage.set_concurrency_slots(self.pool, self.limit)

    def _claim(self, job: str, priority: int) -> bool:
        with self._alone():
            self._set_limit()
            claim = self._storage.claim_concurrency_slot(self.pool, self._run_id, job, priority)
        return bool(claim.is_claimed)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Dagster looks for slots and then writes. On Postgres it locks what it has seen; on SQLite
        another process could see the same, and both make the pool, or take its last slot."""
        with (Path(self._instance.root_directory) / SLOTS_LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _free_those_of_ended_runs(self) -> None:
        self._close_dead_runs(self._instance)
        info = self._storage.get_concurrency_info(self.pool)
        slots = {(slot.run_id, slot.step_key) for slot in info.claimed_slots}
        slots |= {(step.run_id, step.step_key) for step in info.pending_steps}
        for run_id in {run_id for run_id, _ in slots} - {self._run_id}:
            run = self._instance.get_run_by_id(run_id)
            if run is None or run.status in FINAL_STATUSES:
                left = self._left_running(run) if run else frozenset[str]()
                for job in {job for holder, job in slots if holder == run_id} - left:
                    self._storage.free_concurrency_slot_for_step(run_id, job)
