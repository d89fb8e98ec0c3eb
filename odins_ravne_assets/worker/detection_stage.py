"""Stage 1 of a step: run the detector on media that are not in the journal, write the tables."""

import sys
from collections.abc import Iterator
from dataclasses import fields
from time import monotonic

import polars as pl

from odins_ravne_assets.munin.detection.crash_guard import CrashGuard
from odins_ravne_assets.munin.detection.decode_pool import DecodePool, DecodeSettings, Medium
from odins_ravne_assets.munin.detection.decode_process import SLOT_BYTES
from odins_ravne_assets.munin.detection.detector import Detector
from odins_ravne_assets.munin.detection.frame_sampling import SamplingPlan
from odins_ravne_assets.munin.detection.stage1 import Stage1, Stage1Progress, skip_finished
from odins_ravne_assets.munin.inference.timing import STAGE1_STEPS, StageTiming
from odins_ravne_assets.munin.tables import build, checks
from odins_ravne_assets.munin.tables.journal import HashSet, Stage1Journal
from odins_ravne_assets.munin.workload.recorded_settings import STAGE1
from odins_ravne_assets.worker.asset_metadata import detection_metadata
from odins_ravne_assets.worker.context import StageResult, StepContext
from odins_ravne_assets.worker.free_memory import release_memory
from odins_ravne_assets.worker.missing_sources import missing_prefixes
from resources.storage import layout
from resources.storage.parquet_files import scan_parquet

# Seconds that media in progress may still take after a request to stop.
GRACE_SECONDS = 20.0
# Batches of frames that may wait: one being filled, one being processed or cropped. On a GPU more
# batches are in progress at once.
WAITING_BATCHES = 2
# A buffer on a GPU has less than 2 GiB.
MAX_SLOTS = (2**31 - 1) // SLOT_BYTES
# Rows of the media table that are read at a time.
CHUNK_ROWS = 10_000


def run_detections(context: StepContext) -> StageResult:
    """Process all media that are not in the journal, and write Stage 1's tables."""
    started = monotonic()
    journal = context.stage1_journal()
    for file in journal.remove_uncommitted():
        context.reporter.warning(f"{file} is damaged: its media are processed again")
    progress, timing = Stage1Progress(), StageTiming(STAGE1_STEPS)
    if pending := detect_pending(context, journal):
        progress, timing = pending
        release_memory()
    else:
        context.reporter.info("no new media: all are in the journal")
    context.raise_if_stopped()
    context.record_settings(STAGE1)
    build.write_stage1_tables(context.output, journal, context.models.detector_versions())
    seconds = monotonic() - started
    metadata = detection_metadata(context.output, journal) | {
        **{f"models/{role}": name for role, name in context.models.detector_versions().items()},
        "media/newly_looked_at": progress.media,
        "compute/seconds": round(seconds, 3),
        **timing.metadata(),
    }
    check_results = [checks.nothing_lost(context.output), checks.detections_sane(context.output)]
    return StageResult(metadata, check_results, context.data_version(layout.DETECTIONS_TABLE))


def detect_pending(
    context: StepContext, journal: Stage1Journal
) -> tuple[Stage1Progress, StageTiming] | None:
    """Run the detector on the step's media that are not in the journal.

    Returns:
        Counts and timing; None if there are no such media.
    """
    finished = journal.finished()
    missing = missing_prefixes(context, _usable_media(context), finished)
    media = _usable_media(context, missing)
    total = sum(1 for medium in media if medium.content_hash not in finished)
    return _detect(context, journal, finished, total, missing) if total else None


def _detect(
    context: StepContext,
    journal: Stage1Journal,
    finished: HashSet,
    total: int,
    missing: tuple[str, ...],
) -> tuple[Stage1Progress, StageTiming]:
    timing = StageTiming(STAGE1_STEPS)
    detector = context.models.load_detector(timing)
    crash_guard = CrashGuard(context.output) if context.after_crash else None
    media = skip_finished(_usable_media(context, missing), finished)
    report_progress = context.progress("detections", total, "media")

    def on_progress(progress: Stage1Progress) -> None:
        counters = context.counters
        counters.media, counters.images = progress.media, progress.images
        counters.frames, counters.video_seconds = progress.frames, progress.video_seconds
        counters.record_progress()
        report_progress(progress.media)

    def on_finished() -> None:
        if crash_guard and crash_guard.active:
            journal.flush()
            crash_guard.medium_finished()

    batch_size = context.profile.pipeline.stage1.batch_size
    stage = Stage1(detector, journal, batch_size, on_progress, on_finished, timing)
    decoder = DecodePool(
        context.footage,
        crash_guard.suspects_first(media) if crash_guard else media,
        _decoding_settings(context, detector),
    )
    report_progress(0)
    stage.run(decoder, context.stop, GRACE_SECONDS)
    context.reporter.info(str(timing))
    for path, reason in stage.unavailable:
        context.reporter.warning(f"{path}: skipped in this run: {reason}")
    return stage.progress, timing


def _decoding_settings(context: StepContext, detector: Detector) -> DecodeSettings:
    settings = context.profile.pipeline.stage1
    return DecodeSettings(
        plan=SamplingPlan(
            settings.sampling,
            settings.frames_per_second,
            settings.every_nth_frame,
            settings.motion_gate,
            settings.motion_threshold,
        ),
        max_pixels=context.profile.pipeline.stage0.max_megapixels * 1e6,
        network_side=detector.input_side,
        timeout=settings.decode_timeout,
        processes=settings.decode_workers,
        slots=min(settings.batch_size * (WAITING_BATCHES + detector.max_pending), MAX_SLOTS),
        device=context.models.device if settings.video_decoder == "gpu" else None,
    )


def _usable_media(context: StepContext, missing: tuple[str, ...] = ()) -> Iterator[Medium]:
    """Yield the media that Stage 0 could read, each content once, in the order of the table.

    Args:
        missing: what the paths of media begin with that cannot be read now.
    """
    unit = context.unit
    start, stop = (unit.start, unit.stop) if unit else (0, sys.maxsize)
    with context.output.reading(layout.MEDIA_TABLE) as path:
        rows = scan_parquet(path).filter(pl.col("status") == "ok")
        rows = rows.select(field.name for field in fields(Medium))
        while (chunk := rows.slice(start, min(CHUNK_ROWS, stop - start)).collect()).height:
            media = (Medium(*row) for row in chunk.iter_rows())
            yield from (each for each in media if not (missing and each.path.startswith(missing)))
            start += chunk.height
