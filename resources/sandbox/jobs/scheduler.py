"""The scheduler of AWS Batch: placement of jobs, launch of machines, reasons of waiting jobs."""

from collections import defaultdict

from resources.aws.batch_states import JobStatus, ResourceStatus
from resources.clock import Clock
from resources.sandbox.fleet.fleet import Fleet
from resources.sandbox.fleet.instances import Instance, InstanceState, ResourceNeeds, fits
from resources.sandbox.jobs.attempts import Attempts
from resources.sandbox.jobs.jobs import SandboxJob
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
    """The reservations on booting machines, and the pending vCPUs, of one placement round."""

    def __init__(self) -> None:
        self.booting: dict[str, ResourceNeeds] = {}
        self.pending_vcpus: dict[SandboxEnvironment, int] = defaultdict(int)

    def reserve(self, instance: Instance, needs: ResourceNeeds) -> bool:
        """Reserve resources of a booting machine for a job; return False if it does not fit."""
        free = self.booting.setdefault(instance.id, dict(instance.free))
        if not fits(needs, free):
            return False
        for key, amount in needs.items():
            free[key] -= amount
        return True


class Scheduler:
    """Advances jobs, machines and resources in ticks. The caller holds the state's lock."""

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

    def tick(self) -> None:
        """Advance everything to the present time."""
        self._update_resources()
        for instance in self._fleet.tick():
            for job_id in list(instance.jobs):
                self._attempts.lose_host(self._state.jobs[job_id], instance)
            self._fleet.terminate(instance, interrupted=True)
        for job in self._state.live_jobs():
            self._attempts.tick(job)
        self._place()
        self._launch_minimum()
        self._fleet.scale_in()

    def _update_resources(self) -> None:
        for deleted in self._state.update_statuses(self._clock.now()):
            if isinstance(deleted, SandboxEnvironment):
                for instance in list(self._fleet.alive(deleted)):
                    self._fleet.terminate(instance)
                self._services.delete_cluster(deleted.cluster)
            for job in self._state.live_jobs():
                if job.queue is deleted and job.instance is None:
                    self._attempts.finish(job, JobStatus.FAILED, QUEUE_DELETED)

    # placement

    def _place(self) -> None:
        """Place queues by priority, and each in order: a job that cannot start blocks the rest."""
        round_ = _PlacementRound()
        waiting: dict[JobQueue, list[SandboxJob]] = defaultdict(list)
        for job in self._state.live_jobs():
            if job.status == JobStatus.RUNNABLE and job.stop is None:
                waiting[job.queue].append(job)
        for queue in sorted(waiting, key=lambda queue: -queue.priority):
            self._place_queue(waiting[queue], round_)
        for environment in self._state.environments.values():
            environment.pending_vcpus = round_.pending_vcpus[environment]

    def _place_queue(self, jobs: list[SandboxJob], round_: _PlacementRound) -> None:
        for position, job in enumerate(jobs):
            blocked = self._place_job(job, round_)
            if blocked is None:
                job.blocked_since = None
                continue
            self._mark_blocked(job, blocked)
            for waiting in jobs[position:]:
                self._count_pending(waiting, round_)
            return

    def _place_job(self, job: SandboxJob, round_: _PlacementRound) -> str | None:
        """Start a job, or reserve a booting machine; return the reason if neither is possible."""
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
                waits = True  # for a running machine, unless another environment takes the job
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
            instance.state == InstanceState.BOOTING
            and instance.terminates_at is None
            and round_.reserve(instance, job.needs)
            for instance in self._fleet.alive(environment)
        )

    def _may_grow(self, environment: SandboxEnvironment, kinds: list[str]) -> bool:
        smallest = min(TYPES[kind].vcpus for kind in kinds)
        maximum: int = environment.resources["maxvCpus"]
        return self._fleet.vcpus(environment) + smallest <= maximum

    # waiting jobs

    def _mark_blocked(self, job: SandboxJob, reason: str) -> None:
        """Set the reason of a queue's head after a while, and apply the queue's time limits."""
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
                self._attempts.finish(
                    job, JobStatus.FAILED, TIME_LIMIT.format(reason=limit["reason"])
                )
                return

    def _count_pending(self, job: SandboxJob, round_: _PlacementRound) -> None:
        """Count the vCPUs of a waiting job, which are part of desiredvCpus."""
        for environment in job.queue.environments:
            kinds = self._fleet.kinds_for(environment, job.needs)
            if environment.can_run_jobs and kinds:
                round_.pending_vcpus[environment] += min(TYPES[kind].vcpus for kind in kinds)
                return

    def _launch_minimum(self) -> None:
        """Launch minvCpus, even of a disabled environment, and once the desiredvCpus."""
        for environment in self._state.environments.values():
            if environment.status != ResourceStatus.VALID:
                continue
            wanted = max(environment.requested_vcpus, environment.resources["minvCpus"])
            environment.requested_vcpus = 0
            kinds = self._fleet.kinds_for(environment, {})
            while self._fleet.vcpus(environment) < wanted and self._may_grow(environment, kinds):
                if self._fleet.launch(environment, kinds) is None:
                    break
