"""Stage 2 of a step: label the boxes of Stage 1's journal, write the tables."""

from time import monotonic

import polars as pl

from odins_ravne_assets.munin.classification.speciesnet_predictions import PredictionLabeller
from odins_ravne_assets.munin.classification.stage2 import Stage2
from odins_ravne_assets.munin.inference.timing import STAGE2_STEPS, StageTiming
from odins_ravne_assets.munin.progress import Metadata
from odins_ravne_assets.munin.tables import build, checks
from odins_ravne_assets.munin.tables.journal import (
    Stage1Journal,
    Stage2Journal,
    unlabelled_parts,
)
from odins_ravne_assets.munin.workload.recorded_settings import STAGE2
from odins_ravne_assets.worker.asset_metadata import classification_metadata
from odins_ravne_assets.worker.context import StageResult, StepContext
from odins_ravne_assets.worker.free_memory import release_memory
from resources.errors import StoreError
from resources.storage import layout
from resources.storage.object_store import ObjectStore
from resources.storage.parquet_files import scan_parquet


def run_classifications(context: StepContext) -> StageResult:
    """Label all boxes of the detections table that have no label, and write Stage 2's tables.

    Raises:
        StoreError: Stage 1 has not run.
    """
    started = monotonic()
    output = context.output
    if not output.exists(layout.DETECTIONS_TABLE):
        raise StoreError(
            f"{output.url}: {layout.DETECTIONS_TABLE} is missing; run Stage 1 (detections) first"
        )
    # The journal that the table was built from, which need not be that of the current settings.
    stage1 = Stage1Journal(output, build.read_origin(output, layout.DETECTIONS_TABLE).journal_key)
    stage2 = context.stage2_journal(stage1)
    for file in stage2.remove_damaged():
        context.reporter.warning(f"{file} is damaged: its boxes are labelled again")
    labelled, timing_metadata = 0, Metadata()
    if parts := list(unlabelled_parts(stage1, stage2)):
        labelled, timing = label_parts(context, stage1, stage2, parts)
        timing_metadata = timing.metadata()
        release_memory()
    context.raise_if_stopped()
    context.record_settings(STAGE2)
    build.write_stage2_table(output, stage1, stage2, context.models.classifier_version())
    build.write_taxa(output, context.models.ranked_labels())
    metadata = classification_metadata(output, stage1) | timing_metadata
    metadata |= {
        **{f"models/{role}": name for role, name in context.models.classifier_version().items()},
        "boxes/newly_labelled": labelled,
        "compute/seconds": round(monotonic() - started, 3),
    }
    check_results = [checks.every_box_labelled(output)]
    return StageResult(metadata, check_results, context.data_version(layout.CLASSIFICATIONS_TABLE))


def label_parts(
    context: StepContext, stage1: Stage1Journal, stage2: Stage2Journal, parts: list[str]
) -> tuple[int, StageTiming]:
    """Label the boxes of parts of Stage 1's journal, with the classifier or from predictions.

    Returns:
        The number of labelled crops, and the timing.
    """
    context.record_settings(STAGE2)
    settings, predictions = context.profile.pipeline.stage2, context.models.predictions
    report_progress = context.progress(
        "classifications", sum(stage1.animals(part) for part in parts), "crops"
    )
    report_progress(0)

    def on_progress(crops: int) -> None:
        context.counters.crops = crops
        context.counters.record_progress()
        report_progress(crops)

    timing = StageTiming(STAGE2_STEPS)
    stage: Stage2 | PredictionLabeller
    if predictions:
        paths = _usable_paths(context.output)
        stage = PredictionLabeller(predictions, paths, settings.auto_ok_threshold, on_progress)
    else:
        classifier = context.models.load_classifier(timing)
        stage = Stage2(
            classifier, settings.auto_ok_threshold, settings.batch_size, on_progress, timing
        )
    stage.run(stage1, stage2, parts, context.stop)
    if not predictions:
        context.reporter.info(str(timing))
    return stage.labelled, timing


def _usable_paths(output: ObjectStore) -> dict[str, str]:
    """Return the path of each usable medium, by its content hash."""
    with output.reading(layout.MEDIA_TABLE) as path:
        usable = scan_parquet(path).filter(pl.col("status") == "ok")
        return dict(usable.select("content_hash", "path").collect().iter_rows())
