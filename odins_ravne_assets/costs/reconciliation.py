"""Reconciliation of ledgers with AWS, and late costs as observations of Dagster assets."""

from collections.abc import Iterable

import dagster as dg

from odins_ravne_assets.instance_home import home
from resources.aws.clients import AwsClients
from resources.aws.errors import translate_aws_errors
from resources.ledger.asset_metadata import BILLED_STAGES, stage_cost_metadata, stage_shares
from resources.ledger.idle_machines import poll_idle_machines
from resources.ledger.table import read_ledger
from resources.ledger.writer import LedgerWriter, ReconciledLaunch, open_camera_ledger
from resources.pricing.sources import price_source
from resources.settings.profile import Aws
from resources.storage.layout import IDLE_MACHINES_FOLDER
from resources.storage.local_store import LocalStore


def reconcile_ledgers(
    instance: dg.DagsterInstance,
    aws: Aws,
    cameras: Iterable[tuple[str, str]],
    remarks: list[str] | None = None,
) -> int:
    """Query AWS for costs that are not final, update the ledgers, and observe the assets.

    Args:
        cameras: id and output URL of each camera, on S3.
        remarks: receives a sentence for each stored file that cannot be used, which is left out;
            None: the first one raises.

    Returns:
        The number of launches whose cost has changed.

    Raises:
        RavneError: AWS denies a request or does not answer; a ledger cannot be read or written.
    """
    clients = AwsClients(aws)
    writer = LedgerWriter(clients, aws, price_source(clients, aws, home()))
    with translate_aws_errors("reconcile costs", f"attach the policy {aws.name}-runner"):
        ledgers = (open_camera_ledger(*camera, clients) for camera in cameras)
        reconciled = writer.reconcile(ledgers, remarks)
        poll_idle_machines(writer, LocalStore(home() / IDLE_MACHINES_FOLDER))
    report_late_costs(instance, reconciled, remarks)
    return sum(each.changed for each in reconciled)


def report_late_costs(
    instance: dg.DagsterInstance,
    reconciled: Iterable[ReconciledLaunch],
    remarks: list[str] | None = None,
) -> None:
    """Report an observation of each asset of the launches whose cost has changed."""
    for launch in reconciled:
        if not launch.changed:
            continue
        costs = stage_cost_metadata(read_ledger([launch.camera.ledger], remarks), launch.launch)
        shares = stage_shares(launch.rows)
        for stage in BILLED_STAGES:
            if shares.get(stage):
                observation = dg.AssetObservation(
                    stage,
                    description=f"cost of launch {launch.launch}, updated after its run",
                    partition=launch.camera.camera_id,
                    metadata={**costs(stage), "launch/name": launch.launch},
                )
                instance.report_runless_asset_event(observation)
