"""Calls of AWS Batch: describe, find and submit jobs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient

TERMINAL_STATES = frozenset({"SUCCEEDED", "FAILED"})
# DescribeJobs takes this many at once.
DESCRIBE_LIMIT = 100
# Tags of AWS: at most 50 on a job, keys to 128 and values to 256 characters.
TAG_VALUE_LENGTH = 256
Job = Mapping[str, Any]  # as DescribeJobs tells it


def submit_parameters(
    params: Mapping[str, Any], environment: Mapping[str, str], tags: Mapping[str, str]
) -> dict[str, Any]:
    """The caller's parameters of SubmitJob with Pipes's environment and Dagster's tags added.

    What the caller set stays: its variables and tags of the same name win over ours.
    """
    overrides = dict(params.get("containerOverrides", {}))
    variables = dict(environment)
    variables |= {each["name"]: each["value"] for each in overrides.get("environment", [])}
    overrides["environment"] = [{"name": name, "value": variables[name]} for name in variables]
    ours = {key: value[:TAG_VALUE_LENGTH] for key, value in tags.items()}
    return {
        "propagateTags": True,
        **params,
        "containerOverrides": overrides,
        "tags": {**ours, **params.get("tags", {})},
    }


def describe_jobs(batch: "BatchClient", ids: Sequence[str]) -> dict[str, Job]:
    """What Batch tells of some jobs, by id. One just submitted may be missing for a while."""
    found: dict[str, Job] = {}
    for start in range(0, len(ids), DESCRIBE_LIMIT):
        answer = batch.describe_jobs(jobs=list(ids[start : start + DESCRIBE_LIMIT]))
        found |= {job["jobId"]: job for job in answer["jobs"]}
    return found


def to_seconds(milliseconds: int | None) -> float | None:
    """A time of AWS Batch's, in seconds since 1970 UTC."""
    return None if milliseconds is None else milliseconds / 1000


def find_job(batch: "BatchClient", queue: str, name: str) -> str | None:
    """The id of the job of this name, if a queue has or lately had one."""
    found = batch.list_jobs(jobQueue=queue, filters=[{"name": "JOB_NAME", "values": [name]}])
    jobs = found["jobSummaryList"]
    return str(jobs[0]["jobId"]) if jobs else None


def job_console_url(region: str, job_id: str) -> str:
    """Where AWS's console shows a job."""
    return (
        f"https://{region}.console.aws.amazon.com/batch/home?region={region}#jobs/detail/{job_id}"
    )
