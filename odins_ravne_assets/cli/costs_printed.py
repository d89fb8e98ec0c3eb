"""What `--cost-report` prints: the jobs of this call, what they cost, and where to read more."""

from collections.abc import Sequence

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.cli.terminal import out
from resources.settings.profile import Profile


def print_costs(cameras: Sequence[Camera], profile: Profile, since: float) -> None:
    """Print this call's costs, and write the files of the report on all times of these cameras.

    Args:
        since: what had ended by then belongs to earlier calls; by the profile's clock.
    """
    from odins_ravne_assets.cli.cost_tables import short_tables
    from odins_ravne_assets.costs.gather import costs_folder, gather, reconciled, write_files
    from odins_ravne_assets.odin.formatting import many
    from odins_ravne_assets.odin.job_tables import attempts_text

    remarks = reconciled(cameras, profile)
    ever = gather(cameras, profile, ask_aws=False, remarks=remarks)
    report = ever.report(since)
    if not report.computing.usd and profile.cloud is None:
        out.print(
            f"cost: $0.00 for {many(len(cameras), 'camera')}; everything ran on this machine, "
            "nothing was rented or transferred"
        )
        return
    if not report.jobs.attempts:
        out.print("cost: $0.00; no job ran on AWS")
        return
    for part in short_tables(report, attempts_text(ever.rows, since, report.scope.now)):
        out.print(part)
    page, *_ = write_files(ever, costs_folder())
    out.print(f"cost report: {page}", soft_wrap=True, markup=False)
