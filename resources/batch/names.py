"""Names in the account: queues, compute environments, job definitions; their markets."""

from dataclasses import dataclass

from resources.pricing.prices import Market
from resources.settings.profile import Aws

# Among queues of one environment the higher number goes first.
QUEUE_PRIORITIES = {"spot-high": 100, "spot": 10, "ondemand": 10}
ROOT_VOLUME_GB = 60  # the ECS image of AL2023 needs 30, the worker's image about 15

SPOT_QUEUES = ("spot-high", "spot")

QUEUES = (*SPOT_QUEUES, "ondemand")

MARKET_LABELS: dict[Market, str] = {Market.SPOT: "spot", Market.ON_DEMAND: "on-demand"}


@dataclass(frozen=True)
class Names:
    """What things are called in the account."""

    name: str

    def environment(self, market: Market) -> str:
        return f"{self.name}-{market}"

    def queue(self, lane: str) -> str:
        return f"{self.name}-{lane}"

    @property
    def worker(self) -> str:
        """The job definition, and the launch template of the machines it runs on."""
        return f"{self.name}-worker"

    @property
    def environments(self) -> tuple[str, ...]:
        return self.environment(Market.SPOT), self.environment(Market.ON_DEMAND)

    @property
    def queues(self) -> tuple[str, ...]:
        return tuple(self.queue(lane) for lane in QUEUE_PRIORITIES)


def markets(aws: Aws) -> tuple[Market, ...]:
    """Where machines may come from, by the profile, the preferred market first."""
    compute = aws.compute
    wanted: list[Market] = []
    if compute.spot_instances:
        wanted.append(Market.SPOT)
    if compute.fallback_to_ondemand or not compute.spot_instances:
        wanted.append(Market.ON_DEMAND)
    return tuple(wanted)
