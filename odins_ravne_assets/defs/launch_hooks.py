"""The hooks of the launchers: queries about footage, and events for the command line.

Importing this loads no decoder and no inference engine.
"""

from typing import TYPE_CHECKING

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
from resources.errors import RavneError
from resources.launch.base import StepRequest
from resources.launch.hooks import FootageQueries, LaunchHooks
from resources.settings.profile import Profile
from resources.storage.layout import uploaded_footage_url
from resources.storage.object_store import ObjectStore

if TYPE_CHECKING:
    from odins_ravne_assets.munin.media.source_match import ResolvedSources
    from odins_ravne_assets.munin.media.source_store import Footage


def _needs_machine(
    request: StepRequest, footage: ObjectStore, output: ObjectStore, profile: Profile
) -> bool:
    from odins_ravne_assets.munin.workload.remaining_work import needs_machine

    try:
        sources = _sources(request, footage, output, profile)
    except RavneError:
        return True  # the worker reports what is wrong
    return needs_machine(request.camera_id, request.stages, sources, output, profile)


def _sources(
    request: StepRequest, footage: ObjectStore, output: ObjectStore, profile: Profile
) -> "Footage":
    """Return the sources that a step reads; only Stage 0 compares their files with the table."""
    from odins_ravne_assets.cameras.results_store import store_opener
    from odins_ravne_assets.munin.media.source_store import SourceFootage, open_footage

    if "footage" in request.stages:
        found = _find_sources(request, output, profile)
        return SourceFootage(found.opened, request.footage_url)
    if "detections" in request.stages:
        return open_footage(output, request.footage_url, store_opener(profile), uses_copies=True)
    return footage


def _copy_url(request: StepRequest, output: ObjectStore, profile: Profile) -> str:
    sources = _find_sources(request, output, profile)
    if sources.named.copy:
        return sources.named.copy
    first = sources.opened[0].source
    name = "" if sources.named == first else sources.named.name
    return uploaded_footage_url(request.camera_id, request.output_url, name)


def _find_sources(request: StepRequest, output: ObjectStore, profile: Profile) -> "ResolvedSources":
    from odins_ravne_assets.cameras.results_store import store_opener
    from odins_ravne_assets.munin.media.probe_client import ProbeClient
    from odins_ravne_assets.munin.media.source_match import RunFootage, find_sources

    footage = RunFootage(request.footage_url, request.origin, request.earlier_footage, True)
    with ProbeClient(profile.pipeline.stage0) as probe:
        return find_sources(
            request.camera_id,
            footage,
            output,
            store_opener(profile),
            lambda path: probe(path).recorded_at,
        )


FOOTAGE_QUERIES = FootageQueries(
    expected_media=expected_media,
    is_media=is_medium,
    copy_url=_copy_url,
    needs_machine=_needs_machine,
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
