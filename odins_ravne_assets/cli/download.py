"""`munin cost download-stage3`: results come home from the cloud."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.cli.home_counted import bring_results
from odins_ravne_assets.cli.sandbox_reached import require_sandbox
from odins_ravne_assets.cli.summary import print_summary
from odins_ravne_assets.cli.terminal import out, say
from odins_ravne_assets.results.download import (
    REPORT,
    find_results,
    reports_of,
    write_pages,
    write_project_page,
    write_runner,
)
from resources.aws.clients import AwsClients
from resources.settings.loader import load_profile
from resources.storage.object_store import local_path, open_store

app = typer.Typer()


@app.command("download-stage3")
def download_stage3(
    context: typer.Context,
    cloud_path: Annotated[
        str, typer.Option(help="What OUTPUT was: s3://BUCKET/PREFIX of one camera or of several.")
    ],
    local_path_: Annotated[
        str, typer.Option("--local-path", help="A folder of this machine, for a folder per camera.")
    ] = "stage3_results",
    summary: Annotated[
        bool, typer.Option("--summary", help="Say what was seen: visits, species, cameras, time.")
    ] = False,
    create_runner: Annotated[
        bool,
        typer.Option(
            "--create-runner",
            help="Write run_stage3_local.py, which makes the visits anew with other windows.",
        ),
    ] = False,
) -> None:
    """Take Stage 3's results home, and the tables that re-running it needs.

    Files that are here and equal are left alone; what was interrupted goes on where it was.
    """
    profile = load_profile(context.obj.name)
    require_sandbox(profile)
    # Reading results needs no more of a profile than where AWS is.
    aws = profile.aws
    root, url = local_path(local_path_), cloud_path.rstrip("/")
    results = find_results(open_store(url, AwsClients(aws)))
    places = [(each.camera_id, f"{url}/{each.prefix}".rstrip("/")) for each in results]
    brought = bring_results(places, root, aws)
    say(
        f"{brought.files - brought.present} files copied, {brought.present} were here already; "
        f"{brought.total_bytes / 1e6:.1f} MB in all"
    )
    folders = [root / each.camera_id for each in results]
    if summary:
        print_summary(reports_of(folders))
    show_home(folders, root, create_runner)


def show_home(folders: Sequence[Path], root: Path, runners: bool = True) -> None:
    """Put beside the results of some cameras what they lack here, and say where all is.

    Args:
        folders: of the cameras, in `root`.
        runners: whether to write the scripts that make the visits anew.
    """
    for folder in folders:
        out.print(f"Stage 3 of {folder.name}: {folder}/stage3", soft_wrap=True)
        if runners:
            out.print(f"other windows: python {write_runner(folder)}", soft_wrap=True)
    if folders:
        out.print(f"report: {write_pages(folders, root)[-1]}", soft_wrap=True)


def show_page_of_all(cameras: Sequence[Camera]) -> None:
    """Put one report of several cameras beside their results, if these are on this machine."""
    urls = [each.output_url for each in cameras if not each.output_url.startswith("s3://")]
    folders = [folder for folder in map(local_path, urls) if (folder / REPORT).exists()]
    if len(folders) > 1:
        page = write_project_page(folders, folders[0].parent)
        out.print(f"report of {len(folders)} cameras: {page}", soft_wrap=True)
