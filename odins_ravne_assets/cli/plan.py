"""`munin plan`: what a run is going to cost, before it is begun."""

import json
from typing import Annotated

import typer

from odins_ravne_assets.cameras.selection import cameras_named, footage_named
from odins_ravne_assets.cli.options import FOOTAGE, CameraOption, CamerasFlag
from odins_ravne_assets.cli.sandbox_reached import require_sandbox
from odins_ravne_assets.cli.terminal import err, out
from odins_ravne_assets.instance_home import prepare_home
from resources.errors import UsageError
from resources.settings.loader import load_profile
from resources.settings.profile import Profile
from resources.spot.policy import Priority


def plan(
    context: typer.Context,
    input: Annotated[str, FOOTAGE],
    output: Annotated[
        str | None,
        typer.Argument(
            help="Where the results will go: what was looked at there is left out, and the plan is "
            "kept there, to be compared with the cost."
        ),
    ] = None,
    camera: CameraOption = None,
    cameras: CamerasFlag = False,
    priority: Annotated[
        Priority | None, typer.Option(help="Cloud: as you would run it, low, normal or high.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """What a run is going to cost, and how long it takes: nothing is run, nothing is spent.

    Counts the media, and tells cost and time for each machine type, on spot and on demand.
    """
    profile = load_profile(context.obj.name)
    if priority and profile.cloud is None:
        raise UsageError(
            f"--priority has no meaning with profile {context.obj.name}, which runs on this "
            "machine; leave it out, or name a cloud profile"
        )
    require_sandbox(profile)
    prepare_home()
    from odins_ravne_assets.costs.make_plan import PlannedCamera, keep_plan, make_plan

    planned = [
        PlannedCamera(camera_id, footage, target)
        for camera_id, footage, target in _named(input, output, camera, cameras, profile)
    ]
    with err.status("counting") as status:
        made = make_plan(
            planned, profile, priority or "normal", lambda name: status.update(f"counting {name}")
        )
    if output:
        keep_plan(made, planned, profile)
    if as_json:
        print(json.dumps(made.as_json(), indent=2))
        return
    from odins_ravne_assets.cli.plan_shown import print_plan

    print_plan(made)
    if output:
        out.print("The plan is kept; munin cost costs will compare it with what the run cost.")
    else:
        out.print("With an OUTPUT, the plan is kept there and compared with what the run costs.")


def _named(
    input: str, output: str | None, camera: str | None, many: bool, profile: Profile
) -> list[tuple[str, str, str | None]]:
    """Cameras: id, footage, and where their results go, if that is said."""
    if output:
        named = cameras_named(input, output, camera, many, profile)
        return [(each.camera_id, each.footage_url, each.output_url) for each in named]
    return [
        (each.camera_id, each.url, None) for each in footage_named(input, camera, many, profile)
    ]
