"""The plan of the temporary compute, as parameters of AWS's API: pure functions.

Everything in it scales to zero and costs nothing while no job runs, unless the profile sets
`min_vcpus`.
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

from resources.aws.batch_states import JobStatus, ResourceState
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
SCRATCH = "/scratch"  # instance storage, under the same path on the machine and in the container

# The system and the ECS agent use an eighth of a machine's memory: 14336 of 16384 MiB are usable.
USABLE_MEMORY = (7, 8)
# A job that runs longer than this hangs: work units take about an hour.
ATTEMPT_SECONDS = 6 * 3600


@dataclass(frozen=True)
class JobShape:
    """The resources that one job requests of a machine."""

    vcpus: int
    memory_mib: int
    gpus: int


@dataclass(frozen=True)
class Plan:
    """Everything that a setup creates, as parameters of the calls that create it."""

    launch_template: "RequestLaunchTemplateDataTypeDef"
    environments: tuple["CreateComputeEnvironmentRequestTypeDef", ...]
    queues: tuple["CreateJobQueueRequestTypeDef", ...]
    job_definition: "RegisterJobDefinitionRequestTypeDef"


def plan(aws: Aws, found: Survey, job_count: int, gpu_required: bool) -> Plan:
    """Return the plan for `job_count` parallel jobs, within the limits of profile and quota.

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
    """Return the largest share that each of the machines can give to one job per GPU.

    Raises:
        UsageError: some machines have a GPU and some have none.
    """
    without = [machine.name for machine in machines if machine.gpus == 0]
    if without and (gpu_required or len(without) < len(machines)):
        why = "--gpu-required" if gpu_required else "others have one, and all jobs are alike"
        raise UsageError(
            f"cloud.aws.compute.instance_types: no GPU in {', '.join(without)}, but {why}; remove "
            f"{'it' if len(without) == 1 else 'them'}"
        )
    usable, of = USABLE_MEMORY
    return JobShape(
        vcpus=min(machine.vcpus // max(1, machine.gpus) for machine in machines),
        memory_mib=min(
            machine.memory_mib // max(1, machine.gpus) * usable // of for machine in machines
        ),
        gpus=0 if without else 1,
    )


def _parallel_jobs(machine: MachineType, job: JobShape) -> int:
    usable, of = USABLE_MEMORY
    limits = [machine.vcpus // job.vcpus, machine.memory_mib * usable // of // job.memory_mib]
    return min(limits + ([machine.gpus // job.gpus] if job.gpus else []))


def vcpu_limit(
    aws: Aws, machines: Sequence[MachineType], quota: int | None, job: JobShape, job_count: int
) -> int:
    """Return the vCPUs to which an environment may grow: the jobs' need within profile and quota.

    With a limit above the quota, jobs that wait for the quota would seem to wait for spot capacity.

    Raises:
        UsageError: the limit is below the vCPUs of one machine.
    """
    needed = max(
        machine.vcpus * -(-job_count // _parallel_jobs(machine, job)) for machine in machines
    )
    limits = [aws.compute.max_vcpus, needed] + ([quota] if quota is not None else [])
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
    maximum = vcpu_limit(aws, found.machines, found.quotas[market], job, job_count)
    minimum = min(compute.min_vcpus, maximum) if warm else 0
    resources: ComputeResourceTypeDef = {
        "type": "SPOT" if market == "spot" else "EC2",
        "minvCpus": minimum,
        "maxvCpus": maximum,
        "desiredvCpus": max(minimum, min(compute.desired_vcpus, maximum) if warm else 0),
        "instanceTypes": [machine.name for machine in found.machines],
        "subnets": list(found.foundation.subnets),
        "securityGroupIds": [found.foundation.security_group],
        "instanceRole": found.foundation.instance_profile,
        "launchTemplate": {"launchTemplateName": names.worker},
        # The tags of the machines, which do not inherit those of the environment.
        "tags": {"Project": aws.name, "Name": names.environment(market)},
    }
    if job.gpus:
        resources["ec2Configuration"] = [{"imageType": "ECS_AL2023_NVIDIA"}]
    if market == "spot":
        # This strategy weighs the price against the risk of interruption. With it, as with that of
        # on-demand below, an environment can be updated in place; with the default it cannot.
        resources["allocationStrategy"] = "SPOT_PRICE_CAPACITY_OPTIMIZED"
        resources["bidPercentage"] = compute.bid_percentage
    else:
        resources["allocationStrategy"] = "BEST_FIT_PROGRESSIVE"
    # No service role: an environment whose role is deleted cannot be deleted itself, and the
    # account's service-linked role, the default, cannot be deleted while an environment uses it.
    return {
        "computeEnvironmentName": names.environment(market),
        "type": "MANAGED",
        "state": ResourceState.ENABLED.value,
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
            "state": ResourceState.ENABLED.value,
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
    """Return the time limits after which Batch cancels a waiting job.

    AWS allows 600 to 86400 seconds. A job that can never start is cancelled soon. A wait for
    capacity costs nothing, and its length is the orchestrator's decision; the limit is only for
    jobs that no orchestrator monitors, before they start and cost money.
    """
    misconfigured = (
        "COMPUTE_ENVIRONMENT_MAX_RESOURCE",
        "JOB_RESOURCE_REQUIREMENT",
        "EC2_INSTANCE_CONFIGURATION_UNSUPPORTED",
    )
    limits = {f"MISCONFIGURATION:{reason}": 600 for reason in misconfigured}
    limits["CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"] = 86400
    return [
        {
            "reason": reason,
            "state": JobStatus.RUNNABLE.value,
            "maxTimeSeconds": seconds,
            "action": "CANCEL",
        }
        for reason, seconds in limits.items()
    ]


def _job_definition(
    aws: Aws, found: Survey, job: JobShape
) -> "RegisterJobDefinitionRequestTypeDef":
    requested = [("VCPU", job.vcpus), ("MEMORY", job.memory_mib), ("GPU", job.gpus)]
    definition: Any = {
        "jobDefinitionName": Names(aws.name).worker,
        "type": "container",
        "platformCapabilities": ["EC2"],
        "propagateTags": True,
        # No retries by Batch: they are silent, on the same market, and missing in the ledger. The
        # orchestrator decides on retries, and each attempt is a job of its own. The rule is
        # explicit because Batch retries a failure that no rule matches.
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
                {"type": kind, "value": str(amount)} for kind, amount in requested if amount
            ],
            # An init process forwards SIGTERM to Python; decoding processes share frames.
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
        # Version 2 of the metadata service only. Containers are one hop away, so the worker, which
        # polls the service for interruption notices, needs one hop more than the default.
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
    """Return the boot script as MIME in base64, the only form that Batch merges with its own."""
    # With a random boundary, every plan would differ from the last.
    message = MIMEMultipart(boundary="==ravne==")
    script = BOOT_SCRIPT.read_text(encoding="ascii")
    message.attach(MIMEText(script, "x-shellscript", "us-ascii"))
    return b64encode(message.as_bytes()).decode()


def fingerprint(parameters: Any) -> str:
    """Return a checksum of parameters, for parts that can only be replaced.

    AWS adds values of its own to revisions and versions, so the requested parameters cannot be
    compared with the description; the checksum is stored with the part instead.
    """
    text = json.dumps(parameters, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
