"""Graphs in the layouts of public exports, from a picture to its boxes, on the CPU and a device."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_files import plain_manifest
from numpy.typing import NDArray
from onnxruntime_device_engine import OnnxRuntimeDeviceEngine
from rectangle_graphs import EXPORTS, SCORE, Export, Options, rtdetr_exporter

from gpu_kernels.engines.engine import open_engine
from gpu_kernels.heads.box_decoding import Boxes
from gpu_kernels.models.manifest import ModelManifest
from odins_ravne_assets.munin.inference.run_model import (
    DetectorRunner,
    LoadedModel,
    whole_picture,
)
from resources.errors import ModelError

BLUE, GREEN, RED = (250, 0, 0), (0, 250, 0), (0, 0, 250)  # in the BGR order of pictures
# The class of a rectangle, by colour: its channel in an RGB input.
CLASS = {RED: 0, GREEN: 1, BLUE: 2}
LAYOUTS = [name for name in EXPORTS if "ghost" not in name]
each_export = pytest.mark.parametrize("name", LAYOUTS)


def picture(
    height: int, width: int, colour: tuple[int, int, int], box: tuple[int, int, int, int]
) -> NDArray[np.uint8]:
    """Return a black picture with a rectangle: left, top, right, bottom."""
    pixels = np.zeros((height, width, 3), np.uint8)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = colour
    return pixels


PICTURES = [
    (picture(480, 640, RED, (80, 120, 320, 360)), RED, (80, 120, 320, 360)),
    (picture(640, 480, BLUE, (120, 80, 240, 560)), BLUE, (120, 80, 240, 560)),
    (picture(64, 64, GREEN, (8, 16, 24, 64)), GREEN, (8, 16, 24, 64)),
    (picture(480, 640, GREEN, (0, 0, 640, 160)), GREEN, (0, 0, 640, 160)),
]
PLAIN = Options()
EMPTY = np.zeros((480, 640, 3), np.uint8)


def manifest_of(
    folder: Path,
    export: Export,
    options: Options = PLAIN,
    **input_keys: Any,
) -> ModelManifest:
    keys = export.input | input_keys
    if options.dtype != "float32":
        keys["dtype"] = options.dtype
    return plain_manifest(folder, keys, export.output, export.classes, export.make(options))


def on_cpu(manifest: ModelManifest) -> LoadedModel:
    return LoadedModel(manifest, open_engine(manifest, "onnxruntime", 1))


def on_device(manifest: ModelManifest) -> LoadedModel:
    return LoadedModel(manifest, OnnxRuntimeDeviceEngine(manifest, "cpu", 2, print, 1))


def detect(model: LoadedModel, pictures: list[NDArray[np.uint8]]) -> list[Boxes]:
    return DetectorRunner(model, 0.25).start([whole_picture(each) for each in pictures])()


def assert_rectangles(found: list[Boxes], export: Export, side: int = 64) -> None:
    """Compare with PICTURES, within a pixel of the model's input."""
    for boxes, (pixels, colour, (left, top, right, bottom)) in zip(found, PICTURES, strict=True):
        height, width = pixels.shape[:2]
        assert len(boxes) == 1
        assert (
            export.classes[boxes.class_index[0]] == ("animal", "person", "vehicle")[CLASS[colour]]
        )
        assert boxes.confidence[0] == pytest.approx(SCORE, abs=2e-3)
        x, y, w, h = boxes.xywh[0]
        expected = [left / width, top / height, right / width, bottom / height]
        tolerance = 1.5 * max(height, width) / side / min(height, width)
        assert [x, y, x + w, y + h] == pytest.approx(expected, abs=tolerance)


def variants() -> Iterator[Any]:
    """Every layout by both ways of running it that it allows."""
    for name in LAYOUTS:
        yield pytest.param(name, on_cpu, id=f"{name} on the CPU")
        yield pytest.param(name, on_device, id=f"{name} on a device")


Open = Callable[[ModelManifest], LoadedModel]
each_variant = pytest.mark.parametrize(("name", "open_model"), list(variants()))


@each_variant
@pytest.mark.parametrize("fit", ["letterbox-centre", "letterbox-topleft"])
def test_the_rectangle_of_landscape_and_portrait_pictures_is_found(
    tmp_path: Path, name: str, open_model: Open, fit: str
) -> None:
    model = open_model(manifest_of(tmp_path, EXPORTS[name], fit=fit))
    assert_rectangles(detect(model, [each for each, _, _ in PICTURES]), EXPORTS[name])


@pytest.mark.parametrize("open_model", [on_cpu, on_device])
@pytest.mark.parametrize(("size", "boxes"), [((480, 640), 1), ((640, 480), 1), ((64, 64), 2)])
def test_a_box_in_the_padding_of_a_letterbox_is_dropped(
    tmp_path: Path, open_model: Open, size: tuple[int, int], boxes: int
) -> None:
    """The graph marks the corner of its input, where only a square picture has pixels."""
    model = open_model(manifest_of(tmp_path, EXPORTS["end2end with a ghost"]))
    pixels = picture(*size, RED, (8, 8, 40, 40))
    assert [len(each) for each in detect(model, [pixels])] == [boxes]


@each_variant
def test_an_empty_picture_has_no_box(tmp_path: Path, name: str, open_model: Open) -> None:
    """Exports with a free number of boxes give none."""
    model = open_model(manifest_of(tmp_path, EXPORTS[name]))
    pixels = [EMPTY, PICTURES[0][0], EMPTY]
    assert [len(each) for each in detect(model, pixels)] == [0, 1, 0]


@each_variant
def test_a_graph_with_a_free_size_gets_the_long_side_and_multiples_of_the_stride(
    tmp_path: Path, name: str, open_model: Open
) -> None:
    export = EXPORTS[name]
    model = open_model(manifest_of(tmp_path, export, Options(size=None), long_side=128, stride=32))
    found = detect(model, [each for each, _, _ in PICTURES])
    assert_rectangles(found, export, 128)


@pytest.mark.parametrize(
    ("name", "batch"),
    [
        (name, batch)
        for name in LAYOUTS
        for batch in (1, 4)
        if batch == 1 or not EXPORTS[name].varies
    ],
)
@pytest.mark.parametrize("open_model", [on_cpu, on_device])
def test_a_fixed_batch_runs_any_number_of_pictures(
    tmp_path: Path, name: str, open_model: Open, batch: int
) -> None:
    """With five pictures, a batch of four is computed twice."""
    export = EXPORTS[name]
    model = open_model(manifest_of(tmp_path, export, Options(batch=batch)))
    found = detect(model, [each for each, _, _ in PICTURES] + [EMPTY])
    assert [len(each) for each in found][-1] == 0
    assert_rectangles(found[:4], export)


@each_variant
@pytest.mark.parametrize("batch", [None, 1])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_the_channels_can_be_last(
    tmp_path: Path, name: str, open_model: Open, batch: int | None, dtype: str
) -> None:
    """Also in pictures that are not square, and with a free size."""
    export = EXPORTS[name]
    options = Options(
        batch, (64, 96), dtype, whole=255.0 if dtype == "uint8" else 1.0, layout="nhwc"
    )
    model = open_model(manifest_of(tmp_path / "fixed", export, options, layout="nhwc", width=96))
    assert_rectangles(detect(model, [each for each, _, _ in PICTURES]), export)
    keys = {"layout": "nhwc", "long_side": 128, "stride": 32}
    model = open_model(manifest_of(tmp_path / "free", export, options._replace(size=None), **keys))
    assert_rectangles(detect(model, [each for each, _, _ in PICTURES]), export, 128)


@each_variant
@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_the_input_can_be_float16_or_uint8(
    tmp_path: Path, name: str, open_model: Open, dtype: str
) -> None:
    export = EXPORTS[name]
    options = Options(dtype=dtype, whole=255.0 if dtype == "uint8" else 1.0)
    model = open_model(manifest_of(tmp_path, export, options))
    found = detect(model, [each for each, _, _ in PICTURES])
    assert_rectangles(found, export)


@each_variant
def test_the_outputs_can_be_float16(tmp_path: Path, name: str, open_model: Open) -> None:
    export = EXPORTS[name]
    model = open_model(manifest_of(tmp_path, export, Options(half=True)))
    found = detect(model, [each for each, _, _ in PICTURES])
    assert_rectangles(found, export)


@each_export
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_a_layout_can_be_computed_in_float16(
    tmp_path: Path, name: str, dtype: str, layout: str
) -> None:
    """As a GPU does: pictures and weights are converted; sizes, labels and bytes are not."""
    export = EXPORTS[name]
    whole = 255.0 if dtype == "uint8" else 1.0
    options = Options(dtype=dtype, whole=whole, layout=layout)
    manifest = manifest_of(tmp_path, export, options, layout=layout)
    manifest = manifest.model_copy(update={"fp16": True})
    model = on_device(manifest)
    assert "float16" in model.engine.description
    assert_rectangles(detect(model, [each for each, _, _ in PICTURES]), export)


@each_variant
def test_a_bgr_input_has_the_channels_in_the_other_order(
    tmp_path: Path, name: str, open_model: Open
) -> None:
    export = EXPORTS[name]
    model = open_model(manifest_of(tmp_path, export, colour="bgr"))
    found = detect(model, [each for each, _, _ in PICTURES[:2]])
    names = [export.classes[boxes.class_index[0]] for boxes in found]
    assert names == ["vehicle", "animal"]


def test_the_sizes_are_of_the_input_in_the_order_of_the_manifest(tmp_path: Path) -> None:
    """A landscape input of 64 x 128: swapped sizes give a wrong box, or one outside."""
    export = EXPORTS["rtdetr-exporter"]
    network = rtdetr_exporter(Options(size=(64, 128)))
    right, wrong = (
        on_cpu(
            plain_manifest(
                tmp_path / order,
                export.input | {"width": 128, "sizes_order": order},
                export.output,
                network=network,
            )
        )
        for order in ("wh", "hw")
    )
    pixels = picture(320, 640, RED, (320, 0, 640, 320))
    assert detect(right, [pixels])[0].xywh[0] == pytest.approx([0.5, 0.0, 0.5, 1.0])
    swapped = detect(wrong, [pixels])[0]
    assert len(swapped) == 0 or swapped.xywh[0] != pytest.approx([0.5, 0.0, 0.5, 1.0])


@each_export
def test_a_manifest_without_the_names_of_a_graph_with_several_is_refused(
    tmp_path: Path, name: str
) -> None:
    export = EXPORTS[name]
    keys = {key: value for key, value in export.output.items() if key != "outputs"}
    manifest = plain_manifest(tmp_path, {}, keys, export.classes, export.make(Options()))
    if export.input:
        with pytest.raises(
            ModelError,
            match=r"inputs are images .*, orig_target_sizes .* of int64; set input\.name",
        ):
            on_cpu(manifest)
    elif "outputs" in export.output:
        with pytest.raises(ModelError, match=r"correct output\.decoding, output\.outputs"):
            detect(on_cpu(manifest), [EMPTY])
    else:
        assert len(detect(on_cpu(manifest), [PICTURES[0][0]])[0]) == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"output": {"outputs": ["boxes", "label", "scores"]}},
            "has no output label, its outputs are labels, boxes, scores; correct output.outputs",
        ),
        ({"input": {"name": "image"}}, "correct input.name, which is image"),
        ({"input": {"sizes_input": "sizes"}}, "correct input.sizes_input, which is sizes"),
        ({"input": {"name": "orig_target_sizes", "sizes_input": "images"}}, "cannot receive sizes"),
        ({"input": {"dtype": "float16"}}, "the manifest says one float16 input [N, 3, 64, 64]"),
        ({"input": {"height": 32}}, "the manifest says one float32 input [N, 3, 32, 64]"),
        ({"input": {"layout": "nhwc"}}, "the manifest says one float32 input [N, 64, 64, 3]"),
    ],
)  # fmt: skip
def test_a_graph_with_other_inputs_or_outputs_is_refused_in_one_line(
    tmp_path: Path, change: dict[str, dict[str, Any]], expected: str
) -> None:
    export = EXPORTS["rtdetr-exporter"]
    manifest = plain_manifest(
        tmp_path,
        export.input | change.get("input", {}),
        export.output | change.get("output", {}),
        network=export.make(Options()),
    )
    with pytest.raises(ModelError) as caught:
        on_cpu(manifest)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_free_size_needs_a_graph_with_a_free_size(tmp_path: Path) -> None:
    export = EXPORTS["anchor-free"]
    manifest = manifest_of(tmp_path, export, long_side=128, stride=32)
    with pytest.raises(ModelError, match=r"set height and width"):
        on_cpu(manifest)
