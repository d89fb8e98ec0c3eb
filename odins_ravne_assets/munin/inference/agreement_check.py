"""Check that a GPU engine of a model gives the CPU's answers, on one picture.

What is compared is what the pipeline uses: the picture is fitted, inferred and decoded as in a
stage, on the GPU and by onnxruntime. On the GPU it is a batch of the usual size, several times, so
that a batch, a batch that is captured as a CUDA graph and the graph are checked in each slot.
"""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import TypeVar

import numpy as np

from gpu_kernels.engines.engine import DeviceEngine, Engine
from gpu_kernels.engines.engine_record import CheckOutcome
from gpu_kernels.heads.box_decoding import Boxes
from gpu_kernels.heads.engine_agreement import (
    EDGE_TOLERANCE,
    SCORE_TOLERANCE,
    Agreement,
    compare_boxes,
    compare_labels,
)
from gpu_kernels.heads.label_ranking import RankedLabel, rank_labels
from gpu_kernels.models.manifest import ModelManifest, model_hash
from odins_ravne_assets.munin.inference.run_model import (
    DetectorRunner,
    HostPicture,
    LoadedModel,
    start_classification,
    whole_picture,
)
from resources.errors import ModelError

T = TypeVar("T")

# Raise it when a change of the code can change the outcome of a check.
CHECK_VERSION = 1
# In each of two slots: a plain batch, one that is captured, and the graph.
PASSES = 6
# Least confidence of boxes that are compared, for a model that finds nothing clear in the picture.
LEAST_CONFIDENCE = 0.01


def checked(
    manifest: ModelManifest,
    engine: DeviceEngine,
    open_reference: Callable[[], Engine],
    picture: HostPicture,
    batch: int,
) -> CheckOutcome:
    """Check an engine of a GPU, or return the outcome of its last check.

    Args:
        engine: its `opened` receives the seconds of the check.
        open_reference: opens the model on the CPU; not called if the outcome is known.
        picture: uint8 BGR [h, w, 3], in which the model should find something.
        batch: pictures of the usual batch.

    Raises:
        ModelError: the model's own answers, on the CPU, are invalid.
        EngineError: the GPU failed.
    """
    started = perf_counter()
    basis = check_basis(manifest, picture)
    record = engine.opened.record
    outcome = record.check(basis) if record else None
    if outcome is None:
        total, reason = compare_with_cpu(manifest, engine, open_reference(), picture, batch)
        outcome = CheckOutcome(basis, not reason and total.within_tolerance, reason or str(total))
        if record:
            record.save_check(outcome)
    engine.opened.seconds["checking engines"] = perf_counter() - started
    return outcome


def check_basis(manifest: ModelManifest, picture: HostPicture) -> str:
    """Return a hash of all that the outcome depends on beside the engine."""
    parts = [
        CHECK_VERSION,
        model_hash(manifest),
        hashlib.sha256(picture.tobytes()).hexdigest(),
        picture.shape,
        [SCORE_TOLERANCE, EDGE_TOLERANCE],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def compare_with_cpu(
    manifest: ModelManifest,
    engine: Engine,
    reference: Engine,
    picture: HostPicture,
    batch: int,
) -> tuple[Agreement, str]:
    """Compare the answers of two engines, the second of which is right.

    Returns:
        The agreement, and the reason if an answer of `engine` is invalid; else an empty string.

    Raises:
        ModelError: an answer of `reference` is invalid.
        EngineError: the GPU failed.
    """
    gpu, cpu = LoadedModel(manifest, engine), LoadedModel(manifest, reference)
    compare = _compare_classifier if manifest.task == "classifier" else _compare_detector
    return compare(gpu, cpu, picture, batch)


def _compare_classifier(
    gpu: LoadedModel, cpu: LoadedModel, picture: HostPicture, batch: int
) -> tuple[Agreement, str]:
    def labels(model: LoadedModel, count: int) -> list[list[RankedLabel]]:
        scores = start_classification(model, [whole_picture(picture)] * count)()
        return rank_labels(scores, model.manifest)

    (expected,) = labels(cpu, 1)
    return _compare_passes(lambda: labels(gpu, batch), partial(compare_labels, expected))


def _compare_detector(
    gpu: LoadedModel, cpu: LoadedModel, picture: HostPicture, batch: int
) -> tuple[Agreement, str]:
    def boxes(model: LoadedModel, threshold: float, count: int) -> list[Boxes]:
        return DetectorRunner(model, threshold).start([whole_picture(picture)] * count)()

    threshold = cpu.manifest.detector_output.threshold
    (expected,) = boxes(cpu, threshold, 1)
    if not (expected.confidence >= threshold + SCORE_TOLERANCE).any():
        # Nothing clear: compare the best of what is below the threshold.
        (faint,) = boxes(cpu, min(threshold, LEAST_CONFIDENCE), 1)
        best = float(np.max(faint.confidence, initial=0.0))
        threshold = min(threshold, max(LEAST_CONFIDENCE, best - 2 * SCORE_TOLERANCE))
        (expected,) = boxes(cpu, threshold, 1)
    return _compare_passes(
        lambda: boxes(gpu, threshold, batch),
        lambda found: compare_boxes(expected, found, threshold),
    )


def _compare_passes(
    answer: Callable[[], list[T]], compare: Callable[[T], Agreement]
) -> tuple[Agreement, str]:
    """Compare every answer of several batches; an invalid or different one ends it."""
    total = Agreement()
    try:
        for _ in range(PASSES):
            for found in answer():
                total += compare(found)
            if not total.within_tolerance:
                break
    except ModelError as error:
        return total, str(error)
    return total, ""
