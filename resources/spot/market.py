"""The current state of the spot compute environment: its machines and jobs, read from AWS.

One snapshot per poll, whatever the number of jobs.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from resources.aws.clients import AwsClients
from resources.batch.names import SPOT_QUEUES
from resources.settings.profile import Aws
from resources.spot.queue_state import EnvironmentVcpus, QueueState, queue_states

if TYPE_CHECKING:
    from mypy_boto3_batch.literals import JobStatusType
    from mypy_boto3_ec2.type_defs import InstanceTypeDef

MACHINE_STATES = ["pending", "running"]
BUSY_STATES: "tuple[JobStatusType, ...]" = ("STARTING", "RUNNING")


@dataclass(frozen=True)
class SpotEnvironment:
    """A snapshot of the spot compute environment.

    Args:
        job_vcpus: vCPUs of one job; all jobs of these queues are alike.
    """

    clients: AwsClients
    aws: Aws
    job_vcpus: int

    def queue_states(self, job_ids: Iterable[str]) -> dict[str, QueueState]:
        """Return the state of each of these RUNNABLE jobs, by job id."""
        wanted = set(job_ids)
        order = [job for queue in SPOT_QUEUES for job in self._jobs(queue, "RUNNABLE")]
        order += sorted(wanted - set(order))  # ListJobs lags behind DescribeJobs
        found = queue_states(self._environment, [self.job_vcpus] * len(order))
        return {job: state for job, state in zip(order, found, strict=True) if job in wanted}

    @cached_property
    def _environment(self) -> EnvironmentVcpus:
        batch = self.clients.of("batch")
        name = f"{self.aws.name}-spot"
        found = batch.describe_compute_environments(computeEnvironments=[name])
        resources = found["computeEnvironments"][0]["computeResources"]
        busy = sum(1 for q in SPOT_QUEUES for state in BUSY_STATES for _ in self._jobs(q, state))
        return EnvironmentVcpus(
            max_vcpus=resources["maxvCpus"],
            machine_vcpus=self._machine_vcpus(),
            busy_vcpus=busy * self.job_vcpus,
        )

    def _machine_vcpus(self) -> int:
        pages = (
            self.clients.of("ec2")
            .get_paginator("describe_instances")
            .paginate(
                Filters=[
                    {"Name": "tag:Project", "Values": [self.aws.name]},
                    {"Name": "instance-state-name", "Values": MACHINE_STATES},
                ]
            )
        )
        machines = [
            each
            for page in pages
            for reservation in page["Reservations"]
            for each in reservation["Instances"]
            if each.get("InstanceLifecycle") == "spot"
        ]
        return sum(self._vcpus(each) for each in machines)

    def _vcpus(self, machine: "InstanceTypeDef") -> int:
        options = machine.get("CpuOptions", {})
        cores, threads = options.get("CoreCount"), options.get("ThreadsPerCore")
        return cores * threads if cores and threads else self.job_vcpus

    def _jobs(self, queue: str, state: "JobStatusType") -> list[str]:
        """Return the ids of a queue's jobs in a state, oldest first."""
        pages = (
            self.clients.of("batch")
            .get_paginator("list_jobs")
            .paginate(jobQueue=f"{self.aws.name}-{queue}", jobStatus=state)
        )
        jobs = [job for page in pages for job in page["jobSummaryList"]]
        return [job["jobId"] for job in sorted(jobs, key=lambda job: job["createdAt"])]
