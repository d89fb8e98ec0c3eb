"""Execution of runs that belong to the code location although its server did not launch them.

Runs of Dagster's public `execute_job` have no code location: the UI does not show them with their
job, and its "Re-execute" fails for them. The API that sets a run's origin is private to Dagster;
every use of it is in this file.
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

# The code location that `munin ui` and workspace.yaml load; the module's name is the location's.
LOCATION_MODULE = "odins_ravne_assets.definitions"


def execute_in_location(
    instance: dg.DagsterInstance,
    job: ReconstructableJob,
    run_config: Mapping[str, Any],
    tags: Mapping[str, str],
) -> dg.JobExecutionResult:
    """Execute a job as `dagster.execute_job` does, as a run of the code location."""
    definition = job.get_definition()
    location = ManagedGrpcPythonEnvCodeLocationOrigin(
        LoadableTargetOrigin(module_name=LOCATION_MODULE)
    )
    repository = RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME)
    run = instance.create_run_for_job(
        definition,
        run_config=run_config,
        tags=tags,
        remote_job_origin=RemoteJobOrigin(repository, definition.name),
        job_code_origin=job.get_python_origin(),
    )
    return execute_run(job, run, instance)
