"""What a launch cost in the end, told to Dagster after its run.

As a launch ends, its last machine still idles for minutes, and EC2 may yet take it, which makes
it free. What is learned later goes to the assets as observations that belong to no run, with the
metadata that their materializations have; Dagster plots both in one line.
"""

from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster import RunsFilter

from odins_ravne_assets.cameras.catalog import CameraCatalog
from odins_ravne_assets.costs.reconciliation import reconcile_ledgers
from odins_ravne_assets.instance_home import catalog_folder
from resources.errors import RavneError
from resources.settings.dagster_resource import RunSettings

# EC2 forgets a machine an hour after its end, which comes minutes after that of a run.
LATE_COSTS_CHECK_SECONDS = 900
COSTS_CHANGE_WITHIN = timedelta(hours=2)
PARTITION_TAG = "dagster/partition"


@dg.sensor(
    minimum_interval_seconds=LATE_COSTS_CHECK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="After runs on AWS: asks what their last machines have cost, which is known only "
    "when they are gone, and tells the assets.",
)
def late_costs(context: dg.SensorEvaluationContext, settings: RunSettings) -> dg.SkipReason:
    cloud = settings.load().cloud
    lately = _ran_lately(context.instance)
    if cloud is None or not lately:
        return dg.SkipReason("no camera has run on AWS within the last two hours")
    cameras = [known for known in CameraCatalog(catalog_folder()).on_s3() if known[0] in lately]
    try:
        changed = reconcile_ledgers(context.instance, cloud.aws, cameras)
    except RavneError as error:
        return dg.SkipReason(str(error))  # a laptop without a network is no failure
    return dg.SkipReason(f"launches whose cost is now known better: {changed}")


def _ran_lately(instance: dg.DagsterInstance) -> set[str]:
    """Ids of the cameras with a run that goes on or ended a while ago."""
    since = datetime.now(UTC) - COSTS_CHANGE_WITHIN
    runs = instance.get_runs(RunsFilter(updated_after=since))
    return {run.tags[PARTITION_TAG] for run in runs if PARTITION_TAG in run.tags}
