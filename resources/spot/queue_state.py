"""Why a job waits in a spot queue, and since when it starves. Pure, as `policy.py` is."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class EnvironmentVcpus:
    """The spot compute environment, in vCPUs.

    Args:
        max_vcpus: what it may grow to.
        machine_vcpus: of the machines that it has, running or booting. Not what Batch wishes for
            (desiredvCpus): it keeps wishing when EC2 has no machine to give.
        busy_vcpus: taken by jobs that are starting or running, of all runs.
    """

    max_vcpus: int
    machine_vcpus: int
    busy_vcpus: int


class QueueState(StrEnum):
    """Why a job is RUNNABLE and not yet starting."""

    MACHINE_COMING = "a machine is free or booting for it"
    FULL = "the environment is full"
    STARVING = "the environment could grow and does not"


def queue_states(environment: EnvironmentVcpus, vcpus: Sequence[int]) -> list[QueueState]:
    """Why each waiting job waits.

    Args:
        vcpus: those that each waiting job needs, in order of dispatch: all jobs of all queues on
            the environment, those of other runs as well.
    """
    spare = environment.machine_vcpus - environment.busy_vcpus
    room = environment.max_vcpus - environment.machine_vcpus
    found = []
    for need in vcpus:
        if spare >= need:
            spare -= need
            found.append(QueueState.MACHINE_COMING)
        elif room >= need:
            room -= need
            found.append(QueueState.STARVING)
        else:
            found.append(QueueState.FULL)
    return found


@dataclass(frozen=True)
class StarvationTimer:
    """Since when a job starves without a break; None: it does not."""

    since: float | None = None

    def update(self, now: float, starving: bool) -> "StarvationTimer":
        """The timer after another look."""
        if not starving:
            return StarvationTimer()
        return self if self.since is not None else StarvationTimer(now)

    def seconds(self, now: float) -> float:
        """How long it has starved."""
        return 0.0 if self.since is None else max(0.0, now - self.since)
