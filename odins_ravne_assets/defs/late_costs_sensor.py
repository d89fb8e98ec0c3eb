"""The sensor that reports costs which become known after a run.

When a launch ends, its last machine still idles for minutes, and EC2 may reclaim it, which makes it
free. Later costs are reported as asset observations outside of any run, with the metadata keys of
the materializations; Dagster plots both in one line.
"""

from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster import RunsFilter

from odins_ravne_assets.cameras.catalog import CameraCatalog
from odins_ravne_assets.costs.reconciliation import reconcile_ledgers
from odins_ravne_assets.instance_home import catalog_folder
from resources.errors import RavneError
from resources.settings.dagster_resource import RunSettings

# EC2 reports a machine for an hour after its end, which is minutes after the end of a run.
LATE_COSTS_CHECK_SECONDS = 900
COSTS_CHANGE_WITHIN = timedelta(hours=2)
PARTITION_TAG = "dagster/partition"


@dg.sensor(
    minimum_interval_seconds=LATE_COSTS_CHECK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="After runs on AWS: reconciles the costs of their last machines, which are known "
    "only after these have terminated, and reports them to the assets.",
)
def late_costs(context: dg.SensorEvaluationContext, settings: RunSettings) -> dg.SkipReason:
    cloud = settings.load().cloud
    recent = _recent_cameras(context.instance)
    if cloud is None or not recent:
        return dg.SkipReason("no camera has run on AWS within the last two hours")
    cameras = [known for known in CameraCatalog(catalog_folder()).on_s3() if known[0] in recent]
    remarks: list[str] = []
    try:
        changed = reconcile_ledgers(context.instance, cloud.aws, cameras, remarks)
    except RavneError as error:
        return dg.SkipReason(str(error))  # a laptop without a network is no failure
    for remark in dict.fromkeys(remarks):
        context.log.warning(remark)
    return dg.SkipReason(f"launches with updated costs: {changed}")


def _recent_cameras(instance: dg.DagsterInstance) -> set[str]:
    """Return the ids of cameras with a run that is active or ended recently."""
    since = datetime.now(UTC) - COSTS_CHANGE_WITHIN
    runs = instance.get_runs(RunsFilter(updated_after=since))
    return {run.tags[PARTITION_TAG] for run in runs if PARTITION_TAG in run.tags}
