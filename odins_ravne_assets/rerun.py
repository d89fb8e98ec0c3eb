"""The entry point of `run_stage3_local.py`, the script next to a camera's downloaded results.

Scripts in downloaded folders import it by this name.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from odins_ravne_assets.cli.options import MinConfidenceOption, MinDurationOption, WindowOption
from odins_ravne_assets.cli.terminal import out, print_error, print_visits
from odins_ravne_assets.results.download import read_reports
from resources.errors import RavneError
from resources.settings.loader import load_profile
from resources.storage.layout import REPORT_PAGE, STAGE3_FOLDER
from resources.storage.local_store import LocalStore

RERUN_FOLDER = "rerun"


def rerun(folder: Path, arguments: Sequence[str]) -> int:
    """Recompute the visits into `FOLDER/rerun`, print them, and open the report.

    Settings that the arguments do not name are those of the downloaded results.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong use.
    """
    app = typer.Typer(add_completion=False)

    @app.command()
    def run(
        compression_window: WindowOption = None,
        min_confidence: MinConfidenceOption = None,
        min_duration: MinDurationOption = None,
        profile: Annotated[
            str, typer.Option(help="The profile with the project's metadata, for Camtrap DP.")
        ] = "local",
        no_browser: Annotated[
            bool, typer.Option("--no-browser", help="Do not open the report.")
        ] = False,
    ) -> None:
        """Recompute this camera's visits with other windows and thresholds."""
        options = {
            "compression_window": compression_window,
            "min_confidence": min_confidence,
            "min_duration": min_duration,
        }
        changed = {key: value for key, value in options.items() if value is not None}
        page = _recompute(folder, changed, profile)
        if not no_browser:
            import webbrowser

            webbrowser.open(page.as_uri())

    try:
        app(list(arguments), prog_name="run_stage3_local.py", standalone_mode=True)
    except SystemExit as exited:
        return int(exited.code or 0)
    except RavneError as error:
        print_error(str(error))
        return error.exit_code
    return 0


def _recompute(folder: Path, changed: dict[str, float], profile_name: str) -> Path:
    """Write visits, report and exports; return the page of the report."""
    from odins_ravne_assets.hugin.exports.export import export_camera
    from odins_ravne_assets.hugin.report.page import make_report_page
    from odins_ravne_assets.hugin.visits.stage3 import run_stage3
    from odins_ravne_assets.hugin.visits.stored_deployments import read_deployments

    (report,) = read_reports([folder])
    (camera_id,) = {camera["camera_id"] for camera in report["cameras"]}
    source, target = LocalStore(folder), LocalStore(folder / RERUN_FOLDER)
    settings = {f"pipeline.stage3.{key}": each for key, each in report["settings"].items()}
    settings |= {f"privacy.{key}": each for key, each in report["privacy"].items()}
    settings |= {f"pipeline.stage3.{key}": each for key, each in changed.items()}
    settings["project.species"] = report["species_list"]
    profile = load_profile(profile_name, settings, {})
    project = profile.project
    if all(row.cameraID != camera_id for row in project.deployments):
        project = project.model_copy(update={"deployments": read_deployments(source)})
    stage3, species = profile.pipeline.stage3, project.species
    result = run_stage3(source, stage3, report["models"], profile.privacy, species, target)
    remarks = make_report_page(source, target, profile.privacy, project.deployments)
    exported = export_camera(source, camera_id, project, profile.privacy, target)
    if result.labels_without_effect:
        out.print(f"warning: {result.labels_without_effect}", soft_wrap=True, markup=False)
    print_visits([target.root / STAGE3_FOLDER])
    page = target.root / REPORT_PAGE
    out.print(f"results: {target.root}", soft_wrap=True)
    for remark in (*remarks, *exported.remarks):
        out.print(remark, soft_wrap=True, markup=False)
    if exported.camtrap_dp_error:
        out.print(f"no Camtrap DP: {exported.camtrap_dp_error}", soft_wrap=True, markup=False)
    out.print(f"report: {page}", soft_wrap=True)
    return page
