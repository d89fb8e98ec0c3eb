"""Calls of AWS Batch: describe, find and submit jobs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient

# The most jobs in one DescribeJobs call.
DESCRIBE_LIMIT = 100
# Limits of AWS: at most 50 tags on a job, keys to 128 and values to 256 characters.
TAG_VALUE_LENGTH = 256
Job = Mapping[str, Any]  # a job as DescribeJobs returns it


def submit_parameters(
    params: Mapping[str, Any], environment: Mapping[str, str], tags: Mapping[str, str]
) -> dict[str, Any]:
    """Return parameters of SubmitJob with Pipes's environment and Dagster's tags added.

    Variables and tags in `params` override added ones of the same name.
    """
    overrides = dict(params.get("containerOverrides", {}))
    variables = dict(environment)
    variables |= {each["name"]: each["value"] for each in overrides.get("environment", [])}
    overrides["environment"] = [{"name": name, "value": variables[name]} for name in variables]
    added = {key: value[:TAG_VALUE_LENGTH] for key, value in tags.items()}
    return {
        "propagateTags": True,
        **params,
        "containerOverrides": overrides,
        "tags": {**added, **params.get("tags", {})},
    }


def describe_jobs(batch: "BatchClient", ids: Sequence[str]) -> dict[str, Job]:
    """Return jobs by id. A job just submitted may be missing for a while."""
    found: dict[str, Job] = {}
    for start in range(0, len(ids), DESCRIBE_LIMIT):
        answer = batch.describe_jobs(jobs=list(ids[start : start + DESCRIBE_LIMIT]))
        found |= {job["jobId"]: job for job in answer["jobs"]}
    return found


def find_job(batch: "BatchClient", queue: str, name: str) -> str | None:
    """Return the id of the job of this name, or None if the queue has and recently had none."""
    found = batch.list_jobs(jobQueue=queue, filters=[{"name": "JOB_NAME", "values": [name]}])
    jobs = found["jobSummaryList"]
    return str(jobs[0]["jobId"]) if jobs else None


def to_seconds(milliseconds: int | None) -> float | None:
    """Return a time of AWS Batch in seconds since 1970 UTC."""
    return None if milliseconds is None else milliseconds / 1000


def job_console_url(region: str, job_id: str) -> str:
    """Return the URL of a job in the AWS console."""
    return (
        f"https://{region}.console.aws.amazon.com/batch/home?region={region}#jobs/detail/{job_id}"
    )
