"""The hooks of the launchers: queries about footage, and events for the command line.

Importing this loads no decoder and no inference engine.
"""

from odins_ravne_assets.cameras.catalog import CameraCatalog
from odins_ravne_assets.instance_home import catalog_folder
from odins_ravne_assets.munin.media.media_files import is_medium
from odins_ravne_assets.munin.media.media_table import expected_media
from odins_ravne_assets.runs.event_stream import (
    emit_cost,
    emit_decision,
    emit_progress,
    emit_warning,
)
from odins_ravne_assets.runs.liveness import close_dead_runs
from resources.launch.base import StepRequest
from resources.launch.hooks import FootageQueries, LaunchHooks
from resources.settings.profile import Profile
from resources.storage.object_store import ObjectStore


def _needs_machine(
    request: StepRequest, footage: ObjectStore, output: ObjectStore, profile: Profile
) -> bool:
    from odins_ravne_assets.munin.workload.remaining_work import needs_machine

    return needs_machine(request.camera_id, request.stages, footage, output, profile)


FOOTAGE_QUERIES = FootageQueries(
    expected_media=expected_media, is_media=is_medium, needs_machine=_needs_machine
)


def launch_hooks() -> LaunchHooks:
    """Return the hooks of the code location's launchers."""
    return LaunchHooks(
        footage=FOOTAGE_QUERIES,
        known_outputs=CameraCatalog(catalog_folder()).on_s3,
        close_dead_runs=close_dead_runs,
        on_progress=emit_progress,
        on_log=emit_decision,
        on_warning=emit_warning,
        on_cost=emit_cost,
    )
