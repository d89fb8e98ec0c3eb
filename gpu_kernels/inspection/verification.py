"""Compare a model with its manifest: checksums, the graph, and what it finds in a picture."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from gpu_kernels.engines.graph_io import height_and_width
from gpu_kernels.engines.onnxruntime_engine import OnnxRuntimeEngine
from gpu_kernels.heads.box_decoding import decode_boxes
from gpu_kernels.heads.label_ranking import rank_labels
from gpu_kernels.heads.output_shapes import has_class_numbers
from gpu_kernels.inspection.description import toml_value
from gpu_kernels.inspection.graph_file import GraphFile
from gpu_kernels.inspection.input_layout import guess_input
from gpu_kernels.inspection.output_values import (
    MIN_SCORES,
    box_format,
    box_units,
    class_probabilities,
    score_kind,
    typical_coordinate,
)
from gpu_kernels.inspection.trial_runs import find_scale, look_at_outputs, sizes_order
from gpu_kernels.models.labels import load_labels
from gpu_kernels.models.manifest import ModelManifest, verify
from gpu_kernels.models.manifest_sections import EndToEndOutput, PlainBoxes
from gpu_kernels.preprocessing.letterbox import Picture, fit, to_input
from resources.errors import ModelError

SHOWN_BOXES = 3
# Their graphs return fewer boxes than rows, which they fill with zeros.
PADDED_DECODINGS = {"end2end", "boxes-labels-scores"}


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
    try:
        engine = OnnxRuntimeEngine(manifest, 1)
        images = to_input([fit(picture, manifest)], manifest)
        outputs = engine.run(images)
        _check_sizes_order(manifest, height_and_width(images, manifest), picture)
        if manifest.task == "classifier":
            return _classifier_finding(manifest, outputs[0])
        return _detector_finding(manifest, outputs, picture)
    except ModelError as error:
        raise ModelError(f"{error}{_advice(manifest, picture)}") from None


def _detector_finding(
    manifest: ModelManifest, outputs: Sequence[NDArray[Any]], picture: Picture
) -> str:
    head = manifest.detector_output
    (boxes,) = decode_boxes(outputs, manifest, [picture.shape[:2]], head.threshold)
    compared = True
    if isinstance(head, PlainBoxes):
        raw = _raw_values(manifest, [each[0] for each in outputs])
        _check_values(manifest, head, raw)
        compared = bool(raw.boxes.any())
    if not compared:
        return (
            "no box in the sample picture, all values are 0: whether output matches the graph "
            "could not be checked"
        )
    if not len(boxes):
        advice = _scale_advice(manifest, picture)
        return f"no box from {head.threshold:g} in the sample picture{advice}"
    best = [
        f"{head.classes[index].name} {confidence:.2f}"
        for index, confidence in zip(boxes.class_index, boxes.confidence, strict=True)
    ]
    shown = ", ".join(best[:SHOWN_BOXES]) + (", ..." if len(best) > SHOWN_BOXES else "")
    plural = "" if len(boxes) == 1 else "es"
    return f"{len(boxes)} box{plural} from {head.threshold:g} in the sample picture: {shown}"


class _RawValues(NamedTuple):
    """A picture's outputs, as the graph returns them."""

    boxes: NDArray[Any]  # [K, 4]
    scores: NDArray[Any]  # [K] or [K, C]
    numbers: NDArray[Any] | None = None  # of classes, [K]; None: there is a score for each class


def _raw_values(manifest: ModelManifest, outputs: Sequence[NDArray[Any]]) -> _RawValues:
    head, first = manifest.detector_output, outputs[0]
    if head.decoding == "yolo-anchor-free":
        return _RawValues(first[:4].T, first[4:])
    if head.decoding == "yolo-objectness":
        return _RawValues(first[:, :4], first[:, 4:])
    if head.decoding == "boxes-labels-scores":
        return _RawValues(first, outputs[2], outputs[1])
    if head.decoding in ("rtdetr", "boxes-and-logits"):
        return _RawValues(first, outputs[1])
    if isinstance(head, EndToEndOutput) and head.columns == "class-box-score":
        return _RawValues(first[:, 1:5], first[:, 5], first[:, 0])
    if head.decoding == "end2end" or has_class_numbers(manifest, first.shape[1]):
        return _RawValues(first[:, :4], first[:, 4], first[:, 5])
    return _RawValues(first[:, :4], first[:, 4:])


def _check_values(manifest: ModelManifest, head: PlainBoxes, raw: _RawValues) -> None:
    """Compare what the values show with the manifest.

    Raises:
        ModelError: they show something else.
    """
    boxes, scores, numbers = raw
    if numbers is not None and (highest := numbers[scores != 0].max(initial=-1)) >= len(
        head.classes
    ):
        raise ModelError(
            f"model {manifest.name}: gives class {highest:g}, the manifest lists "
            f"{len(head.classes)} class(es), 0 to {len(head.classes) - 1}; list all of them in "
            "output.classes, those to ignore without a category"
        )
    decoding = manifest.output.decoding
    if not boxes.any() and decoding not in PADDED_DECODINGS:
        raise ModelError(
            f"model {manifest.name}: all its {len(boxes)} boxes are 0, as padding is, but "
            f"{decoding} has none; correct output.decoding: graphs with suppression inside "
            "need end2end or boxes-labels-scores"
        )
    units = box_units(boxes)
    if units is not None and units != head.box_units:
        raise ModelError(
            f"model {manifest.name}: half of its boxes reach {typical_coordinate(boxes):.4g}, "
            f"so they are {units}, the manifest has {head.box_units}; set "
            f'output.box_units = "{units}"'
        )
    form = box_format(boxes)
    if form is not None and form != head.box_format:
        shown = "nearly all" if form == "xyxy" else "not all"
        raise ModelError(
            f"model {manifest.name}: of its {len(boxes)} boxes {shown} have a third and fourth "
            f"value as large as the first and second, the manifest has {head.box_format}; set "
            f'output.box_format = "{form}"'
        )
    _check_score_kind(manifest, head, scores)


def _check_score_kind(manifest: ModelManifest, head: PlainBoxes, scores: NDArray[Any]) -> None:
    """Compare whether scores are logits with the manifest; `check_scores` refuses other ones.

    Raises:
        ModelError: they are none, the manifest says that they are.
    """
    if head.scores != "sigmoid":
        return
    kind = score_kind(scores)
    if kind == "neither" and scores.size >= MIN_SCORES:
        raise ModelError(
            f"model {manifest.name}: its scores are from {scores.min():.4g} to {scores.max():.4g}, "
            "few of them negative or not in all columns, so they are no logits, the manifest has "
            'scores = "sigmoid"; correct output.decoding, output.outputs or output.classes'
        )
    if kind == "probability":
        raise ModelError(
            f"model {manifest.name}: its {scores.size} scores are all from 0 to 1, so they are "
            'probabilities, the manifest has scores = "sigmoid"; set output.scores = "probability"'
        )


def _check_sizes_order(manifest: ModelManifest, size: tuple[int, int], picture: Picture) -> None:
    """Compare `input.sizes_order` with what the graph does with sizes.

    Args:
        size: height and width of the input; for a square the order changes nothing.

    Raises:
        ModelError: it is the other one.
    """
    if manifest.input.sizes_input is None or size[0] == size[1]:
        return
    graph = GraphFile.read(manifest.path)
    order = sizes_order(graph, guess_input(graph), picture)
    if order not in (None, manifest.input.sizes_order):
        raise ModelError(
            f"model {manifest.name}: {manifest.input.sizes_input} takes "
            f"{'width, height' if order == 'wh' else 'height, width'}, by its boxes for two sizes; "
            f'set input.sizes_order = "{order}"'
        )


def _classifier_finding(manifest: ModelManifest, scores: NDArray[Any]) -> str:
    ((best, *_),) = rank_labels(scores, manifest)
    declared, found = manifest.output.decoding, class_probabilities(scores[0])
    if found != (declared == "probabilities"):
        right = "probabilities" if found else "logits"
        raise ModelError(
            f"model {manifest.name}: the sum of its scores is {float(scores[0].sum()):.4g}, the "
            f'manifest has decoding = "{declared}"; set output.decoding = "{right}"'
        )
    count = len(load_labels(manifest))
    return f"{best.label} {best.confidence:.2f}, of {count} labels, for the sample picture"


def _scale_advice(manifest: ModelManifest, picture: Picture) -> str:
    """Return that a detector finds something with values of 0 to 255 only, if that is so."""
    graph = GraphFile.read(manifest.path)
    taken = guess_input(graph)
    layout = look_at_outputs(graph, taken, picture)
    if layout is None or layout.problem or max(manifest.input.multiply) == 1.0:
        return ""
    find_scale(graph, taken, layout, picture)
    if taken.section["multiply"][0] != 1.0:
        return ""
    return f" (check input.multiply: {taken.doubts['multiply']})"


def _advice(manifest: ModelManifest, picture: Picture) -> str:
    """Return what the outputs look like, if that is not what the manifest says."""
    try:
        graph = GraphFile.read(manifest.path)
        layout = look_at_outputs(graph, guess_input(graph), picture)
    except ModelError:
        return ""
    if layout is not None and layout.problem is not None:
        return f" ({layout.problem})"
    if layout is None or (layout.doubts and not layout.best):
        return ""
    look = "may be" if layout.doubts else "look like"
    have = manifest.output.model_dump(mode="json")
    differing = {key: value for key, value in layout.section.items() if have.get(key) != value}
    if not have["outputs"] and "decoding" not in differing:
        differing.pop("outputs", None)
    words = [f"{key} = {toml_value(value)}" for key, value in differing.items()]
    if layout.classes not in (None, len(have.get("classes") or ())) and manifest.task == "detector":
        words.append(f"{layout.classes} class(es)")
    return f" (its outputs {look} {', '.join(words)})" if words else ""
