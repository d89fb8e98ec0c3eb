"""What an account and a region offer, looked at before anything is set up in them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resources.aws.clients import AwsClients, as_instance_types
from resources.aws.errors import error_code
from resources.batch.names import MARKET_LABELS, markets
from resources.compute.foundation import Foundation, MissingPart, find_foundation
from resources.errors import UsageError
from resources.pricing.prices import Market
from resources.settings.profile import Aws

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import InstanceTypeInfoTypeDef

# The quotas of running vCPUs count these families of machines together, and spot apart from
# on-demand. Codes: the Service Quotas console, service EC2. Those of other families are not
# looked at.
FAMILIES = {"g", "gr", "vt"}
QUOTAS: dict[Market, str] = {
    Market.SPOT: "L-3819A6DF",
    Market.ON_DEMAND: "L-DB2E81BA",
}

ARCHITECTURE = "x86_64"  # of the worker's image


@dataclass(frozen=True)
class MachineType:
    """An EC2 instance type, and the zones of our subnets that offer it."""

    name: str
    vcpus: int
    memory_mib: int
    gpus: int  # that CUDA can use
    zones: tuple[str, ...]


@dataclass(frozen=True)
class Survey:
    """What there is to build on."""

    foundation: Foundation
    machines: tuple[MachineType, ...]  # in the profile's order, those that no zone offers left out
    quotas: dict[Market, int | None]  # vCPUs that may run at once; None: not known
    missing: tuple[MissingPart, ...]  # nothing can be set up before these are there
    remarks: tuple[str, ...]  # what a user would want to know, and can do without


def survey(clients: AwsClients, aws: Aws) -> Survey:
    """Look at roles, bucket, network, machines and quotas; changes nothing.

    Raises:
        UsageError: a machine type of the profile is not known, or cannot run the worker.
    """
    foundation, missing = find_foundation(clients, aws)
    machines = _machines(clients, aws, foundation.subnets)
    remarks = [
        f"{machine.name} is not offered in the zones of {aws.region} that are used; left out"
        for machine in machines
        if not machine.zones
    ]
    offered = tuple(machine for machine in machines if machine.zones)
    if not offered and foundation.subnets:
        names = ", ".join(aws.compute.instance_types)
        missing.append(
            MissingPart(
                f"machines: {aws.region} offers none of {names}",
                "name others in cloud.aws.compute.instance_types, or another region",
            )
        )
    quotas: dict[Market, int | None] = {}
    for market in markets(aws):
        quotas[market], lacking = _quota(clients, aws, offered, market)
        missing += lacking
    remarks += [
        f"the quota for {machine.name} is not checked: its family's is not known here"
        for machine in offered
        if not _has_known_quota(machine)
    ]
    if not _image_exists(clients, foundation):
        remarks.append(
            f"the image {foundation.image} is not there yet: jobs fail until it is pushed "
            "(docs/troubleshooting.md says how)"
        )
    return Survey(foundation, offered, quotas, tuple(missing), tuple(remarks))


def _machines(clients: AwsClients, aws: Aws, subnets: Sequence[str]) -> list[MachineType]:
    from botocore.exceptions import ClientError

    ec2, names = clients.of("ec2"), list(aws.compute.instance_types)
    try:
        pages = ec2.get_paginator("describe_instance_types").paginate(
            InstanceTypes=as_instance_types(names)
        )
        described = {
            str(kind["InstanceType"]): kind for page in pages for kind in page["InstanceTypes"]
        }
    except ClientError as error:
        if error_code(error) not in {"InvalidInstanceType", "InvalidParameterValue"}:
            raise
        raise UsageError(
            f"cloud.aws.compute.instance_types: {', '.join(names)}: EC2 in {aws.region} does not "
            "know all of them; see `aws ec2 describe-instance-type-offerings`"
        ) from None
    zones = _offered_zones(ec2, names, subnets)
    return [_machine(described[name], zones[name]) for name in names]


def _machine(described: "InstanceTypeInfoTypeDef", zones: Sequence[str]) -> MachineType:
    name = described["InstanceType"]
    if ARCHITECTURE not in described["ProcessorInfo"]["SupportedArchitectures"]:
        raise UsageError(
            f"cloud.aws.compute.instance_types: {name} is not an {ARCHITECTURE} machine, which "
            "the worker's image needs; take it out"
        )
    gpus = described.get("GpuInfo", {}).get("Gpus", [])
    return MachineType(
        name=name,
        vcpus=described["VCpuInfo"]["DefaultVCpus"],
        memory_mib=described["MemoryInfo"]["SizeInMiB"],
        gpus=sum(gpu["Count"] for gpu in gpus if gpu["Manufacturer"] == "NVIDIA"),
        zones=tuple(zones),
    )


def _offered_zones(
    ec2: "EC2Client", names: list[str], subnets: Sequence[str]
) -> dict[str, list[str]]:
    """For each type the zones, of those the subnets lie in, that offer it."""
    zones: dict[str, list[str]] = {name: [] for name in names}
    if not subnets:
        return zones
    ours = ec2.describe_subnets(SubnetIds=list(subnets))["Subnets"]
    near = {subnet["AvailabilityZone"] for subnet in ours}
    pages = ec2.get_paginator("describe_instance_type_offerings").paginate(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": names}]
    )
    for page in pages:
        for offer in page["InstanceTypeOfferings"]:
            if offer["Location"] in near:
                zones[offer["InstanceType"]].append(offer["Location"])
    return {name: sorted(found) for name, found in zones.items()}


def _has_known_quota(machine: MachineType) -> bool:
    """Whether the quotas are those of its family: the letters that its name begins with."""
    return re.split(r"[^a-z]", machine.name, maxsplit=1)[0] in FAMILIES


def _quota(
    clients: AwsClients, aws: Aws, machines: Sequence[MachineType], market: Market
) -> tuple[int | None, list[MissingPart]]:
    """vCPUs that may run at once; None when that is not known for all of the machines."""
    if not machines or not all(map(_has_known_quota, machines)):
        return None, []
    value = _quota_value(clients, QUOTAS[market])
    smallest = min(machine.vcpus for machine in machines)
    if value >= smallest:
        return value, []
    label = MARKET_LABELS[market]
    what = f"quota of {label} vCPUs of GPU machines: {value}, one machine has {smallest}"
    return value, [MissingPart(what, _how_to_raise(aws, market))]


def _quota_value(clients: AwsClients, code: str) -> int:
    from botocore.exceptions import ClientError

    quotas = clients.of("service-quotas")
    try:
        found = quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)
    except ClientError as error:
        # An account that never asked for another value has only AWS's own.
        if error_code(error) != "NoSuchResourceException":
            raise
        found = quotas.get_aws_default_service_quota(ServiceCode="ec2", QuotaCode=code)
    return int(found["Quota"]["Value"])


def _how_to_raise(aws: Aws, market: Market) -> str:
    ask = (
        "aws service-quotas request-service-quota-increase --service-code ec2 --quota-code "
        f"{QUOTAS[market]} --desired-value {aws.compute.max_vcpus} --region {aws.region}; AWS "
        "answers within hours or days"
    )
    if market == "ondemand" and aws.compute.spot_instances:
        return f"{ask}; or do without: cloud.aws.compute.fallback_to_ondemand: false"
    return ask


def _image_exists(clients: AwsClients, foundation: Foundation) -> bool:
    from botocore.exceptions import ClientError

    repository, _, tag = foundation.image.partition("/")[2].rpartition(":")
    try:
        clients.of("ecr").describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])
    except ClientError as error:
        if error_code(error) in {"RepositoryNotFoundException", "ImageNotFoundException"}:
            return False
        raise
    return True
