"""Machines and queues for one call of the command: set up before it, torn down after it."""

from collections.abc import Iterator
from contextlib import contextmanager

from odins_ravne_assets.cli.terminal import err
from resources.compute.environment import ComputeEnvironment
from resources.settings.profile import Aws


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
