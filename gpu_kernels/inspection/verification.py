"""Compare a model with its manifest: checksums, the graph, and what it finds in a picture."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.engines.onnxruntime_engine import OnnxRuntimeEngine
from gpu_kernels.heads.box_decoding import Boxes, decode_boxes
from gpu_kernels.heads.label_ranking import as_probabilities
from gpu_kernels.inspection.graph_file import GraphFile
from gpu_kernels.inspection.input_layout import guess_input
from gpu_kernels.inspection.output_layout import Layout
from gpu_kernels.inspection.output_values import (
    MAX_FRACTION,
    box_format,
    box_units,
    class_probabilities,
    score_kind,
)
from gpu_kernels.models.labels import load_labels
from gpu_kernels.models.manifest import ModelManifest, verify
from gpu_kernels.models.manifest_sections import PlainBoxes
from gpu_kernels.preprocessing.letterbox import Picture, fit, to_input
from resources.errors import ModelError

SHOWN_BOXES = 3


def verify_model(manifest: ModelManifest, picture: Picture) -> str:
    """Check a model's files, its graph, and its outputs for a picture.

    Colour, normalisation and fit cannot be checked: a network answers for wrong ones, too.

    Args:
        picture: uint8 BGR [h, w, 3], a photograph.

    Returns:
        What the model finds in the picture, as one line.

    Raises:
        ModelError: something does not match the manifest; it says what to change.
    """
    verify(manifest)
    engine = OnnxRuntimeEngine(manifest, 1)
    outputs = engine.run(to_input([fit(picture, manifest)], manifest))
    if manifest.task == "classifier":
        return _verify_classifier(manifest, outputs[0])
    try:
        found = _verify_detector(manifest, outputs, picture)
    except ModelError as error:
        raise ModelError(f"{error}{_advice(manifest, picture)}") from None
    return _describe_boxes(manifest, found)
