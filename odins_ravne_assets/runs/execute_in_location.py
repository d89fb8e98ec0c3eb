"""Runs that belong to the code location though it did not launch them.

Dagster's public `execute_job` makes runs of no location: the UI does not show them with their job,
and its "Re-execute" breaks on them. What says where a run is from is private to Dagster; all of
that is here.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

# As `munin ui` and workspace.yaml load it; its name is the location's.
MODULE = "odins_ravne_assets.definitions"


def execute_in_location(
    instance: dg.DagsterInstance,
    job: ReconstructableJob,
    run_config: Mapping[str, Any],
    tags: Mapping[str, str],
) -> dg.JobExecutionResult:
    """`dagster.execute_job`, for a run that the UI knows as one of the code location's."""
    definition = job.get_definition()
    location = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name=MODULE))
    repository = RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME)
    run = instance.create_run_for_job(
        definition,
        run_config=run_config,
        tags=tags,
        remote_job_origin=RemoteJobOrigin(repository, definition.name),
        job_code_origin=job.get_python_origin(),
    )
    return execute_run(job, run, instance)
