"""Building TensorRT engines. TensorRT-RTX needs no GPU for it, so the builds are real."""

from pathlib import Path
from typing import Any

import pytest
from model_files import CATEGORY_DETECTOR, CLASSIFIER, DETECTOR, copy_model, plain_manifest
from rectangle_graphs import EXPORTS, Options

from gpu_kernels.engines.tensorrt_api import TensorRt, find_tensorrt
from gpu_kernels.engines.tensorrt_build import (
    ARCH_SEPARATOR,
    BatchSizes,
    EngineBuildError,
    build_engine,
    check_archs,
    engine_arch,
    engine_key,
    join_archs,
)
from gpu_kernels.models.manifest import ModelManifest, load_manifest, shipped_models
from resources.errors import EngineError, ModelError

# Without operators that TensorRT-RTX cannot build.
BUILDABLE = [name for name, export in EXPORTS.items() if not export.varies]
BUILT_FOR = ["sm_75", "sm_86", "sm_89"]  # g4dn, g5, g6


@pytest.fixture(scope="module")
def rtx() -> TensorRt:
    return find_tensorrt("tensorrt-rtx")


@pytest.mark.parametrize("arch", BUILT_FOR)
@pytest.mark.parametrize("name", shipped_models())
def test_every_shipped_model_builds_for_every_gpu_of_the_fleet(
    rtx: TensorRt, name: str, arch: str
) -> None:
    built = build_engine(load_manifest(name), rtx, arch, BatchSizes())
    assert len(built.plan) > 10_000_000
    assert not built.timing_cache


def test_one_engine_can_be_built_for_several_gpus(rtx: TensorRt) -> None:
    """For g4dn, g5 and g6; for the last two it is no larger than for one."""
    manifest = load_manifest(CATEGORY_DETECTOR)
    sizes = {
        arch: len(build_engine(manifest, rtx, arch, BatchSizes()).plan)
        for arch in ("sm_86", "sm_86+sm_89", "sm_75+sm_86+sm_89")
    }
    assert sizes["sm_86+sm_89"] < 1.1 * sizes["sm_86"]
    assert sizes["sm_75+sm_86+sm_89"] > sizes["sm_86"]


def test_gpus_that_share_an_engine_use_it_and_others_have_their_own() -> None:
    shared_by = ("sm_89", "sm_86")
    assert engine_arch("sm_86", shared_by) == engine_arch("sm_89", shared_by) == "sm_86+sm_89"
    assert engine_arch("sm_75", shared_by) == "sm_75"
    assert engine_arch("sm_75", ()) == "sm_75"
    assert join_archs(["sm_120", "sm_89", "sm_120"]) == "sm_89+sm_120"


def test_a_full_tensorrt_shares_engines_from_ampere_on() -> None:
    class Api:
        __version__ = "11.4.0"

    full = TensorRt(Api, rtx=False)
    check_archs(full, "sm_75")
    check_archs(full, "sm_86+sm_89")
    message = r"one engine for sm_75\+sm_86: .* remove sm_75 from models\.engines_shared_by"
    with pytest.raises(EngineError, match=message):
        check_archs(full, "sm_75+sm_86")


def test_a_model_with_another_input_than_its_manifest_is_refused(
    rtx: TensorRt, tmp_path: Path
) -> None:
    path = copy_model(tmp_path, CATEGORY_DETECTOR, ("height = 300", "height = 320"))
    manifest = load_manifest(str(path))
    with pytest.raises(ModelError, match=r"\[free, 3, 300, 300\] of .* \[N, 3, 320, 300\]"):
        build_engine(manifest, rtx, "sm_75", BatchSizes())


def public_export(folder: Path, name: str, options: Options, **keys: Any) -> ModelManifest:
    export = EXPORTS[name]
    fp16 = bool(keys.pop("fp16", False))
    network = export.make(options)
    return plain_manifest(folder, export.input | keys, export.output, export.classes, network, fp16)


@pytest.mark.parametrize("fp16", [False, True])
@pytest.mark.parametrize("name", BUILDABLE)
def test_every_layout_of_public_exports_builds(
    rtx: TensorRt, tmp_path: Path, name: str, fp16: bool
) -> None:
    """Also with two inputs, integer outputs, and outputs that the decoding does not read."""
    built = build_engine(
        public_export(tmp_path, name, Options(), fp16=fp16), rtx, "sm_86", BatchSizes(1, 2, 4)
    )
    assert len(built.plan) > 1000


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_an_input_of_float16_or_uint8_builds(rtx: TensorRt, tmp_path: Path, dtype: str) -> None:
    manifest = public_export(tmp_path, "end2end", Options(dtype=dtype), dtype=dtype)
    assert build_engine(manifest, rtx, "sm_86", BatchSizes(1, 2, 4)).plan


@pytest.mark.parametrize("name", ["anchor-free", "rtdetr-exporter"])
def test_a_graph_with_a_free_size_builds(rtx: TensorRt, tmp_path: Path, name: str) -> None:
    manifest = public_export(tmp_path, name, Options(size=None), long_side=128, stride=32)
    assert build_engine(manifest, rtx, "sm_86", BatchSizes(1, 2, 4)).plan


@pytest.mark.parametrize("fp16", [False, True])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("name", BUILDABLE)
def test_a_graph_with_a_fixed_batch_builds(
    rtx: TensorRt, tmp_path: Path, name: str, batch: int, fp16: bool
) -> None:
    """Also with two inputs, both of a fixed batch."""
    manifest = public_export(tmp_path, name, Options(batch=batch), fp16=fp16)
    assert build_engine(manifest, rtx, "sm_86", BatchSizes(1, 2, 8)).plan


@pytest.mark.parametrize(
    ("options", "fp16"),
    [
        (Options(), False),
        (Options(batch=1), False),
        (Options(batch=4), True),
        (Options(size=None), True),
        (Options(batch=1, size=None), False),
        (Options(dtype="float16"), False),
        (Options(dtype="uint8"), False),
        (Options(dtype="uint8", batch=1), True),
    ],
)
@pytest.mark.parametrize("name", ["end2end", "rtdetr-exporter"])
def test_a_graph_with_the_channels_last_builds(
    rtx: TensorRt, tmp_path: Path, name: str, options: Options, fp16: bool
) -> None:
    keys = {"layout": "nhwc", "dtype": options.dtype}
    if options.size is None:
        keys |= {"long_side": 128, "stride": 32}
    manifest = public_export(tmp_path, name, options._replace(layout="nhwc"), fp16=fp16, **keys)
    assert build_engine(manifest, rtx, "sm_86", BatchSizes(1, 2, 4)).plan


@pytest.mark.parametrize("name", ["torchvision", "mit-yolo-nms"])
def test_a_number_of_boxes_that_depends_on_the_picture_is_the_reason_why_a_build_fails(
    rtx: TensorRt, tmp_path: Path, name: str
) -> None:
    manifest = public_export(tmp_path, name, Options())
    message = r"^model plain: .*it has Compress, .* export it without non-maximum .* on the CPU$"
    with pytest.raises(EngineBuildError, match=message):
        build_engine(manifest, rtx, "sm_86", BatchSizes(1, 2, 4))


def test_manifests_that_use_a_graph_differently_have_their_own_engines(
    rtx: TensorRt, tmp_path: Path
) -> None:
    network = EXPORTS["end2end"].make(Options(size=None))
    changes: list[dict[str, Any]] = [
        {},
        {"height": 128, "width": 128},
        {"long_side": 64, "stride": 64},
        {"long_side": 128, "stride": 32},
        {"name": "images"},
        {"layout": "nhwc"},
    ]
    manifests = [
        plain_manifest(tmp_path, keys, EXPORTS["end2end"].output, network=network)
        for keys in changes
    ]
    keys = {engine_key(each, rtx, "sm_86", BatchSizes()).name for each in manifests}
    assert len(keys) == len(changes)


@pytest.mark.parametrize("fp16", ["true", "false"])
def test_a_file_that_is_not_a_network_is_refused(rtx: TensorRt, tmp_path: Path, fp16: str) -> None:
    change = ("fp16 = true", f"fp16 = {fp16}")
    path = copy_model(tmp_path, CATEGORY_DETECTOR, change, b"not a network")
    with pytest.raises(ModelError, match="cannot be read as ONNX") as caught:
        build_engine(load_manifest(str(path)), rtx, "sm_75", BatchSizes())
    assert "\n" not in str(caught.value)


def test_the_error_for_a_network_that_a_gpu_cannot_run_names_it(
    rtx: TensorRt, tmp_path: Path
) -> None:
    """TensorRT-RTX has a float16 matrix product on Turing, but no float32 one."""
    path = copy_model(tmp_path, CLASSIFIER, ("fp16 = true", "fp16 = false"))
    manifest = load_manifest(str(path))
    with pytest.raises(EngineError, match=r"efficientnet-lite3: tensorrt-rtx .* on the CPU$"):
        build_engine(manifest, rtx, "sm_75", BatchSizes())


def test_each_field_of_an_engine_key_changes_its_name(rtx: TensorRt) -> None:
    key = engine_key(load_manifest(DETECTOR), rtx, "sm_75", BatchSizes())
    others = [
        key._replace(model="0" * 64),
        key._replace(precision="as exported"),
        key._replace(tensorrt="tensorrt 11.4.0.106"),
        key._replace(arch="sm_86"),
        key._replace(arch="sm_75+sm_86"),
        key._replace(batches=BatchSizes(1, 4, 32)),
    ]
    names = {each.name for each in [key, *others]}
    assert len(names) == 7
    assert not any(ARCH_SEPARATOR in name for name in names)
    assert key.name.startswith("sm_75-")
