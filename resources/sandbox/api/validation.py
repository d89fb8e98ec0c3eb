"""Validation of requests, with the messages of AWS Batch as far as they are known.

Sources: the API reference (limits in the descriptions of CreateComputeEnvironment,
CreateJobQueue, RegisterJobDefinition, SubmitJob) and messages in public issue threads.
"""

import re

from resources.aws.batch_states import JobStatus, ResourceState, ResourceStatus
from resources.sandbox.model.environments import BatchResource, Request, SandboxEnvironment
from resources.sandbox.model.moto_services import MotoServices
from resources.sandbox.model.prices import TYPES
from resources.sandbox.wire.errors import BatchClientError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
TIME_LIMIT_REASONS = {
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY",
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
    "MISCONFIGURATION:EC2_INSTANCE_CONFIGURATION_UNSUPPORTED",
}
SPOT_STRATEGIES = {
    "BEST_FIT", "BEST_FIT_PROGRESSIVE", "SPOT_CAPACITY_OPTIMIZED", "SPOT_PRICE_CAPACITY_OPTIMIZED",
    "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED",
}  # fmt: skip
EC2_STRATEGIES = {"BEST_FIT", "BEST_FIT_PROGRESSIVE", "BEST_FIT_PROGRESSIVE_ORDERED"}
# Keys that the sandbox does not support; it refuses them instead of ignoring them.
UNSUPPORTED_KEYS = ("arrayProperties", "dependsOn", "nodeOverrides", "shareIdentifier",
            "schedulingPriorityOverride", "eksPropertiesOverride", "ecsPropertiesOverride",
            "consumableResourcePropertiesOverride")  # fmt: skip


def reject_if(condition: bool, message: str) -> None:
    """Refuse a request with a message if a condition is true."""
    if condition:
        raise BatchClientError(message)


def check_name(name: str, key: str) -> None:
    reject_if(not NAME.fullmatch(name), f"{key} {name} does not match the pattern of names")


def check_environment(resources: Request) -> None:
    """Check the computeResources of an environment, with defaults."""
    kind, strategy = resources["type"], resources["allocationStrategy"]
    reject_if(kind not in ("SPOT", "EC2"), f"the sandbox has no compute resources of type {kind}")
    allowed = SPOT_STRATEGIES if kind == "SPOT" else EC2_STRATEGIES
    reject_if(strategy not in allowed, f"allocationStrategy {strategy} is not valid for {kind}.")
    reject_if(
        kind == "SPOT" and strategy == "BEST_FIT" and not resources.get("spotIamFleetRole"),
        "spotIamFleetRole is required when allocationStrategy is BEST_FIT.",
    )
    bid = resources.get("bidPercentage")
    reject_if(kind == "EC2" and bid is not None, "bidPercentage is only valid for SPOT.")
    reject_if(bid is not None and not 1 <= bid <= 100, "bidPercentage must be between 1 and 100.")
    minimum, maximum = resources["minvCpus"], resources["maxvCpus"]
    reject_if(not 0 <= minimum <= maximum, "minvCpus must be between 0 and maxvCpus.")
    for part in ("subnets", "securityGroupIds", "instanceTypes"):
        reject_if(not resources.get(part), f"{part} is required for {kind}.")
    reject_if(not resources.get("instanceRole"), "instanceRole is required.")
    families = {name.partition(".")[0] for name in TYPES}
    for name in resources["instanceTypes"]:
        reject_if(
            name not in TYPES and name not in families,
            f"Instance type {name} is not known; the sandbox has {', '.join(TYPES)}",
        )


def invalid_reason(services: MotoServices, resources: Request) -> str | None:
    """Return why an environment becomes INVALID, or None; Batch finds out during the creation."""
    for subnet in resources["subnets"]:
        if services.zone_of(subnet) is None:
            return f"CLIENT_ERROR - The subnet ID '{subnet}' does not exist"
    for group in resources["securityGroupIds"]:
        if not services.has_security_group(group):
            return f"CLIENT_ERROR - The security group '{group}' does not exist"
    profile = resources["instanceRole"]
    if not services.has_instance_profile(profile):
        return f"CLIENT_ERROR - Value ({profile}) for parameter iamInstanceProfile is invalid."
    template = resources.get("launchTemplate")
    named = template and (template.get("launchTemplateId") or template["launchTemplateName"])
    if named and services.launch_template_id(named) is None:
        return "CLIENT_ERROR - The specified launch template does not exist."
    return None


def check_stable(resource: BatchResource) -> None:
    """Check that no change of a resource is in progress."""
    reject_if(resource.is_changing, "Cannot update, resource is being modified.")


def check_deletable(resource: BatchResource) -> None:
    """Check that a resource is disabled and no change is in progress."""
    reject_if(
        resource.state != ResourceState.DISABLED or resource.is_changing,
        "Cannot delete, state should be set to DISABLED and status should be VALID/INVALID.",
    )


def check_time_limits(limits: list[Request]) -> None:
    """Check a queue's jobStateTimeLimitActions."""
    for limit in limits:
        reject_if(
            not 600 <= limit["maxTimeSeconds"] <= 86400,
            "maxTimeSeconds must be between 600 and 86400.",
        )
        reject_if(
            limit["state"] != JobStatus.RUNNABLE, "only the state RUNNABLE can have a time limit."
        )
        reject_if(limit["action"] != "CANCEL", "only the action CANCEL is supported.")
        reject_if(
            limit["reason"] not in TIME_LIMIT_REASONS,
            f"reason {limit['reason']} cannot have a time limit.",
        )


def check_environment_order(environments: list[SandboxEnvironment]) -> None:
    """Check a queue's compute environments."""
    reject_if(not 1 <= len(environments) <= 3, "a job queue has one to three compute environments.")
    for environment in environments:
        reject_if(environment.status != ResourceStatus.VALID, f"{environment.arn} is not valid.")


def check_retry(strategy: Request) -> None:
    """Check a retryStrategy."""
    reject_if(not 1 <= strategy.get("attempts", 1) <= 10, "attempts must be between 1 and 10.")
    rules = strategy.get("evaluateOnExit", [])
    reject_if(len(rules) > 5, "evaluateOnExit can have at most 5 rules.")
    for rule in rules:
        reject_if(rule["action"].upper() not in ("RETRY", "EXIT"), "action must be RETRY or EXIT.")


def check_timeout(timeout: Request) -> None:
    """Check a job's timeout."""
    reject_if(
        timeout.get("attemptDurationSeconds", 60) < 60,
        "attemptDurationSeconds must be at least 60.",
    )


def check_variables(pairs: list[Request]) -> None:
    """Check a container's variables."""
    for pair in pairs:
        reject_if(
            pair["name"].startswith("AWS_BATCH"),
            "Environment variables cannot start with AWS_BATCH.",
        )


def check_definition(request: Request) -> None:
    """Check a request of RegisterJobDefinition."""
    check_name(request["jobDefinitionName"], "jobDefinitionName")
    reject_if(request["type"] != "container", "the sandbox runs jobs of type container only")
    container = request.get("containerProperties")
    if container is None or not container.get("image"):
        raise BatchClientError("containerProperties with an image is required.")
    required = {pair["type"] for pair in container.get("resourceRequirements", [])}
    for kind in ("VCPU", "MEMORY"):
        reject_if(kind not in required, f"resourceRequirements must contain {kind}.")
    check_retry(request.get("retryStrategy", {}))
    check_timeout(request.get("timeout", {}))
    check_variables(container.get("environment", []))


def check_submission(request: Request) -> None:
    """Check a request of SubmitJob, except its queue and definition."""
    check_name(request["jobName"], "jobName")
    for key in UNSUPPORTED_KEYS:
        reject_if(key in request, f"the sandbox does not support {key}")
    check_retry(request.get("retryStrategy", {}))
    check_timeout(request.get("timeout", {}))
    check_variables(request.get("containerOverrides", {}).get("environment", []))
