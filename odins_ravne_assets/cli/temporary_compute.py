"""Machines and queues for one call of the command: set up before it, torn down after it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from odins_ravne_assets.cli.terminal import err
from resources.compute.environment import ComputeEnvironment
from resources.settings.profile import Aws

# Of the smallest GPU machines, on each of which one job runs.
VCPUS_OF_A_JOB = 4


@contextmanager
def compute_around(aws: Aws, cameras: int) -> Iterator[None]:
    """Compute for so many cameras at once, taken away however the work within ends.

    Jobs that are still there then are terminated: nobody would be left to watch them.
    """
    compute = ComputeEnvironment(aws)
    try:
        compute.setup(cameras, on_step=_say)
        yield
    finally:
        err.print("Taking the machines and queues away.")
        compute.teardown(force=True, on_step=_say)


def _say(step: str) -> None:
    err.print(step, soft_wrap=True, markup=False)


def change_machines(aws: Aws, max_vcpus: int | None, on_step: Callable[[str], None]) -> None:
    """Change what is set up to a profile's bid, and to other limits if they are given.

    Nothing is set up that is not there: the launch says how to.

    Args:
        max_vcpus: None leaves the environments as large as they are.

    Raises:
        RavneError: AWS refuses.
        UsageError: not one machine is as small as `max_vcpus`.
    """
    compute = ComputeEnvironment(aws)
    found = [environment.max_vcpus for environment in compute.status().environments]
    if found:
        most = max(found) if max_vcpus is None else max_vcpus
        compute.setup(max(1, most // VCPUS_OF_A_JOB), on_step=on_step)
