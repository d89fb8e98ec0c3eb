"""`munin cost costs --watch`: the costs of running jobs, shown anew until none is left."""

from collections.abc import Sequence

from rich.console import Group
from rich.live import Live

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.cli.cost_tables import short_tables
from odins_ravne_assets.cli.terminal import out
from odins_ravne_assets.costs.gather import gather, reconciled
from odins_ravne_assets.odin.report import CostReport
from resources.clock import clock_at
from resources.settings.profile import Profile

# By the profile's clock. Batch and EC2 are asked each time, which is free.
EVERY_SECONDS = 30.0


def watch_costs(cameras: Sequence[Camera], profile: Profile) -> None:
    """Show the costs until no job runs or waits, or Ctrl-C."""
    clock = clock_at(profile.aws.clock_url)
    try:
        with Live(console=out, auto_refresh=False) as live:
            while True:
                report = _report(cameras, profile)
                live.update(Group(*short_tables(report)), refresh=out.is_terminal)
                if not report.jobs.open:
                    break
                clock.sleep(EVERY_SECONDS)
    except KeyboardInterrupt:
        out.print("Jobs go on; nothing was stopped.")


def _report(cameras: Sequence[Camera], profile: Profile) -> CostReport:
    remarks = reconciled(cameras, profile)
    return gather(cameras, profile, ask_aws=False, remarks=remarks).report()
