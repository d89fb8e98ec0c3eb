"""`munin plan`: the estimated cost and duration of a run, before it starts."""

import json
from typing import Annotated

import typer

from odins_ravne_assets.cameras.catalog import CameraCatalog
from odins_ravne_assets.cameras.next_card import with_history
from odins_ravne_assets.cameras.selection import CameraOptions, CameraSelection
from odins_ravne_assets.cli.cloud_profile import require_sandbox
from odins_ravne_assets.cli.options import (
    FOOTAGE_ARGUMENT,
    CameraOption,
    CamerasFlag,
    OneCameraFlag,
    UpdateFlag,
)
from odins_ravne_assets.cli.terminal import err, out, print_log
from odins_ravne_assets.instance_home import catalog_folder, prepare_home
from resources.errors import UsageError
from resources.settings.loader import load_profile
from resources.settings.profile import Profile
from resources.spot.policy import Priority


def plan(
    context: typer.Context,
    input: Annotated[str, FOOTAGE_ARGUMENT],
    output: Annotated[
        str | None,
        typer.Argument(
            help="OUTPUT of the run: media processed there are left out, and the plan is saved "
            "there, to be compared with the actual cost."
        ),
    ] = None,
    camera: CameraOption = None,
    cameras: CamerasFlag = False,
    one_camera: OneCameraFlag = False,
    priority: Annotated[
        Priority | None, typer.Option(help="Cloud: the priority of the run.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    update: UpdateFlag = False,
) -> None:
    """Estimate the cost and duration of a run, for each machine type, on spot and on demand.

    It counts the media; it starts nothing and costs nothing.
    """
    profile = load_profile(context.obj.name)
    if priority and profile.cloud is None:
        raise UsageError(
            f"--priority needs a cloud profile, and profile {context.obj.name} runs locally; leave "
            "it out, or name a cloud profile"
        )
    require_sandbox(profile)
    prepare_home()
    from odins_ravne_assets.cli.plan_tables import print_plan
    from odins_ravne_assets.costs.planner import PlannedCamera, make_plan, save_plan
    from odins_ravne_assets.model_library.used_models import used_models

    options = CameraOptions(camera, cameras, one_camera)
    planned = [PlannedCamera(*each) for each in _select(input, output, options, profile)]
    with err.status("counting") as status:
        run_plan = make_plan(
            planned,
            profile,
            priority or "normal",
            lambda name: status.update(f"counting {name}"),
            update,
        )
    if output:
        save_plan(run_plan, planned, profile)
    if as_json:
        used = {name: used_models(models) for name, models in run_plan.models.items()}
        # `models`: of the first camera. The results of another may be made with others.
        models = {"models": next(iter(used.values())), "models_by_camera": used}
        print(json.dumps({**run_plan.as_json(), **models}, indent=2))
        return
    print_plan(run_plan)
    if output:
        out.print("The plan is saved; munin cost costs will compare it with the actual cost.")
    else:
        out.print("With an OUTPUT, the plan is saved there and compared with the actual cost.")


def _select(
    input: str, output: str | None, options: CameraOptions, profile: Profile
) -> list[tuple[str, str, str | None, tuple[str, ...]]]:
    """Return the id, footage, results (with an OUTPUT) and earlier places of each camera."""
    catalog = CameraCatalog(catalog_folder())
    selection = CameraSelection(options, profile, catalog, print_log)
    if not output:
        return [(each.camera_id, each.url, None, ()) for each in selection.footage(input)]
    selected = [with_history(each, catalog) for each in selection.cameras(input, output)]
    return [
        (each.camera_id, each.footage_url, each.output_url, each.earlier_footage)
        for each in selected
    ]
