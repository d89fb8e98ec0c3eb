"""What becomes of compute that nobody uses: a sensor that looks, and a job that takes it away."""

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter

from odins_ravne_assets.cameras.catalog import known_on_s3
from resources.aws.clients import AwsClients
from resources.clock import system_clock
from resources.compute.cleanup import ComputeTidy
from resources.compute.idle_rules import IdleState, consider
from resources.errors import RavneError
from resources.settings.dagster_resource import RunSettings
from resources.settings.profile import Cloud

IDLE_CHECK_SECONDS = 300
# A sensor that has not looked for so long by this machine's clock was asleep, with its machine.
OVERSLEPT_SECONDS = 1800.0
NOT_FINISHED = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


class TidyConfig(dg.Config):
    """What a look of the sensor has found; the job looks again before it does anything.

    Args:
        end_jobs: names of jobs whose runs are gone, by their ids.
        dead_holds: marks of runs that are gone, and when they were renewed last.
    """

    tear_down: bool
    end_jobs: dict[str, str]
    dead_holds: dict[str, int]


@dg.op(description="Ends jobs whose runs are gone and takes unused machines and queues away.")
def tidy_up(context: dg.OpExecutionContext, config: TidyConfig, settings: RunSettings) -> None:
    tidy = _tidy(_cloud(settings))
    if config.end_jobs:
        tidy.end_jobs(config.end_jobs, config.dead_holds, context.log.info)
    if config.tear_down:
        used_by = tidy.tear_down(config.dead_holds, context.log.info)
        context.log.info(f"left as it is: {used_by}" if used_by else "nothing is set up any more")


@dg.job(description="Ends jobs whose runs are gone and takes unused machines and queues away.")
def tidy_compute() -> None:
    tidy_up()


@dg.sensor(
    job=tidy_compute,
    minimum_interval_seconds=IDLE_CHECK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks whether machines and queues are left up with nothing to do, and whether "
    "jobs are watched by a run; after the times in cloud.unused of the profile, it tidies up.",
)
def unused_compute(
    context: dg.SensorEvaluationContext, settings: RunSettings
) -> dg.SensorResult | dg.SkipReason:
    cloud = _cloud(settings)
    if context.instance.get_runs(RunsFilter(job_name=tidy_compute.name, statuses=NOT_FINISHED)):
        return dg.SkipReason("tidying up is going on")
    try:
        look = _tidy(cloud).look()
    except RavneError as error:
        return dg.SkipReason(str(error))  # a laptop without a network is no failure
    memory = IdleState.model_validate_json(context.cursor) if context.cursor else IdleState()
    memory, verdict = consider(memory, look, cloud.unused, _overslept(context))
    if not (verdict.tear_down or verdict.end_jobs):
        return dg.SensorResult(
            skip_reason=dg.SkipReason(verdict.says), cursor=memory.model_dump_json()
        )
    config = TidyConfig(
        tear_down=verdict.tear_down,
        end_jobs=dict(verdict.end_jobs),
        dead_holds=dict(verdict.dead),
    )
    request = dg.RunRequest(run_config=dg.RunConfig(ops={"tidy_up": config}))
    return dg.SensorResult(run_requests=[request], cursor=memory.model_dump_json())


def _overslept(context: dg.SensorEvaluationContext) -> bool:
    last = context.last_tick_completion_time
    return last is not None and system_clock().now() - last > OVERSLEPT_SECONDS


def _cloud(settings: RunSettings) -> Cloud:
    cloud = settings.load().cloud
    # Only a profile with a cloud has these definitions; a run may name another one.
    if cloud is None:
        raise dg.Failure("the profile has no cloud section: there is no compute to tidy up")
    return cloud


def _tidy(cloud: Cloud) -> ComputeTidy:
    return ComputeTidy(AwsClients(cloud.aws), cloud.aws, tuple(known_on_s3()))
