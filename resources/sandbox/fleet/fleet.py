"""All machines: launched for jobs, taken away by EC2, ended when idle."""

import random
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from resources.clock import Clock
from resources.sandbox.fleet.capacity import Capacity
from resources.sandbox.fleet.instances import Instance, ResourceNeeds, capacity_of, fits
from resources.sandbox.model.config import SandboxConfig
from resources.sandbox.model.environments import SandboxEnvironment
from resources.sandbox.model.events import Events
from resources.sandbox.model.moto_services import MotoServices
from resources.sandbox.model.prices import (
    ON_DEMAND,
    SPOT,
    TYPES,
    InstanceLifecycle,
    SpotMarket,
    floor_seconds,
)

# Strategies that go by the order of the list; the others take the lowest price that can be had.
ORDERED_STRATEGIES = {"BEST_FIT_PROGRESSIVE_ORDERED", "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED"}


class _CapacityPool(NamedTuple):
    """Machines of one type in one zone. Pools sort by `rank`, then by price."""

    rank: int
    price: float
    kind: str
    zone: str
    subnet: str


class Fleet:
    """The machines of all compute environments.

    Args:
        services: where EC2 and ECS hear of them.
    """

    def __init__(
        self,
        config: SandboxConfig,
        clock: Clock,
        market: SpotMarket,
        capacity: Capacity,
        services: MotoServices,
        events: Events,
    ) -> None:
        self._config = config
        self._clock = clock
        self._market = market
        self._capacity = capacity
        self._services = services
        self._events = events
        self._random = random.Random(config.seed)
        self._looked_at = clock.now()
        self.rate = config.interruption_rate
        self.instances: list[Instance] = []
        self._alive: list[Instance] = []
        self._remembered: deque[Instance] = deque()

    def alive(self, environment: SandboxEnvironment | None = None) -> Iterator[Instance]:
        """Machines that are not gone, of one environment or all."""
        for instance in self._alive:
            if environment in (None, instance.environment):
                yield instance

    def vcpus(self, environment: SandboxEnvironment) -> int:
        return sum(instance.vcpus for instance in self.alive(environment))

    # growing

    def kinds_for(self, environment: SandboxEnvironment, needs: ResourceNeeds) -> list[str]:
        """The environment's types that have room for such a job, in its order."""
        return [kind for kind in _kinds(environment) if fits(needs, capacity_of(TYPES[kind]))]

    def launch(self, environment: SandboxEnvironment, kinds: Sequence[str]) -> Instance | None:
        """One more machine of one of these types, or None if none can be had now."""
        lifecycle = SPOT if environment.is_spot else ON_DEMAND
        pools = sorted(self._pools(environment, kinds, lifecycle))
        if not pools:
            return None
        pool, now = pools[0], floor_seconds(self._clock.now())
        resources = environment.resources
        instance_id = self._services.launch(
            pool.kind,
            lifecycle,
            pool.subnet,
            resources["securityGroupIds"],
            {"AWSBatchServiceTag": "batch", **resources.get("tags", {})},
            now,
        )
        instance = Instance(
            instance_id,
            environment,
            pool.kind,
            pool.zone,
            lifecycle,
            launched=now,
            ready_at=now + self._config.boot_seconds,
            price=pool.price,
            patience=self._random.expovariate(1.0),
        )
        self.instances.append(instance)
        self._alive.append(instance)
        self._events.add(
            "launch", instance=instance.id, environment=environment.name, kind=pool.kind,
            zone=pool.zone, lifecycle=lifecycle, price=pool.price,
        )  # fmt: skip
        return instance

    def _pools(
        self, environment: SandboxEnvironment, kinds: Sequence[str], lifecycle: InstanceLifecycle
    ) -> Iterator[_CapacityPool]:
        resources = environment.resources
        ordered = resources["allocationStrategy"] in ORDERED_STRATEGIES
        running = list(self.alive())
        for subnet in resources["subnets"]:
            zone = self._services.zone_of(subnet)
            for rank, kind in enumerate(kinds):
                if zone is None or not self._market.offers(kind, zone):
                    continue
                price = self._market.price(kind, zone, lifecycle)
                vcpus = TYPES[kind].vcpus
                if price <= _bid(environment, kind) and self._capacity.has_room(
                    lifecycle, kind, zone, vcpus, running
                ):
                    yield _CapacityPool(rank if ordered else 0, price, kind, zone, subnet)

    # living

    def look(self) -> list[Instance]:
        """Let time pass. Returns the machines that EC2 took away just now."""
        now = self._clock.now()
        passed, self._looked_at = now - self._looked_at, now
        lost = []
        for instance in list(self.alive()):
            if instance.state == "booting" and now >= instance.ready_at:
                cluster = instance.environment.cluster
                instance.boot(self._services.register(cluster, instance.id))
            if instance.lifecycle == SPOT and instance.dies_at is None:
                self._tempt_fate(instance, passed)
            if instance.dies_at is not None and now >= instance.dies_at:
                lost.append(instance)
        retention = self._config.terminated_retention_seconds
        while self._remembered and now - (self._remembered[0].ended or now) > kept:
            self._services.forget(self._remembered.popleft().id)
        return lost

    def _tempt_fate(self, instance: Instance, passed: float) -> None:
        instance.patience -= self.rate * passed / 3600
        if instance.patience <= 0:
            self.interrupt(instance, "rate")
        elif self._market.price(instance.kind, instance.zone, SPOT) > _bid(
            instance.environment, instance.kind
        ):
            self.interrupt(instance, "price")

    def interrupt(self, instance: Instance, cause: str, notice: bool = True) -> None:
        """EC2 wants a machine back: after its notice, or at once."""
        instance.notified = notice
        instance.dies_at = self._clock.now() + (self._config.notice_seconds if notice else 0.0)
        self._events.add("interruption", instance=instance.id, cause=cause, notice=notice)

    def reprice(self, kind: str) -> None:
        """Let the machines of a type pay the market's price from now on."""
        now = floor_seconds(self._clock.now())
        for instance in self.alive():
            if instance.lifecycle == SPOT and instance.kind == kind:
                instance.reprice(now, self._market.price(kind, instance.zone, SPOT))

    # shrinking

    def end(self, instance: Instance, interrupted: bool = False) -> None:
        """Terminate a machine."""
        now = floor_seconds(self._clock.now())
        instance.end(now, interrupted)
        if instance.container_instance is not None:
            self._services.deregister(instance.environment.cluster, instance.container_instance)
        self._services.terminate(instance.id, interrupted, now)
        self._alive.remove(instance)
        self._remembered.append(instance)
        self._events.add("terminate", instance=instance.id, interrupted=interrupted)

    def replace_all(self, environment: SandboxEnvironment) -> None:
        """An infrastructure update: no machine gets new jobs; each goes when its jobs are done."""
        for instance in self.alive(environment):
            instance.outdated = True

    def scale_in(self) -> None:
        """End what has been idle for long, down to each environment's minimum."""
        now = self._clock.now()
        for instance in list(self._alive):
            if instance.jobs or instance.dies_at is not None:
                continue
            environment = instance.environment
            is_spare = (
                instance.state == "ready"
                and now - instance.idle_since >= self._config.idle_seconds
                and self.vcpus(environment) - instance.vcpus >= environment.resources["minvCpus"]
            )
            if is_spare or instance.outdated:
                self.end(instance)


def _kinds(environment: SandboxEnvironment) -> list[str]:
    """Types by name; a family, as `g5`, stands for all its types."""
    return [
        kind
        for wanted in environment.resources["instanceTypes"]
        for kind in TYPES
        if wanted in (kind, kind.partition(".")[0])
    ]


def _bid(environment: SandboxEnvironment, kind: str) -> float:
    """The most that an hour may cost."""
    percent: int = environment.resources.get("bidPercentage", 100)
    return TYPES[kind].on_demand * percent / 100
