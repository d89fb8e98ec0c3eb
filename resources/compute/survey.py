"""The survey before a setup: foundation, machine types, quotas and image of an account."""

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

# Instance families that share a quota of running vCPUs, one for spot and one for on-demand. The
# codes are those of the Service Quotas console, service EC2. Quotas of other families are not
# checked.
FAMILIES = {"g", "gr", "vt"}
QUOTAS: dict[Market, str] = {
    Market.SPOT: "L-3819A6DF",
    Market.ON_DEMAND: "L-DB2E81BA",
}

ARCHITECTURE = "x86_64"  # of the worker's image


@dataclass(frozen=True)
class MachineType:
    """An EC2 instance type, and the zones of the foundation's subnets that offer it."""

    name: str
    vcpus: int
    memory_mib: int
    gpus: int  # of NVIDIA
    zones: tuple[str, ...]


@dataclass(frozen=True)
class Survey:
    """The result of a survey.

    Args:
        machines: in the profile's order, without those that no zone offers.
        quotas: vCPUs that may run at once; None if not known.
        missing: parts that a setup requires.
        remarks: restrictions that do not prevent a setup.
    """

    foundation: Foundation
    machines: tuple[MachineType, ...]
    quotas: dict[Market, int | None]
    missing: tuple[MissingPart, ...]
    remarks: tuple[str, ...]


def survey(clients: AwsClients, aws: Aws) -> Survey:
    """Check roles, bucket, network, machines and quotas; change nothing.

    Raises:
        UsageError: a machine type of the profile does not exist, or cannot run the worker.
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
        f"the quota for {machine.name} is not checked: the quota code of its family is not known"
        for machine in offered
        if not _has_known_quota(machine)
    ]
    if not _image_exists(clients, foundation):
        remarks.append(
            f"the image {foundation.image} does not exist yet: jobs fail until it is pushed "
            "(see docs/troubleshooting.md)"
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
            "the worker's image needs; remove it"
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
    """Return for each type the zones that offer it, among those of the subnets."""
    zones: dict[str, list[str]] = {name: [] for name in names}
    if not subnets:
        return zones
    described = ec2.describe_subnets(SubnetIds=list(subnets))["Subnets"]
    reachable = {subnet["AvailabilityZone"] for subnet in described}
    pages = ec2.get_paginator("describe_instance_type_offerings").paginate(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": names}]
    )
    for page in pages:
        for offer in page["InstanceTypeOfferings"]:
            if offer["Location"] in reachable:
                zones[offer["InstanceType"]].append(offer["Location"])
    return {name: sorted(found) for name, found in zones.items()}


def _has_known_quota(machine: MachineType) -> bool:
    """True if the quotas count its family: the letters at the start of its name."""
    return re.split(r"[^a-z]", machine.name, maxsplit=1)[0] in FAMILIES


def _quota(
    clients: AwsClients, aws: Aws, machines: Sequence[MachineType], market: Market
) -> tuple[int | None, list[MissingPart]]:
    """Return the vCPUs that may run at once; None if not known for all of the machines."""
    if not machines or not all(map(_has_known_quota, machines)):
        return None, []
    value = _quota_value(clients, QUOTAS[market])
    smallest = min(machine.vcpus for machine in machines)
    if value >= smallest:
        return value, []
    label = MARKET_LABELS[market]
    name = f"quota of {label} vCPUs of GPU machines: {value}, one machine has {smallest}"
    return value, [MissingPart(name, _quota_remedy(aws, market))]


def _quota_value(clients: AwsClients, code: str) -> int:
    from botocore.exceptions import ClientError

    quotas = clients.of("service-quotas")
    try:
        found = quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)
    except ClientError as error:
        # An account that never requested an increase has only AWS's default.
        if error_code(error) != "NoSuchResourceException":
            raise
        found = quotas.get_aws_default_service_quota(ServiceCode="ec2", QuotaCode=code)
    return int(found["Quota"]["Value"])


def _quota_remedy(aws: Aws, market: Market) -> str:
    remedy = (
        "aws service-quotas request-service-quota-increase --service-code ec2 --quota-code "
        f"{QUOTAS[market]} --desired-value {aws.compute.max_vcpus} --region {aws.region}; AWS "
        "answers within hours or days"
    )
    if market == "ondemand" and aws.compute.spot_instances:
        return f"{remedy}; or set cloud.aws.compute.fallback_to_ondemand: false"
    return remedy


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
