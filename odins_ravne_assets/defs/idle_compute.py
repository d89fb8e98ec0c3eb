"""Cleanup of idle compute: a sensor that checks for it, and the job that removes it."""

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter

from odins_ravne_assets.cameras.catalog import CameraCatalog
from odins_ravne_assets.instance_home import catalog_folder
from resources.clock import system_clock
from resources.compute.dagster_resource import ComputeEnvironmentResource
from resources.compute.idle_rules import IdleState, decide_cleanup
from resources.errors import RavneError
from resources.printable import printable
from resources.settings.dagster_resource import RunSettings
from resources.settings.profile import Unused

IDLE_CHECK_SECONDS = 300
# After a pause this long between two checks, the machine of the sensor was asleep.
ASLEEP_SECONDS = 1800.0
NOT_FINISHED = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
CLEANUP_DESCRIPTION = "Ends jobs whose runs have died, and tears down idle compute."


class CleanupConfig(dg.Config):
    """The findings of a sensor tick; the job checks them again before it acts.

    Args:
        tear_down: tear the compute down.
        end_jobs: names of jobs whose runs have died, by job id.
        expired_leases: usage leases of runs that have died: last renewal, by key.
    """

    tear_down: bool
    end_jobs: dict[str, str]
    expired_leases: dict[str, int]


@dg.op(name="tidy_up", description=CLEANUP_DESCRIPTION)
def clean_up(
    context: dg.OpExecutionContext,
    config: CleanupConfig,
    compute_environment: ComputeEnvironmentResource,
) -> None:
    cleanup = compute_environment.cleanup(CameraCatalog(catalog_folder()).on_s3())
    if config.end_jobs:
        cleanup.end_jobs(config.end_jobs, config.expired_leases, context.log.info)
    if config.tear_down:
        in_use = cleanup.tear_down(config.expired_leases, context.log.info)
        context.log.info(f"not torn down: {in_use}" if in_use else "compute is torn down")


@dg.job(description=CLEANUP_DESCRIPTION)
def tidy_compute() -> None:
    clean_up()


@dg.sensor(
    job=tidy_compute,
    minimum_interval_seconds=IDLE_CHECK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Checks for idle machines and queues, and for jobs that no run monitors; starts "
    "the job tidy_compute after the times in the profile's section cloud.unused.",
)
def unused_compute(
    context: dg.SensorEvaluationContext,
    settings: RunSettings,
    compute_environment: ComputeEnvironmentResource,
) -> dg.SensorResult | dg.SkipReason:
    rules = _rules(settings)
    if context.instance.get_runs(RunsFilter(job_name=tidy_compute.name, statuses=NOT_FINISHED)):
        return dg.SkipReason("a cleanup run is in progress")
    try:
        usage = compute_environment.cleanup(CameraCatalog(catalog_folder()).on_s3()).check()
    except RavneError as error:
        return dg.SkipReason(str(error))  # a laptop without a network is no failure
    state, problem = IdleState.read(context.cursor)
    if problem:
        context.log.warning(
            f"the stored cursor cannot be read ({printable(problem)}): all times of idle compute "
            "start again"
        )
    state, decision = decide_cleanup(state, usage, rules, _was_asleep(context))
    if not (decision.tear_down or decision.end_jobs):
        return dg.SensorResult(
            skip_reason=dg.SkipReason(decision.summary), cursor=state.model_dump_json()
        )
    config = CleanupConfig(
        tear_down=decision.tear_down,
        end_jobs=dict(decision.end_jobs),
        expired_leases=dict(decision.expired_leases),
    )
    request = dg.RunRequest(run_config=dg.RunConfig(ops={clean_up.name: config}))
    return dg.SensorResult(run_requests=[request], cursor=state.model_dump_json())


def _was_asleep(context: dg.SensorEvaluationContext) -> bool:
    last = context.last_tick_completion_time
    return last is not None and system_clock().now() - last > ASLEEP_SECONDS


def _rules(settings: RunSettings) -> Unused:
    cloud = settings.load().cloud
    if cloud is None:  # the profile was edited after the code location was loaded
        raise dg.Failure("the profile has no section cloud: reload the code location")
    return cloud.unused
