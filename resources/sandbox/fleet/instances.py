"""One machine of a compute environment: its room, its life, what it costs."""

import json
from datetime import UTC, datetime
from typing import Literal

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
from resources.sandbox.model.prices import SPOT, TYPES, InstanceLifecycle, InstanceType

# What a job asks for: VCPU, MEMORY (MiB) and GPU.
ResourceNeeds = dict[str, float]
# MiB that the operating system and the ECS agent keep for themselves.
RESERVED_MIB = 1024


def capacity_of(kind: InstanceType) -> ResourceNeeds:
    """What jobs may use of a machine of this type."""
    return {"VCPU": kind.vcpus, "MEMORY": kind.memory_mib - RESERVED_MIB, "GPU": kind.gpus}


def fits(needs: ResourceNeeds, room: ResourceNeeds) -> bool:
    return all(room[key] >= amount for key, amount in needs.items())


class Instance:
    """A machine. `state` is booting, ready or terminated. Times in seconds since 1970 UTC.

    Args:
        price: USD per hour at its launch.
        patience: interruptions per hour, times hours, that it bears: the exponential draw of a
            Poisson process.
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
        patience: float,
    ) -> None:
        self.id = instance_id
        self.environment = environment
        self.kind = kind
        self.zone = zone
        self.lifecycle = lifecycle
        self.launched = launched
        self.ready_at = ready_at
        self.patience = patience
        self.state: Literal["booting", "ready", "terminated"] = "booting"
        self.vcpus = TYPES[kind].vcpus
        self.free = capacity_of(TYPES[kind])
        self.jobs: dict[str, ResourceNeeds] = {}
        self.idle_since = ready_at
        self.ended: float | None = None
        self.dies_at: float | None = None
        self.notified = False
        self.interrupted = False
        self.outdated = False
        self.container_instance: str | None = None
        self.metadata_service: MetadataService | None = None
        self.attempts: list[AttemptInterval] = []
        self._prices = [Price(launched, price)]
        self._busy_seconds = 0.0
        self._busy_since: float | None = None

    def boot(self, container_instance: str) -> None:
        """Take jobs from now on."""
        self.state = "ready"
        self.container_instance = container_instance
        self.metadata_service = MetadataService(self)

    def end(self, now: float, interrupted: bool) -> None:
        """Be gone."""
        self._stop_busy(now)
        self.state, self.ended, self.interrupted = "terminated", now, interrupted
        if self.metadata_service is not None:
            self.metadata_service.close()

    @property
    def accepts_jobs(self) -> bool:
        """ECS draining: a machine that is about to go gets nothing new."""
        return self.state == "ready" and self.dies_at is None and not self.outdated

    def take(self, job_id: str, needs: ResourceNeeds, now: float) -> None:
        """Give a job its room."""
        self.jobs[job_id] = needs
        for key, amount in needs.items():
            self.free[key] -= amount
        if self._busy_since is None:
            self._busy_since = now

    def release(self, job_id: str, now: float) -> None:
        """Take the room back."""
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
        """The market's price changed."""
        self._prices.append(Price(now, per_hour))

    def bill(self, now: float) -> BillLine:
        """What it has cost so far."""
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
        """What each attempt that has ended on it has cost, of a machine that has ended or not."""
        until = self.ended if self.ended is not None else now
        free = is_free(self.launched, until, self.interrupted)
        return [
            AttemptLine(
                ran.job_id,
                self.id,
                0.0 if free else cost_of_attempt(self._prices, ran, self.attempts, until),
            )
            for ran in self.attempts
        ]

    def metadata(self) -> dict[str, str]:
        """See metadata_service.Described."""
        items = {
            "instance-id": self.id,
            "instance-type": self.kind,
            "instance-life-cycle": "spot" if self.lifecycle == SPOT else "on-demand",
            "placement/availability-zone": self.zone,
            "placement/region": self._region,
        }
        if self.notified and self.dies_at is not None:
            when = datetime.fromtimestamp(self.dies_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            items["spot/instance-action"] = json.dumps({"action": "terminate", "time": when})
            items["spot/termination-time"] = when
        return items

    def identity(self) -> dict[str, str]:
        """See metadata_service.Described."""
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
