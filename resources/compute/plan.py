"""The short-lived part of the cloud as it should be: pure, in the words of AWS's own API.

Everything here scales to zero and costs nothing while no job runs, unless the profile keeps
vCPUs warm (`min_vcpus`).
"""

import hashlib
import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.batch.names import QUEUE_PRIORITIES, ROOT_VOLUME_GB, Names, Queue, markets
from resources.compute.survey import MachineType, Survey
from resources.errors import UsageError
from resources.pricing.prices import Market
from resources.settings.profile import Aws

if TYPE_CHECKING:
    from mypy_boto3_batch.type_defs import (
        ComputeResourceTypeDef,
        CreateComputeEnvironmentRequestTypeDef,
        CreateJobQueueRequestTypeDef,
        JobStateTimeLimitActionTypeDef,
        RegisterJobDefinitionRequestTypeDef,
    )
    from mypy_boto3_ec2.type_defs import RequestLaunchTemplateDataTypeDef

BOOT_SCRIPT = Path(__file__).parent / "templates" / "instance_boot.sh"
SCRATCH = "/scratch"  # instance storage, on the machine and in the container alike

# Of a machine's memory, the system and the ECS agent keep an eighth: 14336 of 16384 MiB are ours.
USABLE_MEMORY = (7, 8)
# A job that runs longer than this hangs: work units are cut to about an hour.
ATTEMPT_SECONDS = 6 * 3600


@dataclass(frozen=True)
class JobShape:
    """What one job asks of a machine."""

    vcpus: int
    memory_mib: int
    gpus: int


@dataclass(frozen=True)
class Plan:
    """Everything that setting up makes, as parameters of the calls that make it."""

    launch_template: "RequestLaunchTemplateDataTypeDef"
    environments: tuple["CreateComputeEnvironmentRequestTypeDef", ...]
    queues: tuple["CreateJobQueueRequestTypeDef", ...]
    job_definition: "RegisterJobDefinitionRequestTypeDef"


def plan(aws: Aws, found: Survey, job_count: int, gpu_required: bool) -> Plan:
    """What is to be there, so that `job_count` jobs can run at once if the limits allow.

    Args:
        gpu_required: refuse machines without a GPU.

    Raises:
        UsageError: the profile's machines cannot run the jobs.
    """
    if job_count < 1:
        raise UsageError(f"--job-count {job_count}: must be 1 or more")
    job = job_shape(found.machines, gpu_required)
    environments = [
        _environment(aws, found, market, job, job_count, warm=place == 0)
        for place, market in enumerate(markets(aws))
    ]
    return Plan(
        launch_template=_launch_template(aws.name),
        environments=tuple(environments),
        queues=tuple(_queues(aws)),
        job_definition=_job_definition(aws, found, job),
    )


def job_shape(machines: Sequence[MachineType], gpu_required: bool) -> JobShape:
    """The most that every one of the machines can give to each of as many jobs as it has GPUs.

    Raises:
        UsageError: some machines have a GPU and some have none.
    """
    without = [machine.name for machine in machines if machine.gpus == 0]
    if without and (gpu_required or len(without) < len(machines)):
        why = "--gpu-required" if gpu_required else "others have one, and all jobs are alike"
        raise UsageError(
            f"cloud.aws.compute.instance_types: no GPU in {', '.join(without)}, but {why}; take "
            f"{'it' if len(without) == 1 else 'them'} out"
        )
    ours, of = USABLE_MEMORY
    return JobShape(
        vcpus=min(machine.vcpus // max(1, machine.gpus) for machine in machines),
        memory_mib=min(
            machine.memory_mib // max(1, machine.gpus) * ours // of for machine in machines
        ),
        gpus=0 if without else 1,
    )


def _parallel_jobs(machine: MachineType, job: JobShape) -> int:
    ours, of = USABLE_MEMORY
    fits = [machine.vcpus // job.vcpus, machine.memory_mib * ours // of // job.memory_mib]
    return min(fits + ([machine.gpus // job.gpus] if job.gpus else []))


def vcpu_limit(
    aws: Aws, machines: Sequence[MachineType], quota: int | None, job: JobShape, job_count: int
) -> int:
    """vCPUs that an environment may grow to: what the jobs need, within profile and quota.

    An environment that may grow beyond the quota would look as if spot capacity starved.

    Raises:
        UsageError: that is less than one machine has.
    """
    wanted = max(
        machine.vcpus * -(-job_count // _parallel_jobs(machine, job)) for machine in machines
    )
    limits = [aws.compute.max_vcpus, wanted] + ([quota] if quota is not None else [])
    smallest = min(machine.vcpus for machine in machines)
    if min(limits) < smallest:
        raise UsageError(
            f"cloud.aws.compute.max_vcpus: {aws.compute.max_vcpus} is less than one machine has "
            f"({smallest}); raise it"
        )
    return min(limits)


def _environment(
    aws: Aws, found: Survey, market: Market, job: JobShape, job_count: int, warm: bool
) -> "CreateComputeEnvironmentRequestTypeDef":
    names, compute = Names(aws.name), aws.compute
    most = vcpu_limit(aws, found.machines, found.quotas[market], job, job_count)
    least = min(compute.min_vcpus, most) if warm else 0
    resources: ComputeResourceTypeDef = {
        "type": "SPOT" if market == "spot" else "EC2",
        "minvCpus": least,
        "maxvCpus": most,
        "desiredvCpus": max(least, min(compute.desired_vcpus, most) if warm else 0),
        "instanceTypes": [machine.name for machine in found.machines],
        "subnets": list(found.foundation.subnets),
        "securityGroupIds": [found.foundation.security_group],
        "instanceRole": found.foundation.instance_profile,
        "launchTemplate": {"launchTemplateName": names.worker},
        # These tags go to the machines; those of the environment itself do not.
        "tags": {"Project": aws.name, "Name": names.environment(market)},
    }
    if job.gpus:
        resources["ec2Configuration"] = [{"imageType": "ECS_AL2023_NVIDIA"}]
    if market == "spot":
        # Of the strategies the one that weighs price against being interrupted. With it, as with
        # on-demand's below, an environment can be updated in place; with the default it cannot.
        resources["allocationStrategy"] = "SPOT_PRICE_CAPACITY_OPTIMIZED"
        resources["bidPercentage"] = compute.bid_percentage
    else:
        resources["allocationStrategy"] = "BEST_FIT_PROGRESSIVE"
    # No service role: the account's service-linked one cannot be deleted under an environment,
    # which would leave it undeletable.
    return {
        "computeEnvironmentName": names.environment(market),
        "type": "MANAGED",
        "state": "ENABLED",
        "computeResources": resources,
        "tags": {"Project": aws.name},
    }


def _queues(aws: Aws) -> list["CreateJobQueueRequestTypeDef"]:
    names = Names(aws.name)
    lanes = {
        Queue.SPOT_HIGH: Market.SPOT,
        Queue.SPOT: Market.SPOT,
        Queue.ON_DEMAND: Market.ON_DEMAND,
    }
    return [
        {
            "jobQueueName": names.queue(lane),
            "state": "ENABLED",
            "priority": QUEUE_PRIORITIES[lane],
            "computeEnvironmentOrder": [
                {"order": 1, "computeEnvironment": names.environment(market)}
            ],
            "jobStateTimeLimitActions": _time_limits(),
            "tags": {"Project": aws.name},
        }
        for lane, market in lanes.items()
        if market in markets(aws)
    ]


def _time_limits() -> list["JobStateTimeLimitActionTypeDef"]:
    """What ends a waiting job when nobody watches it any more.

    AWS allows 600 to 86400 seconds. A job that can never start is ended soon. Waiting for capacity
    costs nothing, and how long to wait is the platform's decision: AWS only ends the job that its
    platform has forgotten, before it starts and costs money.
    """
    misconfigured = (
        "COMPUTE_ENVIRONMENT_MAX_RESOURCE",
        "JOB_RESOURCE_REQUIREMENT",
        "EC2_INSTANCE_CONFIGURATION_UNSUPPORTED",
    )
    limits = {f"MISCONFIGURATION:{reason}": 600 for reason in misconfigured}
    limits["CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"] = 86400
    return [
        {"reason": reason, "state": "RUNNABLE", "maxTimeSeconds": seconds, "action": "CANCEL"}
        for reason, seconds in limits.items()
    ]


def _job_definition(
    aws: Aws, found: Survey, job: JobShape
) -> "RegisterJobDefinitionRequestTypeDef":
    asked = [("VCPU", job.vcpus), ("MEMORY", job.memory_mib), ("GPU", job.gpus)]
    definition: Any = {
        "jobDefinitionName": Names(aws.name).worker,
        "type": "container",
        "platformCapabilities": ["EC2"],
        "propagateTags": True,
        # One attempt, whatever happens: Batch would try again without a word, on the same market
        # and at our cost. The platform decides what an end means, and every attempt is a row. The
        # rule is said outright because Batch retries what no rule matches.
        "retryStrategy": {
            "attempts": 1,
            "evaluateOnExit": [{"onReason": "*", "action": "EXIT"}],
        },
        "timeout": {"attemptDurationSeconds": ATTEMPT_SECONDS},
        "containerProperties": {
            "image": found.foundation.image,
            "command": ["python", "-m", "odins_ravne_assets.worker"],
            "jobRoleArn": found.foundation.job_role,
            "executionRoleArn": found.foundation.execution_role,
            "resourceRequirements": [
                {"type": kind, "value": str(amount)} for kind, amount in asked if amount
            ],
            # An init process hands SIGTERM on to Python; decoding processes share frames.
            "linuxParameters": {"initProcessEnabled": True, "sharedMemorySize": 2048},
            "volumes": [{"name": "scratch", "host": {"sourcePath": SCRATCH}}],
            "mountPoints": [
                {"sourceVolume": "scratch", "containerPath": SCRATCH, "readOnly": False}
            ],
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": found.foundation.log_group,
                    "awslogs-stream-prefix": "worker",
                },
            },
        },
    }
    definition["tags"] = {"Project": aws.name, "Fingerprint": fingerprint(definition)}
    return definition  # type: ignore[no-any-return]


def _launch_template(name: str) -> "RequestLaunchTemplateDataTypeDef":
    return {
        # Version 2 of the metadata service only, and one hop more than by default: containers are
        # one hop away, and the worker watches there for its machine being taken away.
        "MetadataOptions": {
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 2,
            "HttpEndpoint": "enabled",
        },
        "BlockDeviceMappings": [
            {
                "DeviceName": "/dev/xvda",
                "Ebs": {
                    "VolumeSize": ROOT_VOLUME_GB,
                    "VolumeType": "gp3",
                    "Encrypted": True,
                    "DeleteOnTermination": True,
                },
            }
        ],
        # Batch tags machines but not their disks.
        "TagSpecifications": [
            {"ResourceType": "volume", "Tags": [{"Key": "Project", "Value": name}]}
        ],
        "UserData": _user_data(),
    }


def _user_data() -> str:
    """The boot script in the only form that Batch merges with its own: MIME, then base64."""
    # A random boundary would make every set-up differ from the last.
    message = MIMEMultipart(boundary="==ravne==")
    script = BOOT_SCRIPT.read_text(encoding="ascii")
    message.attach(MIMEText(script, "x-shellscript", "us-ascii"))
    return b64encode(message.as_bytes()).decode()


def fingerprint(parameters: Any) -> str:
    """Tells whether something that can only be replaced is what is wanted.

    AWS gives revisions and versions back with values of its own added; what was asked for can be
    compared only by something that was noted down with it.
    """
    text = json.dumps(parameters, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
