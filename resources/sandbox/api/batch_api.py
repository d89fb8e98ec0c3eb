"""The API of AWS Batch (version 2016-08-10): environments, queues, job definitions, tags."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from resources.aws.batch_states import ResourceState, ResourceStatus
from resources.clock import Clock
from resources.sandbox.api import validation
from resources.sandbox.api.job_api import JobApi
from resources.sandbox.fleet.fleet import Fleet
from resources.sandbox.jobs.state import BatchState
from resources.sandbox.model.config import SandboxConfig
from resources.sandbox.model.environments import (
    BatchResource,
    JobDefinition,
    JobQueue,
    Request,
    SandboxEnvironment,
    arn,
)
from resources.sandbox.model.moto_services import MotoServices
from resources.sandbox.wire.errors import BatchClientError
from resources.sandbox.wire.paging import page

Content = dict[str, Any]
Operation = Callable[[Request], Content]
NamedResource = TypeVar("NamedResource", bound=BatchResource)

DEFAULT_RESOURCES = {"allocationStrategy": "BEST_FIT", "minvCpus": 0}
# Keys that UpdateComputeEnvironment changes without replacing machines.
SCALING_KEYS = {"minvCpus", "maxvCpus", "desiredvCpus", "securityGroupIds", "subnets"}


class BatchApi:
    """Handles the requests of Batch, each under the state's lock."""

    def __init__(
        self,
        config: SandboxConfig,
        clock: Clock,
        state: BatchState,
        fleet: Fleet,
        services: MotoServices,
        jobs: JobApi,
    ) -> None:
        self._config = config
        self._clock = clock
        self._state = state
        self._fleet = fleet
        self._services = services
        self._operations: dict[str, Operation] = {
            "CreateComputeEnvironment": self._create_environment,
            "UpdateComputeEnvironment": self._update_environment,
            "DeleteComputeEnvironment": self._delete_environment,
            "DescribeComputeEnvironments": self._describe_environments,
            "CreateJobQueue": self._create_queue,
            "UpdateJobQueue": self._update_queue,
            "DeleteJobQueue": self._delete_queue,
            "DescribeJobQueues": self._describe_queues,
            "RegisterJobDefinition": self._register_definition,
            "DeregisterJobDefinition": self._deregister_definition,
            "DescribeJobDefinitions": self._describe_definitions,
            "TagResource": self._tag,
            "UntagResource": self._untag,
            "ListTagsForResource": self._list_tags,
            **jobs.operations,
        }

    def handle(self, operation: str, request: Request) -> Content:
        """Return the content of the response.

        Raises:
            AwsError: Batch refuses the request.
        """
        handler = self._operations.get(operation)
        if handler is None:
            raise BatchClientError(f"the sandbox does not support {operation}")
        with self._state.lock:
            return handler(request)

    # compute environments

    def _create_environment(self, request: Request) -> Content:
        name = request["computeEnvironmentName"]
        validation.check_name(name, "computeEnvironmentName")
        validation.reject_if(name in self._state.environments, "Object already exists")
        validation.reject_if(request["type"] != "MANAGED", "the sandbox supports managed ones only")
        resources = {**DEFAULT_RESOURCES, **request.get("computeResources", {})}
        validation.check_environment(resources)
        environment = SandboxEnvironment(
            name=name,
            arn=arn(self._config.region, "compute-environment", name),
            state=ResourceState(request.get("state", ResourceState.ENABLED)),
            tags=request.get("tags", {}),
            resources=resources,
            service_role=request.get("serviceRole") or self._services.service_role(),
            cluster_arn=self._services.create_cluster(f"AWSBatch-{name}"),
        )
        environment.requested_vcpus = resources.pop("desiredvCpus", 0)
        self._begin_change(environment, ResourceStatus.CREATING)
        self._state.environments[name] = environment
        return _named_environment(environment)

    def _begin_change(self, environment: SandboxEnvironment, status: ResourceStatus) -> None:
        reason = validation.invalid_reason(self._services, environment.resources)
        ends = self._clock.now() + self._config.change_seconds
        if reason is None:
            environment.begin_change(status, ends, ResourceStatus.VALID)
        else:
            environment.begin_change(status, ends, ResourceStatus.INVALID, reason)

    def _update_environment(self, request: Request) -> Content:
        environment = self._environment(request["computeEnvironment"])
        validation.check_stable(environment)
        changed = dict(request.get("computeResources", {}))
        resources = {**environment.resources, **changed}
        validation.check_environment(resources)
        differing = {key for key in changed if changed[key] != environment.resources.get(key)}
        desired = resources.pop("desiredvCpus", None)
        if desired is not None:
            running = self._fleet.vcpus(environment)
            validation.reject_if(
                desired < running, "Manually scaling down compute environment is not supported."
            )
            environment.requested_vcpus = desired
        environment.resources = resources
        environment.state = ResourceState(request.get("state", environment.state))
        environment.service_role = request.get("serviceRole", environment.service_role)
        self._begin_change(environment, ResourceStatus.UPDATING)
        if not differing <= SCALING_KEYS:
            self._fleet.replace_all(environment)
        return _named_environment(environment)

    def _delete_environment(self, request: Request) -> Content:
        environment = self._state.environment(request["computeEnvironment"])
        if environment is None:
            return {}
        validation.check_deletable(environment)
        validation.reject_if(
            any(environment in queue.environments for queue in self._state.queues.values()),
            "Cannot delete, found existing JobQueue relationship.",
        )
        ends = self._clock.now() + self._config.delete_seconds
        if self._services.has_role(environment.service_role):
            environment.begin_change(ResourceStatus.DELETING, ends, ResourceStatus.DELETED)
        else:
            reason = (
                "CLIENT_ERROR - User: arn:aws:sts::batch.amazonaws.com is not authorized to "
                f"perform: sts:AssumeRole on resource: {environment.service_role}"
            )
            environment.begin_change(ResourceStatus.DELETING, ends, ResourceStatus.INVALID, reason)
        return {}

    def _describe_environments(self, request: Request) -> Content:
        chosen = _select(self._state.environments.values(), request.get("computeEnvironments"))
        described = [e.describe(self._fleet.vcpus(e)) for e in chosen]
        return page(request, "computeEnvironments", described)

    def _environment(self, name_or_arn: str) -> SandboxEnvironment:
        environment = self._state.environment(name_or_arn)
        if environment is None:
            raise BatchClientError(f"{name_or_arn} does not exist")
        return environment

    # job queues

    def _create_queue(self, request: Request) -> Content:
        name = request["jobQueueName"]
        validation.check_name(name, "jobQueueName")
        validation.reject_if(name in self._state.queues, "Object already exists")
        validation.reject_if(
            "schedulingPolicyArn" in request, "the sandbox supports FIFO queues only"
        )
        limits = request.get("jobStateTimeLimitActions", [])
        validation.check_time_limits(limits)
        queue = JobQueue(
            name=name,
            arn=arn(self._config.region, "job-queue", name),
            state=ResourceState(request.get("state", ResourceState.ENABLED)),
            tags=request.get("tags", {}),
            priority=request["priority"],
            environments=self._ordered_environments(request["computeEnvironmentOrder"]),
            time_limits=limits,
        )
        ends = self._clock.now() + self._config.change_seconds
        queue.begin_change(ResourceStatus.CREATING, ends, ResourceStatus.VALID)
        self._state.queues[name] = queue
        return {"jobQueueName": name, "jobQueueArn": queue.arn}

    def _ordered_environments(self, order: list[Request]) -> list[SandboxEnvironment]:
        entries = sorted(order, key=lambda entry: int(entry["order"]))
        environments = [self._environment(entry["computeEnvironment"]) for entry in entries]
        validation.check_environment_order(environments)
        return environments

    def _update_queue(self, request: Request) -> Content:
        queue = self._state.queue(request["jobQueue"])
        if queue is None:
            raise BatchClientError(f"{request['jobQueue']} does not exist")
        validation.check_stable(queue)
        limits = request.get("jobStateTimeLimitActions", queue.time_limits)
        validation.check_time_limits(limits)
        if "computeEnvironmentOrder" in request:
            queue.environments = self._ordered_environments(request["computeEnvironmentOrder"])
        queue.time_limits = limits
        queue.state = ResourceState(request.get("state", queue.state))
        queue.priority = request.get("priority", queue.priority)
        ends = self._clock.now() + self._config.change_seconds
        queue.begin_change(ResourceStatus.UPDATING, ends, ResourceStatus.VALID)
        return {"jobQueueName": queue.name, "jobQueueArn": queue.arn}

    def _delete_queue(self, request: Request) -> Content:
        queue = self._state.queue(request["jobQueue"])
        if queue is None:
            return {}
        validation.check_deletable(queue)
        ends = self._clock.now() + self._config.delete_seconds
        queue.begin_change(ResourceStatus.DELETING, ends, ResourceStatus.DELETED)
        for job in self._state.live_jobs():
            if job.queue is queue:
                JobApi.request_stop(job, "Job Queue deleted", self._clock.now(), terminate=True)
        return {}

    def _describe_queues(self, request: Request) -> Content:
        chosen = _select(self._state.queues.values(), request.get("jobQueues"))
        return page(request, "jobQueues", [queue.describe() for queue in chosen])

    # job definitions

    def _register_definition(self, request: Request) -> Content:
        validation.check_definition(request)
        name = request["jobDefinitionName"]
        revision = 1 + sum(known.name == name for known in self._state.definitions)
        definition = JobDefinition(
            name=name,
            revision=revision,
            arn=arn(self._config.region, "job-definition", f"{name}:{revision}"),
            request=request,
            tags=request.get("tags", {}),
        )
        self._state.definitions.append(definition)
        return {
            "jobDefinitionName": name,
            "jobDefinitionArn": definition.arn,
            "revision": revision,
        }

    def _deregister_definition(self, request: Request) -> Content:
        definition = self._state.definition(request["jobDefinition"])
        if definition is None:
            raise BatchClientError(f"{request['jobDefinition']} does not exist")
        definition.status = "INACTIVE"
        return {}

    def _describe_definitions(self, request: Request) -> Content:
        wanted = request.get("jobDefinitions")
        found = [
            known.describe()
            for known in self._state.definitions
            if request.get("jobDefinitionName") in (None, known.name)
            and request.get("status") in (None, known.status)
            and (wanted is None or {known.arn, f"{known.name}:{known.revision}"} & set(wanted))
        ]
        return page(request, "jobDefinitions", found)

    # tags

    def _tag(self, request: Request) -> Content:
        self._tags(request["resourceArn"]).update(request["tags"])
        return {}

    def _untag(self, request: Request) -> Content:
        tags = self._tags(request["resourceArn"])
        for key in request["tagKeys"]:
            tags.pop(key, None)
        return {}

    def _list_tags(self, request: Request) -> Content:
        return {"tags": self._tags(request["resourceArn"])}

    def _tags(self, resource: str) -> dict[str, str]:
        found = self._state.by_arn(resource)
        if found is None:
            raise BatchClientError(f"Resource {resource} does not exist")
        return found.tags


def _named_environment(environment: SandboxEnvironment) -> Content:
    return {
        "computeEnvironmentName": environment.name,
        "computeEnvironmentArn": environment.arn,
    }


def _select(
    entries: Iterable[NamedResource], names_or_arns: list[str] | None
) -> list[NamedResource]:
    """Return the named resources, or all if no names are given."""
    if not names_or_arns:
        return list(entries)
    return [entry for entry in entries if {entry.name, entry.arn} & set(names_or_arns)]
