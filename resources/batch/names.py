"""Names of job queues, compute environments and job definitions in the account; markets."""

from dataclasses import dataclass
from enum import StrEnum

from resources.pricing.prices import Market
from resources.settings.profile import Aws

ROOT_VOLUME_GB = 60  # the ECS image of AL2023 needs 30, the worker's image about 15


class Queue(StrEnum):
    """A job queue, without the account's prefix. The values are stored in records and ledgers."""

    SPOT_HIGH = "spot-high"
    SPOT = "spot"
    ON_DEMAND = "ondemand"


SPOT_QUEUES = (Queue.SPOT_HIGH, Queue.SPOT)
# AWS Batch schedules the jobs of an environment from the queue with the highest priority first.
QUEUE_PRIORITIES = {Queue.SPOT_HIGH: 100, Queue.SPOT: 10, Queue.ON_DEMAND: 10}

MARKET_LABELS: dict[Market, str] = {Market.SPOT: "spot", Market.ON_DEMAND: "on-demand"}


@dataclass(frozen=True)
class Names:
    """The names of the account's resources.

    Args:
        name: their prefix, `cloud.aws.name` of the profile.
    """

    name: str

    def environment(self, market: Market) -> str:
        return f"{self.name}-{market}"

    def queue(self, queue: Queue) -> str:
        return f"{self.name}-{queue}"

    @property
    def worker(self) -> str:
        """The job definition, and the launch template of its machines."""
        return f"{self.name}-worker"

    @property
    def environments(self) -> tuple[str, ...]:
        return self.environment(Market.SPOT), self.environment(Market.ON_DEMAND)

    @property
    def queues(self) -> tuple[str, ...]:
        return tuple(self.queue(queue) for queue in QUEUE_PRIORITIES)


def markets(aws: Aws) -> tuple[Market, ...]:
    """Return the markets that the profile allows, the preferred one first."""
    compute = aws.compute
    allowed: list[Market] = []
    if compute.spot_instances:
        allowed.append(Market.SPOT)
    if compute.fallback_to_ondemand or not compute.spot_instances:
        allowed.append(Market.ON_DEMAND)
    return tuple(allowed)
