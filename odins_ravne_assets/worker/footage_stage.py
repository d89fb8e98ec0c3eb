"""Stage 0 of a step: update the media table from the camera's footage."""

from datetime import datetime

from odins_ravne_assets.munin.media.camera_clock import camera_clocks
from odins_ravne_assets.munin.media.footage import (
    FootageCounts,
    ProbeFile,
    refresh_media_table,
)
from odins_ravne_assets.munin.media.media_table import case_conflicts
from odins_ravne_assets.munin.media.other_files import describe_other_files
from odins_ravne_assets.munin.media.probe_client import ProbeClient
from odins_ravne_assets.munin.media.source_match import (
    RunFootage,
    find_sources,
)
from odins_ravne_assets.munin.media.source_store import SourceFootage
from odins_ravne_assets.munin.media.sources import save_sources
from odins_ravne_assets.munin.tables import checks
from odins_ravne_assets.worker.asset_metadata import deployment_metadata, footage_metadata
from odins_ravne_assets.worker.context import StageResult, StepContext
from resources.printable import printable
from resources.storage import layout

OLDER_TAGS = (
    "an earlier version read the headers of some media; --update reads them again, for more "
    "capture times and the camera's notes"
)
# Folders named in a warning.
MAX_NAMED = 5


def run_footage(context: StepContext) -> StageResult:
    """Read the headers of new and changed files, and write the media table.

    Raises:
        StoreError: the footage holds no media, or cannot be listed.
    """
    stage0 = context.profile.pipeline.stage0
    project = context.profile.project
    report_progress = context.progress("footage", None, "media")

    def on_progress(counts: FootageCounts) -> None:
        report_progress(counts.media)
        context.raise_if_stopped()

    with ProbeClient(stage0) as probe:
        context.footage = _find_sources(context, probe)
        counts = refresh_media_table(
            context.camera.camera_id,
            context.footage,
            context.output,
            layout.MEDIA_TABLE,
            stage0,
            probe,
            camera_clocks(stage0.clock_corrections, project.deployments, project.time_zone),
            on_progress,
            context.update,
        )
    # Progress without a total is reported at intervals: with one, the last report is sent.
    context.progress("footage", counts.media, "media")(counts.media)
    _warn_of_case_conflicts(context)
    _warn_of_hidden_media(context, counts)
    _name_other_files(context, counts)
    if counts.older_tags:
        context.reporter.info(OLDER_TAGS)
    deployment = deployment_metadata(project.deployments, datetime.now(), context.profile.privacy)
    return StageResult(
        footage_metadata(context.output, counts, context.footage.url, deployment),
        [checks.times_present(context.output)],
        context.data_version(layout.MEDIA_TABLE),
    )


def _find_sources(context: StepContext, probe: ProbeFile) -> SourceFootage:
    """Find the sources of the camera, list them in the results, and say what has changed.

    Raises:
        StoreError: the run's footage holds no media: a card that is not mounted must not empty the
            tables. Or the results are another camera's.
    """
    camera, output = context.camera, context.output
    footage = RunFootage(
        camera.footage_url,
        context.origin,
        camera.earlier_footage,
        context.profile.cloud is not None,
    )
    resolved = find_sources(
        camera.camera_id, footage, output, context.open_store, lambda path: probe(path).recorded_at
    )
    for message in resolved.messages:
        context.reporter.warning(message)
    save_sources(output, camera.camera_id, [each.source for each in resolved.opened])
    return SourceFootage(resolved.opened, camera.footage_url)


def _warn_of_hidden_media(context: StepContext, counts: FootageCounts) -> None:
    """Name the recycle bins and system folders whose media are left out."""
    folders = {name: count for name, count in counts.hidden.items() if name}
    if folders:
        names = sorted(folders)
        more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        number = sum(folders.values())
        what = "1 medium" if number == 1 else f"{number:,} media"
        verb = "is" if number == 1 else "are"
        context.reporter.warning(
            f"{what} in {', '.join(names[:MAX_NAMED])}{more} {verb} left out: "
            "recycle bins, hidden folders and those of a system are no footage"
        )


def _name_other_files(context: StepContext, counts: FootageCounts) -> None:
    """Name what is not read: a recorder's sounds, raw files beside their JPEGs, notes."""
    described = describe_other_files(counts.other_files.rows())
    if described:
        context.reporter.info(f"files that are not media: {printable(described)}")


def _warn_of_case_conflicts(context: StepContext) -> None:
    conflicts = case_conflicts(context.output)
    if conflicts:
        one, other = conflicts[0]
        context.reporter.warning(
            f"{len(conflicts)} media differ from another only by case, such as {other} from {one}: "
            "a copy on macOS or Windows would hold one of both; rename them"
        )
