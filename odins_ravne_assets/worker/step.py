"""Run the stages of one camera in order, with an exclusive lock on its output.

Independent of where it runs: imports neither Dagster nor the cloud.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import polars as pl

from odins_ravne_assets.hugin.identification.taxonomy import Taxon, project_taxonomy
from odins_ravne_assets.hugin.privacy.sensitive_taxa import sensitive_taxa
from odins_ravne_assets.munin.tables.damage import damage_error, delete_damaged
from odins_ravne_assets.worker.asset_metadata import log_line
from odins_ravne_assets.worker.classification_stage import label_parts, run_classifications
from odins_ravne_assets.worker.context import StageResult, StepContext
from odins_ravne_assets.worker.detection_stage import detect_pending, run_detections
from odins_ravne_assets.worker.footage_stage import run_footage
from odins_ravne_assets.worker.results_stage import run_exports, run_observations
from resources.errors import DamagedFileError
from resources.storage import layout

# The asset of each stage, in the order of the pipeline.
STAGES: dict[str, Callable[[StepContext], StageResult]] = {
    "footage": run_footage,
    "detections": run_detections,
    "classifications": run_classifications,
    "observations": run_observations,
    "exports": run_exports,
}

# What a damaged file raises; on S3 it may be found only when it is read.
DAMAGE_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, DamagedFileError)
# The parts that a stage makes again once they are deleted.
MADE_AGAIN = {
    "detections": (layout.JOURNAL_STAGE1,),
    "classifications": (layout.JOURNAL_STAGE2,),
    "unit": (layout.JOURNAL_STAGE1, layout.JOURNAL_STAGE2),
}

Result = TypeVar("Result")


def run_step(context: StepContext, stages: list[str]) -> Iterator[tuple[str, StageResult]]:
    """Run stages in the order of the pipeline, or Stages 1 and 2 of the context's unit.

    Args:
        stages: names of assets.

    Yields:
        The name and the result of each stage; nothing for a unit.

    Raises:
        StepStopped: `context.stop` was set.
        RavneError: an error that the user can correct.
    """
    context.models.verify(stages)
    if "classifications" in stages:
        _check_sensitive_species(context)
    if context.unit:
        context.keep_settings(stages)
        # Units of one camera run in parallel; the launcher keeps other runs away.
        context.models.with_fallback(partial(_repairing, "unit", _run_unit, context))
        return
    with context.output.exclusive(_on_wait(context)):
        context.keep_settings(stages)
        for stage, run in STAGES.items():
            if stage in stages:
                with context.counters.stage(stage):
                    result = context.models.with_fallback(partial(_repairing, stage, run, context))
                context.reporter.info(log_line(stage, result.metadata))
                yield stage, result


def _check_sensitive_species(context: StepContext) -> None:
    """Refuse an unknown name before the detector runs for hours; Stage 3 would refuse it too.

    Raises:
        UsageError: the name is neither in the taxonomy, the project's list nor the classifier's.
    """
    names = context.profile.privacy.sensitive_species
    if not names:
        return
    taxa = {
        label.scientific_name: Taxon(label.scientific_name, *label.taxon[1:])
        for label in context.models.ranked_labels()
        if label.scientific_name
    }
    sensitive_taxa(names, [project_taxonomy(context.profile.project.species, taxa)])


def _repairing(stage: str, run: Callable[[StepContext], Result], context: StepContext) -> Result:
    """Run a stage, once more if a damaged part of the journal ended it that it can make again.

    Raises:
        StoreError: names the other damaged files, which are deleted.
    """
    try:
        return run(context)
    except DAMAGE_ERRORS:
        if not (damaged := delete_damaged(context.output)):
            raise
    if not all(key.startswith(MADE_AGAIN.get(stage, ())) for key in damaged):
        raise damage_error(context.output, damaged)
    for key, reason in sorted(damaged.items()):
        context.reporter.warning(f"{key} ({reason}) is damaged: it is made again")
    return run(context)


def _on_wait(context: StepContext) -> Callable[[], None]:
    """Return a callback for the time in which another run holds the lock."""
    reported = False

    def on_wait() -> None:
        nonlocal reported
        context.raise_if_stopped()
        if not reported:
            reported = True
            context.reporter.info(
                f"{context.output.url} is in use by another run; waiting for its end"
            )

    return on_wait


def _run_unit(context: StepContext) -> None:
    """Journal Stages 1 and 2 of the unit's media; a later step writes the tables."""
    stage1 = context.stage1_journal()
    stage2 = context.stage2_journal(stage1)
    with context.counters.stage("detections"):
        detect_pending(context, stage1)
    context.raise_if_stopped()
    # With the parts of a GPU that failed, if the unit has fallen back to the CPU.
    if parts := sorted(set(stage1.written) - stage2.parts()):
        with context.counters.stage("classifications"):
            label_parts(context, stage1, stage2, parts)
    context.raise_if_stopped()
