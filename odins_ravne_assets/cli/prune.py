"""`munin prune`: delete the records of old runs."""

from typing import Annotated

import typer

from odins_ravne_assets.cli.terminal import out
from odins_ravne_assets.instance_home import prepare_home
from resources.settings.loader import load_profile


def prune(
    context: typer.Context,
    days: Annotated[
        int | None,
        typer.Option(
            "--days", min=1, help="Keep runs of this many days. Default: history.keep_days."
        ),
    ] = None,
) -> None:
    """Delete Dagster's records of old runs; results and costs stay.

    The latest runs and metadata of each camera stay too, and what an unfinished backfill needs.
    """
    days = days or load_profile(context.obj.name).history.keep_days
    if days is None:
        out.print("history.keep_days is empty: runs are kept; name a number with --days")
        return
    prepare_home()
    from datetime import UTC, datetime

    from odins_ravne_assets.databases.locked import opened_instance
    from odins_ravne_assets.runs.run_history import prune_runs

    with opened_instance() as instance:
        out.print(str(prune_runs(instance, days, datetime.now(UTC))), soft_wrap=True)
