"""The status of compute: environments, queues, jobs, running machines, spot prices."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from resources.aws.batch_states import ENDED_STATUSES, LIVE_STATUSES, ResourceStatus
from resources.aws.clients import AwsClients, as_instance_types
from resources.batch.names import Names
from resources.compute.parts import ComputeParts
from resources.pricing.prices import Market
from resources.settings.profile import Aws

INSTANCE_STATES = ["pending", "running", "stopping", "shutting-down"]


@dataclass(frozen=True)
class EnvironmentStatus:
    """A compute environment, with its minimum, desired and maximum vCPUs."""

    name: str
    market: Market
    state: str
    status: str
    reason: str
    min_vcpus: int
    desired_vcpus: int
    max_vcpus: int
    instance_types: tuple[str, ...]
    age_seconds: float | None  # None: it was not created by a setup


@dataclass(frozen=True)
class QueueStatus:
    """A job queue with the number of its jobs by status; AWS drops jobs a week after their end."""

    name: str
    priority: int
    state: str
    status: str
    reason: str
    jobs: dict[str, int]


@dataclass(frozen=True)
class InstanceStatus:
    """A machine that is starting, running or shutting down."""

    instance_id: str
    market: Market
    instance_type: str
    zone: str
    state: str
    age_seconds: float


@dataclass(frozen=True)
class SpotPrice:
    """The present price of a spot machine, in USD per hour."""

    instance_type: str
    zone: str
    usd_per_hour: float


@dataclass(frozen=True)
class ComputeStatus:
    """The status at one moment."""

    name: str
    region: str
    environments: tuple[EnvironmentStatus, ...]
    queues: tuple[QueueStatus, ...]
    instances: tuple[InstanceStatus, ...]
    spot_prices: tuple[SpotPrice, ...]  # cheapest first

    @property
    def age_seconds(self) -> float | None:
        """Age of the oldest environment; None if there is none."""
        return max((e.age_seconds for e in self.environments if e.age_seconds), default=None)

    def as_json(self) -> dict[str, Any]:
        """Return the status as plain data."""
        return {**asdict(self), "age_seconds": self.age_seconds}


def compute_status(clients: AwsClients, aws: Aws) -> ComputeStatus:
    """Return the status of everything that a setup creates."""
    now, parts = clients.clock.now(), ComputeParts(clients, Names(aws.name))
    return ComputeStatus(
        name=aws.name,
        region=aws.region,
        environments=tuple(
            _environment(each, now) for _, each in sorted(parts.environments().items())
        ),
        queues=tuple(_queue(parts, each) for _, each in sorted(parts.queues().items())),
        instances=tuple(_instances(clients, aws.name, now)),
        spot_prices=tuple(_spot_prices(clients, aws.compute.instance_types, now)),
    )


def _environment(described: Any, now: float) -> EnvironmentStatus:
    resources = described["computeResources"]
    set_up_at = described.get("tags", {}).get("SetUpAt")
    return EnvironmentStatus(
        name=described["computeEnvironmentName"],
        market=Market.SPOT if resources["type"] == "SPOT" else Market.ON_DEMAND,
        state=described["state"],
        status=described["status"],
        reason=" ".join(described.get("statusReason", "").split()),
        min_vcpus=resources["minvCpus"],
        desired_vcpus=resources.get("desiredvCpus", 0),
        max_vcpus=resources["maxvCpus"],
        instance_types=tuple(resources["instanceTypes"]),
        age_seconds=now - datetime.fromisoformat(set_up_at).timestamp() if set_up_at else None,
    )


def _queue(parts: ComputeParts, described: Any) -> QueueStatus:
    name = described["jobQueueName"]
    # A queue that is being deleted may vanish while its jobs are listed.
    listed = [] if described["status"] == ResourceStatus.DELETING else [name]
    statuses = (*LIVE_STATUSES, *ENDED_STATUSES)
    jobs = Counter(parts.jobs(listed, statuses).values())
    return QueueStatus(
        name=name,
        priority=described["priority"],
        state=described["state"],
        status=described["status"],
        reason=" ".join(described.get("statusReason", "").split()),
        jobs={status.value: jobs[status] for status in statuses},
    )


def _instances(clients: AwsClients, name: str, now: float) -> list[InstanceStatus]:
    pages = (
        clients.of("ec2")
        .get_paginator("describe_instances")
        .paginate(
            Filters=[
                {"Name": "tag:Project", "Values": [name]},
                {"Name": "instance-state-name", "Values": INSTANCE_STATES},
            ]
        )
    )
    found = [
        InstanceStatus(
            instance_id=each["InstanceId"],
            # EC2 sets InstanceLifecycle for spot instances only.
            market=Market.SPOT if each.get("InstanceLifecycle") == "spot" else Market.ON_DEMAND,
            instance_type=each["InstanceType"],
            zone=each["Placement"]["AvailabilityZone"],
            state=each["State"]["Name"],
            age_seconds=max(0.0, now - each["LaunchTime"].timestamp()),
        )
        for page in pages
        for reservation in page["Reservations"]
        for each in reservation["Instances"]
    ]
    return sorted(found, key=lambda each: (-each.age_seconds, each.instance_id))


def _spot_prices(clients: AwsClients, types: Sequence[str], now: float) -> list[SpotPrice]:
    pages = (
        clients.of("ec2")
        .get_paginator("describe_spot_price_history")
        .paginate(
            InstanceTypes=as_instance_types(types),
            ProductDescriptions=["Linux/UNIX"],
            # A history from now on holds the prices in force.
            StartTime=datetime.fromtimestamp(now, UTC),
        )
    )
    newest: dict[tuple[str, str], Any] = {}
    for page in pages:
        for each in page["SpotPriceHistory"]:
            place = each["InstanceType"], each["AvailabilityZone"]
            if place not in newest or each["Timestamp"] > newest[place]["Timestamp"]:
                newest[place] = each
    prices = [SpotPrice(kind, zone, float(p["SpotPrice"])) for (kind, zone), p in newest.items()]
    return sorted(prices, key=lambda price: (price.usd_per_hour, price.instance_type, price.zone))
