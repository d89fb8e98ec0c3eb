"""A machine of a compute environment: its capacity, state and cost."""

import json
from datetime import UTC, datetime
from enum import StrEnum

from resources.sandbox.fleet.bill import (
    AttemptInterval,
    AttemptLine,
    BillLine,
    Price,
    charge,
    cost_of_attempt,
    is_free,
    on_demand_charge,
    usage_type,
)
from resources.sandbox.fleet.metadata_service import MetadataService
from resources.sandbox.model.config import ACCOUNT
from resources.sandbox.model.environments import SandboxEnvironment
from resources.sandbox.model.prices import TYPES, InstanceLifecycle, InstanceType

# The resources that a job requests: VCPU, MEMORY (MiB) and GPU.
ResourceNeeds = dict[str, float]
# MiB for the operating system and the ECS agent.
RESERVED_MIB = 1024


def capacity_of(kind: InstanceType) -> ResourceNeeds:
    """Return the resources of a machine that jobs can use."""
    return {"VCPU": kind.vcpus, "MEMORY": kind.memory_mib - RESERVED_MIB, "GPU": kind.gpus}


def fits(needs: ResourceNeeds, free: ResourceNeeds) -> bool:
    return all(free[key] >= amount for key, amount in needs.items())


class InstanceState(StrEnum):
    """The state of a machine; it accepts jobs while it is READY."""

    BOOTING = "booting"
    READY = "ready"
    TERMINATED = "terminated"


class Instance:
    """A machine. Times in seconds since 1970 UTC.

    Args:
        price: USD per hour at its launch.
        interruption_threshold: cumulative interruption rate (per hour, times hours) at which it is
            interrupted: the exponential draw of a Poisson process.
    """

    def __init__(
        self,
        instance_id: str,
        environment: SandboxEnvironment,
        kind: str,
        zone: str,
        lifecycle: InstanceLifecycle,
        launched: float,
        ready_at: float,
        price: float,
        interruption_threshold: float,
    ) -> None:
        self.id = instance_id
        self.environment = environment
        self.kind = kind
        self.zone = zone
        self.lifecycle = lifecycle
        self.launched = launched
        self.ready_at = ready_at
        self.interruption_threshold = interruption_threshold
        self.state = InstanceState.BOOTING
        self.vcpus = TYPES[kind].vcpus
        self.free = capacity_of(TYPES[kind])
        self.jobs: dict[str, ResourceNeeds] = {}
        self.idle_since = ready_at
        self.ended: float | None = None
        self.terminates_at: float | None = None
        self.has_notice = False
        self.interrupted = False
        self.is_outdated = False
        self.container_instance: str | None = None
        self.metadata_service: MetadataService | None = None
        self.attempts: list[AttemptInterval] = []
        self._prices = [Price(launched, price)]
        self._busy_seconds = 0.0
        self._busy_since: float | None = None

    def set_ready(self, container_instance: str) -> None:
        """Accept jobs from now on."""
        self.state = InstanceState.READY
        self.container_instance = container_instance
        self.metadata_service = MetadataService(self)

    def terminate(self, now: float, interrupted: bool) -> None:
        """Set the state and end the bill."""
        self._stop_busy(now)
        self.state, self.ended, self.interrupted = InstanceState.TERMINATED, now, interrupted
        if self.metadata_service is not None:
            self.metadata_service.close()

    @property
    def accepts_jobs(self) -> bool:
        """False for a machine that is being drained: it gets no new jobs."""
        is_draining = self.terminates_at is not None or self.is_outdated
        return self.state == InstanceState.READY and not is_draining

    def reserve(self, job_id: str, needs: ResourceNeeds, now: float) -> None:
        """Reserve the resources of a job."""
        self.jobs[job_id] = needs
        for key, amount in needs.items():
            self.free[key] -= amount
        if self._busy_since is None:
            self._busy_since = now

    def release(self, job_id: str, now: float) -> None:
        """Release the resources of a job."""
        for key, amount in self.jobs.pop(job_id).items():
            self.free[key] += amount
        if not self.jobs:
            self._stop_busy(now)
            self.idle_since = now

    def _stop_busy(self, now: float) -> None:
        if self._busy_since is not None:
            self._busy_seconds += now - self._busy_since
            self._busy_since = None

    def reprice(self, now: float, per_hour: float) -> None:
        """Charge another price from now on."""
        self._prices.append(Price(now, per_hour))

    def bill(self, now: float) -> BillLine:
        """Return the cost until now."""
        until = self.ended if self.ended is not None else now
        seconds = until - self.launched
        busy = self._busy_seconds
        if self._busy_since is not None:
            busy += now - self._busy_since
        return BillLine(
            instance_id=self.id,
            environment=self.environment.name,
            instance_type=self.kind,
            zone=self.zone,
            lifecycle=self.lifecycle,
            launched=self.launched,
            ended=self.ended,
            interrupted=self.interrupted,
            seconds=seconds,
            busy_seconds=busy,
            cost=charge(self._prices, self.launched, until, self.interrupted),
            on_demand_cost=on_demand_charge(self.kind, seconds),
            usage_type=usage_type(self.kind, self.lifecycle),
            tags=self.environment.resources.get("tags", {}),
        )

    def attempt_bills(self, now: float) -> list[AttemptLine]:
        """Return the cost of each attempt that has ended on the machine."""
        until = self.ended if self.ended is not None else now
        free = is_free(self.launched, until, self.interrupted)
        return [
            AttemptLine(
                attempt.job_id,
                self.id,
                0.0 if free else cost_of_attempt(self._prices, attempt, self.attempts, until),
            )
            for attempt in self.attempts
        ]

    def metadata(self) -> dict[str, str]:
        """See metadata_service.DescribedInstance."""
        items = {
            "instance-id": self.id,
            "instance-type": self.kind,
            "instance-life-cycle": self.lifecycle.value,
            "placement/availability-zone": self.zone,
            "placement/region": self._region,
        }
        if self.has_notice and self.terminates_at is not None:
            when = datetime.fromtimestamp(self.terminates_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            items["spot/instance-action"] = json.dumps({"action": "terminate", "time": when})
            items["spot/termination-time"] = when
        return items

    def identity(self) -> dict[str, str]:
        """See metadata_service.DescribedInstance."""
        return {
            "accountId": ACCOUNT,
            "availabilityZone": self.zone,
            "instanceId": self.id,
            "instanceType": self.kind,
            "region": self._region,
        }

    @property
    def _region(self) -> str:
        return self.zone[:-1]
