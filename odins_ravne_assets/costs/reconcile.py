"""Reconcile costs: bring ledgers up to date with AWS, and report late costs to Dagster."""

from collections.abc import Iterable

import dagster as dg

from odins_ravne_assets.instance_home import home
from resources.aws.clients import AwsClients
from resources.aws.errors import translate_aws_errors
from resources.ledger.asset_metadata import BILLED_STAGES, costs_of_stages, stage_shares
from resources.ledger.idle_machines import look_for_waiting_machines
from resources.ledger.table import read_ledger
from resources.ledger.writer import LedgerWriter, Reconciled, camera_ledger
from resources.pricing.sources import price_source
from resources.settings.profile import Aws
from resources.storage.layout import IDLE_MACHINES_FOLDER
from resources.storage.local_store import LocalStore


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
    keeper = LedgerWriter(clients, aws, price_source(clients, aws, home()))
    with translate_aws_errors("asking AWS for costs", f"ask for the policy {aws.name}-runner"):
        reconciled = keeper.reconcile(camera_ledger(*camera, clients) for camera in cameras)
        look_for_waiting_machines(keeper, LocalStore(home() / IDLE_MACHINES_FOLDER))
    tell_late_costs(instance, reconciled)
    return sum(each.changed for each in reconciled)


def tell_late_costs(instance: dg.DagsterInstance, reconciled: Iterable[Reconciled]) -> None:
    """Observe the assets of every launch whose cost has changed."""
    for launch in reconciled:
        if not launch.changed:
            continue
        costs = costs_of_stages(read_ledger([launch.books.ledger]), launch.launch)
        shares = stage_shares(launch.rows)
        for stage in BILLED_STAGES:
            if shares.get(stage):
                observation = dg.AssetObservation(
                    stage,
                    description=f"what launch {launch.launch} has cost, as AWS told after its run",
                    partition=launch.books.camera_id,
                    metadata={**costs(stage), "launch/name": launch.launch},
                )
                instance.report_runless_asset_event(observation)
