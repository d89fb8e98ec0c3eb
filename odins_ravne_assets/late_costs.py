"""What a launch cost in the end, told to Dagster after its run.

As a launch ends, its last machine still idles for minutes, and EC2 may yet take it, which makes
it free. What is learned later goes to the assets as observations that belong to no run, with the
metadata that their materializations have; Dagster plots both in one line.
"""

from collections.abc import Iterable

import dagster as dg

from resources.bookkeeping import Reconciled
from resources.cost_ledger import read_ledger
from resources.cost_metadata import STAGES, costs_of_stages, stage_shares


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
                    description=f"launch {launch.launch}: what it cost, after its run",
                    partition=launch.books.camera_id,
                    metadata={**costs(stage), "launch/name": launch.launch},
                )
                instance.report_runless_asset_event(observation)
