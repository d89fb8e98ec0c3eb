"""The machines of an account and the jobs that ran on them, as AWS reports them.

EC2 reports a machine for about an hour after its end, Batch a job for some days, and ECS the
machine of a job only while the machine runs. So the answers are requested in time and stored (see
`launch_facts.py`).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from resources.aws.batch_states import ENDED_STATUSES
from resources.aws.clients import AwsClients
from resources.batch.jobs import Job, describe_jobs, to_seconds
from resources.batch.names import Queue
from resources.batch.outcome import AttemptOutcome, attempt_facts, classify_attempt
from resources.pricing.prices import Market

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient
    from mypy_boto3_batch.type_defs import KeyValuesPairTypeDef

TERMINATED_STATES = frozenset({"shutting-down", "terminated"})
# EC2 user guide, "State reason codes": a spot interruption.
SPOT_INTERRUPTION_CODE = "Server.SpotInstance"
# The time in a transition reason: "User initiated (2026-11-23 09:00:00 GMT)".
TRANSITION_TIME = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)")
# Limit of DescribeContainerInstances.
CONTAINER_INSTANCES_PER_CALL = 100


class Machine(BaseModel):
    """A machine's lifetime. Times are seconds since 1970 UTC.

    Args:
        seen_at: when EC2 last reported it.
        ended: None while it runs.
        end_known: True if EC2 reported the time of its end, not only that it has ended.
        taken: EC2 interrupted it.
    """

    model_config = ConfigDict(frozen=True)

    instance_id: str
    instance_type: str
    zone: str
    market: Market
    launched: float
    seen_at: float
    ended: float | None = None
    end_known: bool = False
    taken: bool = False


class BatchJob(BaseModel):
    """A job of one of the account's queues. Times are seconds since 1970 UTC.

    Args:
        container_instance: the ARN of the ECS container instance on which it ran.
        instance_id: the machine of the container instance; None: not known.
        end, said: as in `launch_record.Attempt`.
    """

    model_config = ConfigDict(frozen=True)

    job_id: str
    name: str
    queue: Queue
    created: float
    started: float | None = None
    stopped: float | None = None
    container_instance: str | None = None
    instance_id: str | None = None
    end: AttemptOutcome | None = None
    said: str | None = None

    @property
    def on_demand(self) -> bool:
        """True if it is in the on-demand queue, False if it is in a spot queue."""
        return self.queue == Queue.ON_DEMAND


def list_machines(clients: AwsClients, name: str, now: float) -> Iterator[Machine]:
    """Yield the machines with the tag Project=name, including those of the last hour.

    Args:
        name: see `resources.settings.profile.Aws`.

    Raises:
        botocore.exceptions.ClientError, BotoCoreError: AWS denies the request or does not answer.
    """
    pages = clients.of("ec2").get_paginator("describe_instances")
    for page in pages.paginate(Filters=[{"Name": "tag:Project", "Values": [name]}]):
        for reservation in page["Reservations"]:
            for instance in reservation["Instances"]:
                yield parse_machine(instance, now)


def parse_machine(instance: Mapping[str, Any], now: float) -> Machine:
    """Parse an instance of DescribeInstances, requested now."""
    terminated = instance["State"]["Name"] in TERMINATED_STATES
    ended = _transition_time(instance.get("StateTransitionReason", "")) if terminated else None
    is_spot = instance.get("InstanceLifecycle") == "spot"
    return Machine(
        instance_id=instance["InstanceId"],
        instance_type=instance["InstanceType"],
        zone=instance["Placement"]["AvailabilityZone"],
        market=Market.SPOT if is_spot else Market.ON_DEMAND,
        launched=instance["LaunchTime"].timestamp(),
        seen_at=now,
        ended=(ended or now) if terminated else None,
        end_known=ended is not None,
        taken=instance.get("StateReason", {}).get("Code", "").startswith(SPOT_INTERRUPTION_CODE),
    )


def _transition_time(reason: str) -> float | None:
    found = TRANSITION_TIME.search(reason)
    if found is None:
        return None
    return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()


def list_jobs(
    clients: AwsClients,
    name: str,
    since: float,
    known: Mapping[str, BatchJob],
    instance_ids: Mapping[str, str],
) -> dict[str, BatchJob]:
    """Return the jobs of the account's queues created since a time, and known jobs, by id.

    Args:
        known: jobs of earlier answers; those that have ended are not requested again.
        instance_ids: ids of machines by the ARNs of container instances, from earlier answers of
            ECS.

    Raises:
        botocore.exceptions.ClientError, BotoCoreError: AWS denies the request or does not answer.
    """
    batch = clients.of("batch")
    queues = {job.job_id: job.queue for job in known.values()} | dict(_job_ids(batch, name, since))
    job_ids = [job for job in queues if not (job in known and known[job].end)]
    reported = {
        job_id: _parse_job(job, queues[job_id])
        for job_id, job in describe_jobs(batch, job_ids).items()
    }
    jobs = {**known, **reported}
    instance_ids = {**known_instance_ids(jobs.values()), **instance_ids}
    arns = {job.container_instance for job in reported.values() if job.container_instance}
    instance_ids |= _request_instance_ids(clients, arns - set(instance_ids))
    return {job_id: _with_instance_id(job, instance_ids) for job_id, job in jobs.items()}


def known_instance_ids(jobs: Iterable[BatchJob]) -> dict[str, str]:
    """Return the ids of machines by the ARNs of container instances, as far as jobs have both."""
    return {
        job.container_instance: job.instance_id
        for job in jobs
        if job.container_instance and job.instance_id
    }


def _with_instance_id(job: BatchJob, instance_ids: Mapping[str, str]) -> BatchJob:
    instance_id = job.instance_id or instance_ids.get(job.container_instance or "")
    return job.model_copy(update={"instance_id": instance_id})


def _job_ids(batch: "BatchClient", name: str, since: float) -> Iterator[tuple[str, Queue]]:
    """The ids of jobs created since a time, with their queues."""
    answer = batch.describe_job_queues(jobQueues=[f"{name}-{queue}" for queue in Queue])
    existing = {queue["jobQueueName"] for queue in answer["jobQueues"]}
    pages = batch.get_paginator("list_jobs")
    created: list[KeyValuesPairTypeDef] = [
        {"name": "AFTER_CREATED_AT", "values": [str(int(since * 1000))]}
    ]
    for queue in Queue:
        if f"{name}-{queue}" not in existing:
            continue
        for page in pages.paginate(jobQueue=f"{name}-{queue}", filters=created):
            for job in page["jobSummaryList"]:
                yield job["jobId"], queue


def _parse_job(job: Job, queue: Queue) -> BatchJob:
    # The job's own end is a little later than its attempt's.
    attempt = job["attempts"][-1] if job.get("attempts") else job
    facts = attempt_facts(job)
    ended = job["status"] in ENDED_STATUSES
    return BatchJob(
        job_id=job["jobId"],
        name=job["jobName"],
        queue=queue,
        created=job["createdAt"] / 1000,
        started=to_seconds(attempt.get("startedAt")),
        stopped=to_seconds(attempt.get("stoppedAt")),
        container_instance=attempt.get("container", {}).get("containerInstanceArn"),
        end=classify_attempt(facts) if ended else None,
        said=facts.reason if ended else None,
    )


def _request_instance_ids(clients: AwsClients, arns: Iterable[str]) -> dict[str, str]:
    """The ids of machines by the ARNs of container instances; ECS reports running machines only."""
    instance_ids: dict[str, str] = {}
    by_cluster: dict[str, list[str]] = {}
    for arn in sorted(arns):
        by_cluster.setdefault(arn.split("/")[1], []).append(arn)
    for cluster, in_cluster in by_cluster.items():
        instance_ids |= dict(_describe_container_instances(clients, cluster, in_cluster))
    return instance_ids


def _describe_container_instances(
    clients: AwsClients, cluster: str, arns: list[str]
) -> Iterator[tuple[str, str]]:
    from botocore.exceptions import ClientError

    for start in range(0, len(arns), CONTAINER_INSTANCES_PER_CALL):
        chunk = arns[start : start + CONTAINER_INSTANCES_PER_CALL]
        try:
            answer = clients.of("ecs").describe_container_instances(
                cluster=cluster, containerInstances=chunk
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ClusterNotFoundException":
                raise
            return  # torn down with its machines
        for instance in answer["containerInstances"]:
            yield instance["containerInstanceArn"], instance["ec2InstanceId"]
