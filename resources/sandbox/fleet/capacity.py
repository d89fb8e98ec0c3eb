"""How many machines can be had: limits set from outside, and the account's quotas."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from resources.sandbox.model.prices import ANY, InstanceLifecycle


class LimitedMachine(Protocol):
    """What counts against a limit."""

    lifecycle: InstanceLifecycle
    kind: str
    zone: str
    vcpus: int


class Limit(NamedTuple):
    """Where a limit holds; `*` stands for every type or zone."""

    lifecycle: InstanceLifecycle
    kind: str
    zone: str

    def covers(self, lifecycle: InstanceLifecycle, kind: str, zone: str) -> bool:
        return self.lifecycle == lifecycle and self.kind in (ANY, kind) and self.zone in (ANY, zone)


class Capacity:
    """The cloud's room for machines.

    Args:
        quotas: vCPUs that the account may run at once, by life-cycle.
    """

    def __init__(self, quotas: dict[InstanceLifecycle, int]) -> None:
        self.quotas = quotas
        self._limits: dict[Limit, int] = {}

    def set(
        self, lifecycle: InstanceLifecycle, machines: int | None, kind: str = ANY, zone: str = ANY
    ) -> None:
        """At most so many machines at once; None lifts the limit. Running ones stay."""
        limit = Limit(lifecycle, kind, zone)
        if machines is None:
            self._limits.pop(limit, None)
        else:
            self._limits[limit] = machines

    def has_room(
        self,
        lifecycle: InstanceLifecycle,
        kind: str,
        zone: str,
        vcpus: int,
        running: Iterable[LimitedMachine],
    ) -> bool:
        """Whether one more machine can be had beside those that run."""
        rivals = [machine for machine in running if machine.lifecycle == lifecycle]
        if sum(machine.vcpus for machine in rivals) + vcpus > self.quotas[lifecycle]:
            return False
        return all(
            sum(limit.covers(lifecycle, m.kind, m.zone) for m in rivals) < most
            for limit, most in self._limits.items()
            if limit.covers(lifecycle, kind, zone)
        )
