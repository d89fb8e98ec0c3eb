"""Write the manifest of a graph: what its file shows, and comments on what it does not."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from gpu_kernels.inspection.classes import describe_classes
from gpu_kernels.inspection.graph_file import GraphFile
from gpu_kernels.inspection.input_layout import InputLayout, guess_input
from gpu_kernels.inspection.layout import Layout
from gpu_kernels.inspection.output_layout import NMS_DECODINGS
from gpu_kernels.inspection.trial_runs import find_scale, find_sizes_order, look_at_outputs
from gpu_kernels.models.labels import read_labels
from gpu_kernels.models.manifest import UNKNOWN
from gpu_kernels.models.models_folder import MODEL_NAME
from gpu_kernels.preprocessing.letterbox import Picture
from resources.errors import ModelError

THRESHOLD, NMS_IOU = 0.2, 0.5
CLASSIFIERS = ("logits", "probabilities")
# Files of labels that a classifier may have beside it.
LABEL_SUFFIXES = (".txt", ".tsv")


class Line(NamedTuple):
    """A key of the manifest, and why its value is uncertain."""

    key: str
    value: Any
    comment: str | None = None


@dataclass
class Description:
    """The manifest of a graph.

    Attributes:
        text: TOML.
        reasons: what the outputs were taken for and why.
    """

    text: str
    reasons: list[str] = field(default_factory=list)


def describe(path: Path, picture: Picture, labels: Path | None = None) -> Description:
    """Return the manifest that fits a graph, by its types, shapes, metadata, and a run.

    Args:
        path: an ONNX file; the manifest is for its folder.
        picture: uint8 BGR [h, w, 3], a photograph.
        labels: a classifier's labels, in the same folder; None: looked for there.

    Raises:
        ModelError: the graph cannot be read or run, or its layout is not supported.
    """
    graph = GraphFile.read(path)
    taken = guess_input(graph)
    layout = look_at_outputs(graph, taken, picture)
    if layout is None:
        raise ModelError(
            f"model {path}: its outputs {_shapes(graph)} are of no known layout; docs/models.md "
            "lists the layouts: export the model again, or name its outputs in a manifest by hand"
        )
    if layout.problem is not None:
        raise ModelError(f"model {path}: {layout.problem} (docs/models.md lists the layouts)")
    classifies = layout.section["decoding"] in CLASSIFIERS
    if classifies and taken.has_free_size:
        _fix_size(taken)
    if taken.sizes is not None:
        find_sizes_order(graph, taken, layout, picture)
    if not classifies:
        find_scale(graph, taken, layout, picture)
    sections = {
        "": _top(graph, "classifier" if classifies else "detector"),
        "input": _input(taken, layout),
        "output": _classifier_output(graph, layout, labels)
        if classifies
        else _detector_output(graph, layout),
    }
    if classifies:
        note = "not in the file: the box itself, as SpeciesNet and DeepFaune"
        sections["crop"] = [Line("shape", "box", note), Line("margin", 0.0)]
    return Description(_toml(sections, layout), layout.reasons + layout.doubts)


def _fix_size(taken: InputLayout) -> None:
    """Give a classifier of a free size a square input."""
    side = taken.section.pop("long_side")
    taken.section.pop("stride")
    note = taken.doubts.pop("long_side", None)
    taken.doubts.pop("stride", None)
    side = 224 if note else side
    taken.section = {"height": side, "width": side} | taken.section
    if note:
        taken.doubts["height"] = note


def _top(graph: GraphFile, task: str) -> list[Line]:
    name = re.sub(r"[^a-z0-9.-]+", "-", graph.path.stem.lower()).strip("-.")[:64]
    if not MODEL_NAME.fullmatch(name):
        name = "model"
    with graph.path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    missing = "not in the file"
    licence, source = graph.text("license"), graph.text("author") or graph.text("description")
    return [
        Line("name", name),
        Line("task", task),
        Line("file", graph.path.name),
        Line("sha256", sha256),
        Line("description", graph.text("description") or UNKNOWN, "what it finds, and its limits"),
        Line("licence", licence or UNKNOWN, None if licence else missing),
        Line("source", source or UNKNOWN, None if source else missing),
        Line("home", graph.text("docs") or UNKNOWN, None if graph.text("docs") else missing),
    ]


def _input(taken: InputLayout, layout: Layout) -> list[Line]:
    lines = [Line(key, value, taken.doubts.get(key)) for key, value in taken.section.items()]
    letterbox = taken.has_free_size or layout.section["decoding"] in NMS_DECODINGS | {"end2end"}
    rule = "letterbox-centre" if letterbox else "stretch"
    lines.append(Line("fit", rule, "not in the file: usual for this kind of network"))
    if letterbox:
        lines.append(Line("pad", taken.spec(rule).pad))
    return lines


def _detector_output(graph: GraphFile, layout: Layout) -> list[Line]:
    classes, note = describe_classes(
        graph.class_names(), layout.classes, layout.seen, layout.batched
    )
    if layout.section["decoding"] == "rtdetr-packed" and layout.classes is None:
        # Needed for two classes; for others it is what the shape says, unless it is 4 + C, too.
        layout.section.setdefault("columns", "score-class")
    lines = [Line(key, value) for key, value in layout.section.items()]
    if layout.section["decoding"] in NMS_DECODINGS:
        lines.append(Line("nms_iou", NMS_IOU, "not in the file"))
    lines.append(Line("threshold", THRESHOLD, "not in the file: MegaDetector's usual one"))
    rows = [
        {"name": each.name} | ({"category": each.category} if each.category else {})
        for each in classes
    ]
    return [*lines, Line("classes", rows, note)]


def _classifier_output(graph: GraphFile, layout: Layout, labels: Path | None) -> list[Line]:
    path = labels or _find_labels(graph.path.parent, layout.classes)
    if path is None:
        raise ModelError(
            f"model {graph.path}: a classifier of {layout.classes} classes; no file of labels with "
            "as many rows is beside it: name it with --labels (docs/models.md describes its format)"
        )
    if path.absolute().parent != graph.path.absolute().parent:
        raise ModelError(f"labels {path}: must be in the folder of {graph.path}; copy it there")
    rows = len(read_labels(path))
    if rows != layout.classes:
        raise ModelError(
            f"labels {path}: has {rows} rows, the output of {graph.path} {layout.classes}; name "
            "the labels of this model"
        )
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return [
        *(Line(key, value) for key, value in layout.section.items()),
        Line("labels", path.name),
        Line("labels_sha256", sha256),
    ]


def _find_labels(folder: Path, count: int | None) -> Path | None:
    """Return the only file of labels in a folder with this number of rows."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix not in LABEL_SUFFIXES or not path.is_file():
            continue
        try:
            rows = len(read_labels(path))
        except ModelError:
            continue  # another text
        if rows == count:
            found.append(path)
    return found[0] if len(found) == 1 else None


def _shapes(graph: GraphFile) -> str:
    return ", ".join(map(str, graph.outputs)) or "(none)"


def _toml(sections: Mapping[str, Sequence[Line]], layout: Layout) -> str:
    lines = ["# Written by munin models describe. Check what a comment says is not in the file."]
    lines += [f"# Outputs: {each}." for each in layout.reasons]
    lines += [f"# Not certain: {each}." for each in layout.doubts]
    for name, keys in sections.items():
        lines += ["", f"[{name}]"] if name else []
        for key, value, comment in keys:
            note = f"  # {comment}" if comment else ""
            if isinstance(value, list) and value and isinstance(value[0], dict):
                lines += [f"{key} = [{note}", *(f"    {toml_value(each)}," for each in value), "]"]
            else:
                lines.append(f"{key} = {toml_value(value)}{note}")
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    """Return a value in TOML; its strings are those of JSON but for the character DEL."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
