"""What a launch cost in the end, told to Dagster after its run.

As a launch ends, its last machine still idles for minutes, and EC2 may yet take it, which makes
it free. What is learned later goes to the assets as observations that belong to no run, with the
metadata that their materializations have; Dagster plots both in one line.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster import RunsFilter

from odins_ravne_assets.cameras.catalog import known_on_s3
from odins_ravne_assets.instance_home import home
from resources.aws.clients import AwsClients
from resources.aws.errors import explained
from resources.errors import RavneError
from resources.ledger.asset_metadata import STAGES, costs_of_stages, stage_shares
from resources.ledger.idle_machines import FOLDER, look_for_waiting_machines
from resources.ledger.table import read_ledger
from resources.ledger.writer import Bookkeeper, Reconciled, books_of
from resources.pricing.sources import price_source
from resources.settings.dagster_resource import RunSettings
from resources.settings.profile import Aws
from resources.storage.object_store import LocalStore

# EC2 forgets a machine an hour after its end, which comes minutes after that of a run.
LOOK_SECONDS = 900
LEARNABLE = timedelta(hours=2)
PARTITION_TAG = "dagster/partition"


@dg.sensor(
    minimum_interval_seconds=LOOK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="After runs on AWS: asks what their last machines have cost, which is known only "
    "when they are gone, and tells the assets.",
)
def late_costs(context: dg.SensorEvaluationContext, settings: RunSettings) -> dg.SkipReason:
    cloud = settings.load().cloud
    lately = _ran_lately(context.instance)
    if cloud is None or not lately:
        return dg.SkipReason("no camera has run on AWS within the last two hours")
    cameras = [known for known in known_on_s3() if known[0] in lately]
    try:
        changed = bring_up_to_date(context.instance, cloud.aws, cameras)
    except RavneError as error:
        return dg.SkipReason(str(error))  # a laptop without a network is no failure
    return dg.SkipReason(f"launches whose cost is now known better: {changed}")


def _ran_lately(instance: dg.DagsterInstance) -> set[str]:
    """Ids of the cameras with a run that goes on or ended a while ago."""
    since = datetime.now(UTC) - LEARNABLE
    runs = instance.get_runs(RunsFilter(updated_after=since))
    return {run.tags[PARTITION_TAG] for run in runs if PARTITION_TAG in run.tags}


def bring_up_to_date(
    instance: dg.DagsterInstance, aws: Aws, cameras: Iterable[tuple[str, str]]
) -> int:
    """Ask AWS for what the ledgers do not know yet, write it down, and tell the assets.

    Args:
        cameras: id and output URL of each, on S3.

    Returns:
        The number of launches whose cost has changed.

    Raises:
        RavneError: AWS refused, or did not answer; a ledger cannot be read or written.
    """
    clients = AwsClients(aws)
    keeper = Bookkeeper(clients, aws, price_source(clients, aws, home()))
    with explained("asking AWS for costs", f"ask for the policy {aws.name}-runner"):
        reconciled = keeper.reconcile(books_of(*camera, clients) for camera in cameras)
        look_for_waiting_machines(keeper, LocalStore(home() / FOLDER))
    tell_late_costs(instance, reconciled)
    return sum(each.changed for each in reconciled)


def tell_late_costs(instance: dg.DagsterInstance, reconciled: Iterable[Reconciled]) -> None:
    """Observe the assets of every launch whose cost has changed."""
    for launch in reconciled:
        if not launch.changed:
            continue
        costs = costs_of_stages(read_ledger([launch.books.ledger]), launch.launch)
        shares = stage_shares(launch.rows)
        for stage in STAGES:
            if shares.get(stage):
                observation = dg.AssetObservation(
                    stage,
                    description=f"what launch {launch.launch} has cost, as AWS told after its run",
                    partition=launch.books.camera_id,
                    metadata={**costs(stage), "launch/name": launch.launch},
                )
                instance.report_runless_asset_event(observation)
