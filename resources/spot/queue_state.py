"""The reason why a job waits in a spot queue, and how long it has starved. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class EnvironmentVcpus:
    """The vCPUs of the spot compute environment.

    Args:
        max_vcpus: its maximum.
        machine_vcpus: of its machines, running or booting. Not desiredvCpus, which Batch sets even
            if EC2 has no machine to give.
        busy_vcpus: of jobs that are starting or running, of all runs.
    """

    max_vcpus: int
    machine_vcpus: int
    busy_vcpus: int


class QueueState(StrEnum):
    """The reason why a job is RUNNABLE and not yet starting. The values appear in logs."""

    MACHINE_COMING = "a machine is free or booting for it"
    FULL = "the environment is full"
    STARVING = "the environment could grow and does not"


def queue_states(environment: EnvironmentVcpus, vcpus: Sequence[int]) -> list[QueueState]:
    """Return the state of each waiting job.

    Args:
        vcpus: of each waiting job, in order of dispatch: all jobs of all queues on the
            environment, including those of other runs.
    """
    spare = environment.machine_vcpus - environment.busy_vcpus
    room = environment.max_vcpus - environment.machine_vcpus
    found = []
    for needed in vcpus:
        if spare >= needed:
            spare -= needed
            found.append(QueueState.MACHINE_COMING)
        elif room >= needed:
            room -= needed
            found.append(QueueState.STARVING)
        else:
            found.append(QueueState.FULL)
    return found


@dataclass(frozen=True)
class StarvationTimer:
    """The time since when a job starves without interruption; None if it does not."""

    since: float | None = None

    def update(self, now: float, starving: bool) -> "StarvationTimer":
        """Return the timer after another poll."""
        if not starving:
            return StarvationTimer()
        return self if self.since is not None else StarvationTimer(now)

    def seconds(self, now: float) -> float:
        """Return how long the job has starved."""
        return 0.0 if self.since is None else max(0.0, now - self.since)
