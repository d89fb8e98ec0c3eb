"""Stage 0 of a step: update the media table from the camera's footage."""

from datetime import datetime

from odins_ravne_assets.munin.media.camera_clock import camera_clocks
from odins_ravne_assets.munin.media.footage import FootageCounts, refresh_media_table
from odins_ravne_assets.munin.media.media_files import kind_by_name
from odins_ravne_assets.munin.media.media_table import case_conflicts
from odins_ravne_assets.munin.media.probe_client import ProbeClient
from odins_ravne_assets.munin.tables import checks
from odins_ravne_assets.worker.asset_metadata import deployment_metadata, footage_metadata
from odins_ravne_assets.worker.context import StageResult, StepContext
from resources.errors import StoreError
from resources.storage import layout
from resources.storage.object_store import ObjectStore


def run_footage(context: StepContext) -> StageResult:
    """Read the headers of new and changed files, and write the media table.

    Raises:
        StoreError: the footage holds no media, or cannot be listed.
    """
    _require_media(context.footage)
    stage0 = context.profile.pipeline.stage0
    deployments = context.profile.project.deployments
    report_progress = context.progress("footage", None, "media")

    def on_progress(counts: FootageCounts) -> None:
        report_progress(counts.media)
        context.raise_if_stopped()

    with ProbeClient(stage0) as probe:
        counts = refresh_media_table(
            context.camera.camera_id,
            context.footage,
            context.output,
            layout.MEDIA_TABLE,
            stage0,
            probe,
            camera_clocks(stage0.clock_corrections, deployments),
            on_progress,
        )
    # Progress without a total is reported at intervals: with one, the last report is sent.
    context.progress("footage", counts.media, "media")(counts.media)
    _warn_of_case_conflicts(context)
    deployment = deployment_metadata(deployments, datetime.now(), context.profile.privacy)
    return StageResult(
        footage_metadata(context.output, counts.ignored, context.footage.url, deployment),
        [checks.times_present(context.output)],
        context.data_version(layout.MEDIA_TABLE),
    )


def _require_media(footage: ObjectStore) -> None:
    """Refuse footage without any media: a card that is not mounted must not empty the tables.

    Folders that cannot be listed may hold media; they become rows.
    """
    unlisted: list[str] = []
    for found in footage.list("", on_error=lambda key, _: unlisted.append(key)):
        if kind_by_name(found.key):
            return
    if not unlisted:
        raise StoreError(
            f"{footage.url}: holds no pictures or videos; name the folder with the "
            "footage, and see that its card or disk is mounted"
        )


def _warn_of_case_conflicts(context: StepContext) -> None:
    conflicts = case_conflicts(context.output)
    if conflicts:
        one, other = conflicts[0]
        context.reporter.warning(
            f"{len(conflicts)} media differ from another only by case, such as {other} from {one}: "
            "a copy on macOS or Windows would hold one of both; rename them"
        )
