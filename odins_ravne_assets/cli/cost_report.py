"""`munin cost costs`: what all work has cost."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cli.sandbox_reached import require_sandbox
from odins_ravne_assets.cli.terminal import out, say
from odins_ravne_assets.instance_home import catalog_folder, prepare_home
from resources.errors import UsageError
from resources.settings.loader import load_profile
from resources.settings.profile import Profile

app = typer.Typer()


@app.command()
def costs(
    context: typer.Context,
    camera: Annotated[
        list[str] | None, typer.Option("--camera", help="Only this camera; may be repeated.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on showing it until no job is left; Ctrl-C ends it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="A folder for the report as a page, as JSON and as FOCUS 1.2 (CSV)."),
    ] = None,
) -> None:
    """What all work has cost: machines, storage, requests; what spot has saved, what was wasted.

    Of every camera that this machine knows, whatever became of its runs. How each figure is
    counted: docs/costs.md.
    """
    if watch and (as_json or output):
        raise UsageError("--watch shows a table that changes; leave out --json and --output")
    profile = load_profile(context.obj.name)
    require_sandbox(profile)
    prepare_home()
    cameras = _chosen(CameraCatalog(catalog_folder()).list(), camera or [])
    if watch:
        from odins_ravne_assets.cli.costs_watched import watch_costs

        watch_costs(cameras, profile)
        return
    _show(cameras, profile, not camera, as_json, output)


def _show(
    cameras: Sequence[Camera], profile: Profile, whole: bool, as_json: bool, output: Path | None
) -> None:
    from odins_ravne_assets.cli.cost_tables import cost_tables
    from odins_ravne_assets.costs.gather import gather, reconciled, write_files
    from odins_ravne_assets.odin.report_json import report_json

    found = gather(cameras, profile, remarks=reconciled(cameras, profile), whole=whole)
    if as_json:
        sys.stdout.write(report_json(found.report()))
    else:
        for part in cost_tables(found.report()):
            out.print(part)
    for path in write_files(found, output) if output else ():
        say(f"written: {path}")


def _chosen(known: Sequence[Camera], names: Sequence[str]) -> Sequence[Camera]:
    by_name = {camera.camera_id: camera for camera in known}
    for name in names:
        if name not in by_name:
            raise UsageError(f"--camera {name}: no such camera; `munin status` lists them")
    return [by_name[name] for name in names] if names else known
