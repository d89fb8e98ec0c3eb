"""Temporary compute: machines and queues that exist for one command only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from odins_ravne_assets.cli.terminal import print_log
from resources.compute.environment import ComputeEnvironment
from resources.settings.profile import Aws

# Those of the smallest GPU machines, which run one job each.
VCPUS_PER_JOB = 4


@contextmanager
def temporary_compute(aws: Aws, cameras: int) -> Iterator[None]:
    """Set up compute for a number of parallel cameras, and tear it down however the block ends.

    Jobs that are left then are terminated, since no process would monitor them.
    """
    compute = ComputeEnvironment(aws)
    try:
        compute.setup(cameras, on_step=print_log)
        yield
    finally:
        print_log("Tearing down machines and queues.")
        compute.teardown(force=True, on_step=print_log)


def update_compute_limits(aws: Aws, max_vcpus: int | None, on_step: Callable[[str], None]) -> None:
    """Apply the profile's bid, and a vCPU limit, to the compute environments that exist.

    Nothing is created: without environments, the launch fails with the command that does.

    Args:
        max_vcpus: None keeps the size of the environments.

    Raises:
        RavneError: AWS refuses.
        UsageError: even the smallest machine has more than `max_vcpus` vCPUs.
    """
    compute = ComputeEnvironment(aws)
    found = [environment.max_vcpus for environment in compute.status().environments]
    if found:
        most = max(found) if max_vcpus is None else max_vcpus
        compute.setup(max(1, most // VCPUS_PER_JOB), on_step=on_step)
