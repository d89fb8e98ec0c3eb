"""The machines of an account and the jobs that ran on them, as AWS tells of them.

EC2 tells of a machine until about an hour after its end, Batch of a job for some days, and ECS
which machine a job is on only while the machine lives. So one asks in time, and keeps what was
said (`writer.py`).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from resources.aws.clients import AwsClients
from resources.batch.jobs import TERMINAL_STATES, Job, describe_jobs, to_seconds
from resources.batch.names import Queue
from resources.batch.outcome import classify_attempt, attempt_facts
from resources.pricing.prices import Market

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient
    from mypy_boto3_batch.type_defs import KeyValuesPairTypeDef

TERMINATED_STATES = frozenset({"shutting-down", "terminated"})
# EC2 user guide, "State reason codes": EC2 took a spot machine back.
SPOT_INTERRUPTION_CODE = "Server.SpotInstance"
# How a transition's time is written: "User initiated (2026-11-23 09:00:00 GMT)".
TRANSITION_TIME = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)")
# DescribeContainerInstances takes this many at once.
CONTAINER_INSTANCES_PER_CALL = 100


class Machine(BaseModel):
    """A machine's life. Times are seconds since 1970 UTC.

    `seen_at` is when it was last asked for; `ended` is None while it lives, and `end_known` tells
    whether EC2 told the time of its end, or only that it is gone.
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
    """A job of one of our queues, as Batch knows it. Times are seconds since 1970 UTC.

    `container_instance` is the ARN of where it ran, `instance_id` the machine behind it: None
    while nobody has told. `end` and `said` are as in `launch_record.Attempt`.
    """

    model_config = ConfigDict(frozen=True)

    job_id: str
    name: str
    queue: str
    created: float
    started: float | None = None
    stopped: float | None = None
    container_instance: str | None = None
    instance_id: str | None = None
    end: str | None = None
    said: str | None = None


def list_machines(clients: AwsClients, name: str, now: float) -> Iterator[Machine]:
    """The machines with our tag that EC2 tells of, also those that ended within the last hour.

    Args:
        name: see `resources.settings.profile.Aws`.

    Raises:
        botocore.exceptions.ClientError, BotoCoreError: AWS refused, or did not answer.
    """
    pages = clients.of("ec2").get_paginator("describe_instances")
    for page in pages.paginate(Filters=[{"Name": "tag:Project", "Values": [name]}]):
        for reservation in page["Reservations"]:
            for instance in reservation["Instances"]:
                yield parse_machine(instance, now)


def parse_machine(instance: Mapping[str, Any], now: float) -> Machine:
    """A machine as DescribeInstances tells of it, asked now."""
    gone = instance["State"]["Name"] in TERMINATED_STATES
    ended = _moment(instance.get("StateTransitionReason", "")) if gone else None
    return Machine(
        instance_id=instance["InstanceId"],
        instance_type=instance["InstanceType"],
        zone=instance["Placement"]["AvailabilityZone"],
        market="spot" if instance.get("InstanceLifecycle") == "spot" else "ondemand",
        launched=instance["LaunchTime"].timestamp(),
        seen_at=now,
        ended=(ended or now) if gone else None,
        end_known=ended is not None,
        taken=instance.get("StateReason", {}).get("Code", "").startswith(SPOT_INTERRUPTION_CODE),
    )


def _moment(transition: str) -> float | None:
    found = TRANSITION_TIME.search(transition)
    if found is None:
        return None
    return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()


def list_jobs(
    clients: AwsClients,
    name: str,
    since: float,
    known: Mapping[str, BatchJob],
    places: Mapping[str, str],
) -> dict[str, BatchJob]:
    """The jobs of our queues that were created since, and those known before, by id.

    Args:
        known: what was told before; jobs that had ended then are not asked for again.
        places: ids of machines by the ARNs of container instances, as ECS has told before.

    Raises:
        botocore.exceptions.ClientError, BotoCoreError: AWS refused, or did not answer.
    """
    batch = clients.of("batch")
    queues = {job.job_id: job.queue for job in known.values()} | dict(_listed(batch, name, since))
    wanted = [job for job in queues if not (job in known and known[job].end)]
    told = {
        job_id: _ran_job(job, queues[job_id])
        for job_id, job in describe_jobs(batch, wanted).items()
    }
    jobs = {**known, **told}
    places = {**known_instance_ids(jobs.values()), **places}
    arns = {job.container_instance for job in told.values() if job.container_instance}
    places |= _machines_behind(clients, arns - set(places))
    return {job_id: _placed(job, places) for job_id, job in jobs.items()}


def known_instance_ids(jobs: Iterable[BatchJob]) -> dict[str, str]:
    """Ids of machines by the ARNs of container instances, as far as jobs tell."""
    return {
        job.container_instance: job.instance_id
        for job in jobs
        if job.container_instance and job.instance_id
    }


def _placed(job: BatchJob, places: Mapping[str, str]) -> BatchJob:
    place = job.instance_id or places.get(job.container_instance or "")
    return job.model_copy(update={"instance_id": place})


def _listed(batch: "BatchClient", name: str, since: float) -> Iterator[tuple[str, str]]:
    """Ids of jobs, with their queues."""
    kept = batch.describe_job_queues(jobQueues=[f"{name}-{queue}" for queue in Queue])
    there = {queue["jobQueueName"] for queue in kept["jobQueues"]}
    pages = batch.get_paginator("list_jobs")
    created: list[KeyValuesPairTypeDef] = [
        {"name": "AFTER_CREATED_AT", "values": [str(int(since * 1000))]}
    ]
    for queue in Queue:
        if f"{name}-{queue}" not in there:
            continue
        for page in pages.paginate(jobQueue=f"{name}-{queue}", filters=created):
            for job in page["jobSummaryList"]:
                yield job["jobId"], queue


def _ran_job(job: Job, queue: str) -> BatchJob:
    # A job's own end is a little later than that of its attempt.
    ran = job["attempts"][-1] if job.get("attempts") else job
    facts = attempt_facts(job)
    ended = job["status"] in TERMINAL_STATES
    return BatchJob(
        job_id=job["jobId"],
        name=job["jobName"],
        queue=queue,
        created=job["createdAt"] / 1000,
        started=to_seconds(ran.get("startedAt")),
        stopped=to_seconds(ran.get("stoppedAt")),
        container_instance=ran.get("container", {}).get("containerInstanceArn"),
        end=classify_attempt(facts).value if ended else None,
        said=facts.reason if ended else None,
    )


def _machines_behind(clients: AwsClients, missing: Iterable[str]) -> dict[str, str]:
    """Ids of machines by the ARNs of container instances; ECS tells of living ones alone."""
    places: dict[str, str] = {}
    by_cluster: dict[str, list[str]] = {}
    for arn in sorted(missing):
        by_cluster.setdefault(arn.split("/")[1], []).append(arn)
    for cluster, arns in by_cluster.items():
        places |= dict(_described(clients, cluster, arns))
    return places


def _described(clients: AwsClients, cluster: str, arns: list[str]) -> Iterator[tuple[str, str]]:
    from botocore.exceptions import ClientError

    for start in range(0, len(arns), CONTAINER_INSTANCES_PER_CALL):
        some = arns[start : start + CONTAINER_INSTANCES_PER_CALL]
        try:
            answer = clients.of("ecs").describe_container_instances(
                cluster=cluster, containerInstances=some
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ClusterNotFoundException":
                raise
            return  # torn down, and its machines with it
        for found in answer["containerInstances"]:
            yield found["containerInstanceArn"], found["ec2InstanceId"]
