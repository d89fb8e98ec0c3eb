"""The capacity for machines: limits set by the user of the sandbox, and the account's quotas."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from resources.sandbox.model.prices import ANY, InstanceLifecycle


class LimitedMachine(Protocol):
    """A machine that counts against a limit."""

    lifecycle: InstanceLifecycle
    kind: str
    zone: str
    vcpus: int


class Limit(NamedTuple):
    """The machines that a limit counts; `*` stands for every type or zone."""

    lifecycle: InstanceLifecycle
    kind: str
    zone: str

    def covers(self, lifecycle: InstanceLifecycle, kind: str, zone: str) -> bool:
        return self.lifecycle == lifecycle and self.kind in (ANY, kind) and self.zone in (ANY, zone)


class Capacity:
    """The machines that EC2 can launch.

    Args:
        quotas: maximum vCPUs of the account, by lifecycle.
    """

    def __init__(self, quotas: dict[InstanceLifecycle, int]) -> None:
        self.quotas = quotas
        self._limits: dict[Limit, int] = {}

    def set(
        self, lifecycle: InstanceLifecycle, machines: int | None, kind: str = ANY, zone: str = ANY
    ) -> None:
        """Set the maximum of machines; None removes the limit. Running machines continue."""
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
        """True if one more machine can be launched in addition to those that run."""
        counted = [machine for machine in running if machine.lifecycle == lifecycle]
        if sum(machine.vcpus for machine in counted) + vcpus > self.quotas[lifecycle]:
            return False
        return all(
            sum(limit.covers(lifecycle, m.kind, m.zone) for m in counted) < maximum
            for limit, maximum in self._limits.items()
            if limit.covers(lifecycle, kind, zone)
        )
