"""The sensor that deletes the records of old runs: a schedule's own runs would be records too."""

from datetime import UTC, datetime

import dagster as dg

from odins_ravne_assets.runs.run_history import prune_runs
from resources.settings.dagster_resource import RunSettings

INTERVAL_SECONDS = 3600
# Of the minute after which Dagster ends a tick; the next tick continues.
DELETION_SECONDS = 20.0


@dg.sensor(
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Deletes Dagster's records of runs that are older than history.keep_days, except "
    "those that later work needs. Results and costs stay.",
)
def old_runs(context: dg.SensorEvaluationContext, settings: RunSettings) -> dg.SkipReason:
    days = settings.load().history.keep_days
    if days is None:
        return dg.SkipReason("history.keep_days is empty: runs are kept")
    return dg.SkipReason(
        str(prune_runs(context.instance, days, datetime.now(UTC), DELETION_SECONDS))
    )
