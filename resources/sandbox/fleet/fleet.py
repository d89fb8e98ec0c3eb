"""The fleet of machines: launched for jobs, interrupted by EC2, terminated when idle."""

import random
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from resources.clock import Clock
from resources.sandbox.fleet.capacity import Capacity
from resources.sandbox.fleet.instances import (
    Instance,
    InstanceState,
    ResourceNeeds,
    capacity_of,
    fits,
)
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

# Strategies that follow the order of the list; the others choose the lowest available price.
ORDERED_STRATEGIES = {"BEST_FIT_PROGRESSIVE_ORDERED", "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED"}


class _CapacityPool(NamedTuple):
    """A capacity pool: one type in one zone. Pools sort by `rank`, then by price."""

    rank: int
    price: float
    kind: str
    zone: str
    subnet: str


class Fleet:
    """The machines of all compute environments.

    Args:
        services: EC2 and ECS, in which the machines are registered.
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
        self._ticked_at = clock.now()
        self.rate = config.interruption_rate
        self.instances: list[Instance] = []
        self._alive: list[Instance] = []
        self._terminated: deque[Instance] = deque()

    def alive(self, environment: SandboxEnvironment | None = None) -> Iterator[Instance]:
        """Yield machines that are not terminated, of one environment or all."""
        for instance in self._alive:
            if environment in (None, instance.environment):
                yield instance

    def vcpus(self, environment: SandboxEnvironment) -> int:
        return sum(instance.vcpus for instance in self.alive(environment))

    # launch

    def kinds_for(self, environment: SandboxEnvironment, needs: ResourceNeeds) -> list[str]:
        """Return the environment's types that fit such a job, in its order."""
        return [kind for kind in _kinds(environment) if fits(needs, capacity_of(TYPES[kind]))]

    def launch(self, environment: SandboxEnvironment, kinds: Sequence[str]) -> Instance | None:
        """Launch a machine of one of these types; return None if none is available."""
        lifecycle = SPOT if environment.is_spot else ON_DEMAND
        pools = sorted(self._pools(environment, kinds, lifecycle))
        if not pools:
            return None
        pool, now = pools[0], floor_seconds(self._clock.now())
        resources = environment.resources
        instance_id = self._services.run_instance(
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
            interruption_threshold=self._random.expovariate(1.0),
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

    # time

    def tick(self) -> list[Instance]:
        """Advance to the present time, and return the machines that EC2 terminates now."""
        now = self._clock.now()
        passed, self._ticked_at = now - self._ticked_at, now
        lost = []
        for instance in list(self.alive()):
            if instance.state == InstanceState.BOOTING and now >= instance.ready_at:
                cluster = instance.environment.cluster
                container_instance = self._services.register_container_instance(
                    cluster, instance.id
                )
                instance.set_ready(container_instance)
            if instance.lifecycle == SPOT and instance.terminates_at is None:
                self._maybe_interrupt(instance, passed)
            if instance.terminates_at is not None and now >= instance.terminates_at:
                lost.append(instance)
        retention = self._config.terminated_retention_seconds
        while self._terminated and now - (self._terminated[0].ended or now) > retention:
            self._services.remove_instance(self._terminated.popleft().id)
        return lost

    def _maybe_interrupt(self, instance: Instance, passed: float) -> None:
        instance.interruption_threshold -= self.rate * passed / 3600
        if instance.interruption_threshold <= 0:
            self.interrupt(instance, "rate")
        elif self._market.price(instance.kind, instance.zone, SPOT) > _bid(
            instance.environment, instance.kind
        ):
            self.interrupt(instance, "price")

    def interrupt(self, instance: Instance, cause: str, notice: bool = True) -> None:
        """Interrupt a spot machine: after a notice, or at once."""
        instance.has_notice = notice
        instance.terminates_at = self._clock.now() + (
            self._config.notice_seconds if notice else 0.0
        )
        self._events.add("interruption", instance=instance.id, cause=cause, notice=notice)

    def reprice(self, kind: str) -> None:
        """Charge the machines of a type the market's present price from now on."""
        now = floor_seconds(self._clock.now())
        for instance in self.alive():
            if instance.lifecycle == SPOT and instance.kind == kind:
                instance.reprice(now, self._market.price(kind, instance.zone, SPOT))

    # termination

    def terminate(self, instance: Instance, interrupted: bool = False) -> None:
        """Terminate a machine."""
        now = floor_seconds(self._clock.now())
        instance.terminate(now, interrupted)
        if instance.container_instance is not None:
            self._services.deregister_container_instance(
                instance.environment.cluster, instance.container_instance
            )
        self._services.terminate(instance.id, interrupted, now)
        self._alive.remove(instance)
        self._terminated.append(instance)
        self._events.add("terminate", instance=instance.id, interrupted=interrupted)

    def replace_all(self, environment: SandboxEnvironment) -> None:
        """Replace machines after an infrastructure update: each ends after its present jobs."""
        for instance in self.alive(environment):
            instance.is_outdated = True

    def scale_in(self) -> None:
        """Terminate idle machines, down to each environment's minimum."""
        now = self._clock.now()
        for instance in list(self._alive):
            if instance.jobs or instance.terminates_at is not None:
                continue
            environment = instance.environment
            is_spare = (
                instance.state == InstanceState.READY
                and now - instance.idle_since >= self._config.idle_seconds
                and self.vcpus(environment) - instance.vcpus >= environment.resources["minvCpus"]
            )
            if is_spare or instance.is_outdated:
                self.terminate(instance)


def _kinds(environment: SandboxEnvironment) -> list[str]:
    """Return the types by name; a family, as `g5`, stands for all its types."""
    return [
        kind
        for wanted in environment.resources["instanceTypes"]
        for kind in TYPES
        if wanted in (kind, kind.partition(".")[0])
    ]


def _bid(environment: SandboxEnvironment, kind: str) -> float:
    """Return the maximum price in USD per hour."""
    percent: int = environment.resources.get("bidPercentage", 100)
    return TYPES[kind].on_demand * percent / 100
