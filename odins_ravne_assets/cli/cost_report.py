"""`munin cost costs`: the cost report in the terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cli.cloud_profile import require_sandbox
from odins_ravne_assets.instance_home import catalog_folder, prepare_home
from resources.errors import UsageError
from resources.settings.loader import load_profile

app = typer.Typer()


@app.command()
def costs(
    context: typer.Context,
    camera: Annotated[
        list[str] | None, typer.Option("--camera", help="Only this camera; can be repeated.")
    ] = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Update the report until no job is left; Ctrl-C ends it."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder for the report as HTML, JSON and FOCUS 1.2 (CSV)."),
    ] = None,
) -> None:
    """Show all costs: machines, storage, requests, savings by spot, wasted work.

    It covers every known camera, whatever the outcome of its runs. docs/costs.md defines each
    figure.
    """
    if watch and (as_json or output):
        raise UsageError("--watch cannot be combined with --json and --output; leave these out")
    profile = load_profile(context.obj.name)
    require_sandbox(profile)
    prepare_home()
    cameras = _select_cameras(CameraCatalog(catalog_folder()).list(), camera or [])
    from odins_ravne_assets.cli.cost_tables import print_report, watch_costs

    if watch:
        watch_costs(cameras, profile)
        return
    print_report(cameras, profile, not camera, as_json, output)


def _select_cameras(known: Sequence[Camera], names: Sequence[str]) -> Sequence[Camera]:
    by_name = {camera.camera_id: camera for camera in known}
    for name in names:
        if name not in by_name:
            raise UsageError(f"--camera {name}: no such camera; `munin status` lists them")
    return [by_name[name] for name in names] if names else known
