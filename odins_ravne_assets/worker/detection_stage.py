"""Stage 1 of a step: run the detector on media that are not in the journal, write the tables."""

import sys
from collections.abc import Iterator
from time import monotonic

import polars as pl

from odins_ravne_assets.munin.detection.crash_guard import CrashGuard
from odins_ravne_assets.munin.detection.decode_pool import Decoder, DecodingSettings, Medium
from odins_ravne_assets.munin.detection.decode_process import SLOT_BYTES
from odins_ravne_assets.munin.detection.detector import Detector
from odins_ravne_assets.munin.detection.frame_sampling import SamplingPlan
from odins_ravne_assets.munin.detection.stage1 import Progress, Stage1, only_new
from odins_ravne_assets.munin.inference.timing import LOOKING_AT_FRAMES, StageTiming
from odins_ravne_assets.munin.tables import build, checks
from odins_ravne_assets.munin.tables.journal import HashSet, Stage1Journal
from odins_ravne_assets.worker.asset_metadata import detection_metadata
from odins_ravne_assets.worker.context import StageResult, StepContext
from odins_ravne_assets.worker.free_memory import release_memory
from resources.storage import layout

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
    """Process all media that the journal does not hold, and write Stage 1's tables."""
    started = monotonic()
    journal = context.stage1_journal()
    journal.remove_uncommitted()
    progress, timing = Progress(), StageTiming(LOOKING_AT_FRAMES)
    if detect_pending(context, journal, progress, timing):
        release_memory()
    else:
        context.reporter.info("nothing new to look at: every medium is in the journal")
    context.raise_if_stopped()
    build.write_stage1_tables(context.output, journal, context.models.detector_versions())
    metadata = detection_metadata(context.output, journal) | {
        "media/newly_looked_at": progress.media,
        "compute/seconds": round(monotonic() - started, 3),
        **timing.facts(),
    }
    check_results = [
        checks.nothing_lost(context.output),
        checks.detections_sane(context.output),
    ]
    return StageResult(metadata, check_results, context.data_version(layout.DETECTIONS_TABLE))
