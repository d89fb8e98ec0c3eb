"""What `run_stage3_local.py` does, in the folder of a camera whose results were taken home."""

import shutil
import webbrowser
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer

from odins_ravne_assets.cli.options import MinConfidenceOption, MinDurationOption, WindowOption
from odins_ravne_assets.cli.terminal import out, print_error, print_visits
from odins_ravne_assets.results.download import read_reports
from resources.errors import RavneError
from resources.settings.loader import load_profile
from resources.storage.layout import STAGE3_FOLDER
from resources.storage.local_store import LocalStore

RERUN_FOLDER = "rerun"

RUNNER = "run_stage3_local.py"


def rerun(folder: Path, arguments: Sequence[str]) -> int:
    """Make the visits anew into `FOLDER/rerun`, show them, and open the report.

    Settings that are not named are those that the results were made with.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong use.
    """
    app = typer.Typer(add_completion=False)

    @app.command()
    def run(
        compression_window: Window = None,
        min_confidence: MinConfidence = None,
        min_duration: MinDuration = None,
        profile: Annotated[
            str, typer.Option(help="A profile that tells of the project, for Camtrap DP.")
        ] = "local",
        no_browser: Annotated[
            bool, typer.Option("--no-browser", help="Do not open the report.")
        ] = False,
    ) -> None:
        """Make this camera's visits anew, with other windows and thresholds."""
        given = {
            "compression_window": compression_window,
            "min_confidence": min_confidence,
            "min_duration": min_duration,
        }
        named = {key: value for key, value in given.items() if value is not None}
        page = _run(folder, named, profile)
        if not no_browser:
            webbrowser.open(page.as_uri())

    try:
        app(list(arguments), prog_name=RUNNER, standalone_mode=True)
    except SystemExit as ended:
        return int(ended.code or 0)
    except RavneError as error:
        print_error(str(error))
        return error.exit_code
    return 0


def _run(folder: Path, given: dict[str, float], profile_name: str) -> Path:
    """Make visits, report and exports; the report's page."""
    from odins_ravne_assets.hugin.exports.export import export_camera
    from odins_ravne_assets.hugin.report.page import make_report_page
    from odins_ravne_assets.hugin.visits.stage3 import run_stage3
    from resources.storage.layout import REPORT_PAGE

    (made_before,) = read_reports([folder])
    (camera_id,) = {camera["camera_id"] for camera in made_before["cameras"]}
    source, target = LocalStore(folder), LocalStore(folder / RERUN_FOLDER)
    settings = {f"pipeline.stage3.{key}": each for key, each in made_before["settings"].items()}
    settings |= {f"privacy.{key}": each for key, each in made_before["privacy"].items()}
    settings |= {f"pipeline.stage3.{key}": each for key, each in given.items()}
    settings["project.species"] = made_before["species_list"]
    profile = load_profile(profile_name, settings, {})
    stage3, species = profile.pipeline.stage3, profile.project.species
    run_stage3(source, stage3, made_before["models"], profile.privacy, species, target)
    make_report_page(source, target, profile.privacy)
    exported = export_camera(source, camera_id, profile.project, profile.privacy, target)
    print_visits([target.root / STAGE3_FOLDER])
    page = target.root / REPORT_PAGE
    out.print(f"results: {target.root}", soft_wrap=True)
    if exported.why_no_camtrap_dp:
        out.print(f"no Camtrap DP: {exported.why_no_camtrap_dp}", soft_wrap=True, markup=False)
    out.print(f"report: {page}", soft_wrap=True)
    return page


def write_runner(folder: Path) -> Path:
    """Put the script into a camera's folder that makes its visits anew.

    Raises:
        StoreError: the folder cannot be written.
    """
    with (
        as_file(files("odins_ravne_assets.cli") / RUNNER) as script,
        LocalStore(folder).writing(RUNNER) as path,
    ):
        shutil.copyfile(script, path)
    return folder / RUNNER
