"""Batch's scheduler: which job gets which machine, when machines are launched, why jobs wait."""

from collections import defaultdict

from resources.clock import Clock
from resources.sandbox.fleet.fleet import Fleet
from resources.sandbox.fleet.instances import Instance, ResourceNeeds, fits
from resources.sandbox.jobs.attempts import Attempts
from resources.sandbox.jobs.jobs import FAILED, SandboxJob
from resources.sandbox.jobs.state import BatchState
from resources.sandbox.model.config import SandboxConfig
from resources.sandbox.model.environments import JobQueue, SandboxEnvironment
from resources.sandbox.model.events import Events
from resources.sandbox.model.moto_services import MotoServices
from resources.sandbox.model.prices import TYPES

# AWS Batch user guide, "Jobs stuck in a RUNNABLE status".
NO_CAPACITY = (
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity requested for "
    "instance type [{kind}]"
)
TOO_LARGE = (
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU) "
    "is higher than that can be met by the CE(s) attached to the job queue."
)
TOO_SMALL_MAXIMUM = (
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job queue "
    "cannot meet the job's vCPU requirement: its maxvCpus is too small."
)
TIME_LIMIT = "Canceled by JobStateTimeLimit action due to reason: {reason}"
QUEUE_DELETED = "Job Queue deleted"


class _PlacementRound:
    """What one round of placing has given away: room on machines that still boot."""

    def __init__(self) -> None:
        self.booting: dict[str, ResourceNeeds] = {}
        self.unmet: dict[SandboxEnvironment, int] = defaultdict(int)

    def reserve(self, instance: Instance, needs: ResourceNeeds) -> bool:
        """Keep room on a booting machine for a job, if there is."""
        room = self.booting.setdefault(instance.id, dict(instance.free))
        if not fits(needs, room):
            return False
        for key, amount in needs.items():
            room[key] -= amount
        return True


class Scheduler:
    """Moves everything on, a look at a time. The caller holds the state's lock."""

    def __init__(
        self,
        config: SandboxConfig,
        clock: Clock,
        state: BatchState,
        fleet: Fleet,
        attempts: Attempts,
        services: MotoServices,
        events: Events,
    ) -> None:
        self._config = config
        self._clock = clock
        self._state = state
        self._fleet = fleet
        self._attempts = attempts
        self._services = services
        self._events = events

    def look(self) -> None:
        """Let time pass for everything."""
        self._settle()
        for instance in self._fleet.look():
            for job_id in list(instance.jobs):
                self._attempts.lose(self._state.jobs[job_id], instance)
            self._fleet.end(instance, interrupted=True)
        for job in self._state.live_jobs():
            self._attempts.look(job)
        self._place()
        self._keep_minimum()
        self._fleet.scale_in()

    def _settle(self) -> None:
        for gone in self._state.settle(self._clock.now()):
            if isinstance(gone, SandboxEnvironment):
                for instance in list(self._fleet.alive(gone)):
                    self._fleet.end(instance)
                self._services.delete_cluster(gone.cluster)
            for job in self._state.live_jobs():
                if job.queue is gone and job.instance is None:
                    self._attempts.finish(job, FAILED, QUEUE_DELETED)

    # placing

    def _place(self) -> None:
        """Queues by priority, each in order; a job that cannot start blocks those behind it."""
        round_ = _PlacementRound()
        waiting: dict[JobQueue, list[SandboxJob]] = defaultdict(list)
        for job in self._state.live_jobs():
            if job.status == "RUNNABLE" and job.stop is None:
                waiting[job.queue].append(job)
        for queue in sorted(waiting, key=lambda queue: -queue.priority):
            self._place_queue(waiting[queue], round_)
        for environment in self._state.environments.values():
            environment.unmet_vcpus = round_.unmet[environment]

    def _place_queue(self, jobs: list[SandboxJob], round_: _PlacementRound) -> None:
        for position, job in enumerate(jobs):
            blocked = self._place_job(job, round_)
            if blocked is None:
                job.blocked_since = None
                continue
            self._note_blocked(job, blocked)
            for behind in jobs[position:]:
                self._note_unmet(behind, round_)
            return

    def _place_job(self, job: SandboxJob, round_: _PlacementRound) -> str | None:
        """Start a job or let it wait for a machine that boots; else say what is in its way."""
        obstacle, waits = None, False
        for environment in job.queue.environments:
            if not environment.can_run_jobs:
                continue
            if self._start(job, environment) or self._await_boot(job, environment, round_):
                return None
            kinds = self._fleet.kinds_for(environment, job.needs)
            if not kinds:
                obstacle = obstacle or TOO_LARGE
            elif job.needs["VCPU"] > environment.resources["maxvCpus"]:
                obstacle = obstacle or TOO_SMALL_MAXIMUM
            elif not self._may_grow(environment, kinds):
                waits = True  # for a machine's end, as long as no other environment takes it
            elif instance := self._fleet.launch(environment, kinds):
                round_.reserve(instance, job.needs)
                return None
            else:
                obstacle = obstacle or NO_CAPACITY.format(kind=kinds[0])
        return None if waits else obstacle

    def _start(self, job: SandboxJob, environment: SandboxEnvironment) -> bool:
        for instance in self._fleet.alive(environment):
            if instance.accepts_jobs and fits(job.needs, instance.free):
                self._attempts.begin(job, instance)
                return True
        return False

    def _await_boot(
        self, job: SandboxJob, environment: SandboxEnvironment, round_: _PlacementRound
    ) -> bool:
        return any(
            instance.state == "booting"
            and instance.dies_at is None
            and round_.reserve(instance, job.needs)
            for instance in self._fleet.alive(environment)
        )

    def _may_grow(self, environment: SandboxEnvironment, kinds: list[str]) -> bool:
        least = min(TYPES[kind].vcpus for kind in kinds)
        most: int = environment.resources["maxvCpus"]
        return self._fleet.vcpus(environment) + least <= most

    # waiting

    def _note_blocked(self, job: SandboxJob, reason: str) -> None:
        """The head of a queue cannot start: Batch says why after a while, and acts on it."""
        now = self._clock.now()
        if job.blocked_since is None:
            job.blocked_since = now
        blocked = now - job.blocked_since
        if blocked >= self._config.blocked_seconds:
            job.reason = reason
        for limit in job.queue.time_limits:
            if (job.reason or "").startswith(limit["reason"]) and blocked >= limit[
                "maxTimeSeconds"
            ]:
                job.is_cancelled = True
                self._attempts.finish(job, FAILED, TIME_LIMIT.format(reason=limit["reason"]))
                return

    def _note_unmet(self, job: SandboxJob, round_: _PlacementRound) -> None:
        """Batch goes on wishing for machines: what waits counts to desiredvCpus."""
        for environment in job.queue.environments:
            kinds = self._fleet.kinds_for(environment, job.needs)
            if environment.can_run_jobs and kinds:
                round_.unmet[environment] += min(TYPES[kind].vcpus for kind in kinds)
                return

    def _keep_minimum(self) -> None:
        """minvCpus are kept even by a disabled environment; desiredvCpus are launched once."""
        for environment in self._state.environments.values():
            if environment.status != "VALID":
                continue
            wanted = max(environment.asked_vcpus, environment.resources["minvCpus"])
            environment.asked_vcpus = 0
            kinds = self._fleet.kinds_for(environment, {})
            while self._fleet.vcpus(environment) < wanted and self._may_grow(environment, kinds):
                if self._fleet.launch(environment, kinds) is None:
                    break
