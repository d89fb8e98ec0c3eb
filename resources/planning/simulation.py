"""Machines that do work and are taken away at random, many times over: what a plan's range is from.

The mean is that of `spot_economics.machine_seconds`, within 1 %.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from resources.pricing.economics import FREE_INTERRUPTION_SECONDS, HOUR_SECONDS, Overheads

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class SimulatedMachines:
    """One value for each time that a machine's jobs were simulated, in seconds.

    Args:
        lived: of all machines that it took, from launch to end.
        charged: without those of machines that EC2 took in their first hour.
        elapsed: from the first launch to the end of the last job.
    """

    lived: Array
    charged: Array
    elapsed: Array


def simulate(
    job_seconds: Array,
    jobs: int,
    overheads: Overheads,
    interruptions_per_hour: Array,
    slower_start: Array,
    random: np.random.Generator,
) -> SimulatedMachines:
    """Do the jobs of one machine, one after the other, as often as the arrays are long.

    Args:
        job_seconds: work of each job, in each simulation. What is finished is not lost with the
            machine, a start is.
        interruptions_per_hour: of each simulation; 0: none.
        slower_start: of each simulation: how many times as long booting, starting and idling take.
        random: the same state gives the same result.
    """
    count = len(job_seconds)
    machine = _Machines(interruptions_per_hour, random)
    first_start = (overheads.boot_seconds + overheads.start_seconds) * slower_start
    to_start = first_start.copy()
    for _ in range(jobs):
        left = job_seconds.copy()
        busy = np.arange(count)
        while busy.size:
            seconds = to_start[busy] + left[busy]
            lost = machine.age[busy] + seconds > machine.life[busy]
            worked = machine.life[busy] - machine.age[busy] - to_start[busy]
            machine.age[busy[~lost]] += seconds[~lost]
            left[busy[lost]] -= np.maximum(worked[lost], 0.0)
            busy = busy[lost]
            machine.replace(busy)
            to_start[busy] = first_start[busy]
        to_start = overheads.start_seconds * slower_start
    elapsed = machine.lived + machine.age
    machine.age += overheads.idle_seconds * slower_start
    taken = machine.age > machine.life
    age = np.minimum(machine.age, machine.life)
    free = taken & (age < FREE_INTERRUPTION_SECONDS)
    return SimulatedMachines(
        machine.lived + age, machine.charged + np.where(free, 0.0, age), elapsed
    )


class _Machines:
    """The machine of each simulation: its age, when it will be taken, and those before it."""

    def __init__(self, interruptions_per_hour: Array, random: np.random.Generator) -> None:
        count = len(interruptions_per_hour)
        self._random = random
        self._mean = np.full(count, np.inf)
        np.divide(
            HOUR_SECONDS, interruptions_per_hour, out=self._mean, where=interruptions_per_hour > 0
        )
        self.age = np.zeros(count)
        self.life = self._lives(np.arange(count))
        self.lived = np.zeros(count)
        self.charged = np.zeros(count)

    def replace(self, which: np.ndarray[Any, np.dtype[np.intp]]) -> None:
        """EC2 takes the machines of these simulations; each gets another."""
        life = self.life[which]
        self.lived[which] += life
        self.charged[which] += np.where(life < FREE_INTERRUPTION_SECONDS, 0.0, life)
        self.age[which] = 0.0
        self.life[which] = self._lives(which)

    def _lives(self, which: np.ndarray[Any, np.dtype[np.intp]]) -> Array:
        return np.asarray(self._random.standard_exponential(len(which)) * self._mean[which])
