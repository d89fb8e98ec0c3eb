"""The ONNX Runtime engine: which networks it accepts."""

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from model_files import CATEGORY_DETECTOR, copy_model, plain_manifest
from paths import ROOT
from rectangle_graphs import EXPORTS, Options

from gpu_kernels.engines.engine import open_engine
from gpu_kernels.models.manifest import ModelManifest, load_manifest
from resources.errors import ModelError

FLOAT32, FLOAT16 = 1, 10


def _field(number: int, value: bytes | int) -> bytes:
    """Encode a field of a protocol buffer message; the value is below 128 or a message."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    return bytes([number << 3 | 2, len(value)]) + value


def _identity_network(batch: int, side: int, kind: int) -> bytes:
    """Return an ONNX file that copies its input [batch, 3, side, side]; 0 is a dynamic batch."""

    def tensor(name: bytes) -> bytes:
        sizes = [_field(2, b"N") if batch == 0 else _field(1, batch)]
        sizes += [_field(1, size) for size in (3, side, side)]
        shape = b"".join(_field(1, size) for size in sizes)
        return _field(1, name) + _field(2, _field(1, _field(1, kind) + _field(2, shape)))

    node = _field(1, b"x") + _field(2, b"y") + _field(4, b"Identity")
    graph = _field(1, node) + _field(2, b"g") + _field(11, tensor(b"x")) + _field(12, tensor(b"y"))
    return _field(1, 8) + _field(7, graph) + _field(8, _field(2, 17))


def _with_network(path: Path, network: bytes) -> ModelManifest:
    """Replace the network of a manifest by one with an input of 8 x 8 pixels."""
    old = load_manifest(str(path))
    old.path.write_bytes(network)
    text = path.read_text(encoding="utf-8").replace(old.sha256, sha256(network).hexdigest())
    path.write_text(text.replace("= 640", "= 8"), encoding="utf-8")
    return load_manifest(str(path))


def test_the_description_has_version_and_threads() -> None:
    engine = open_engine(load_manifest(CATEGORY_DETECTOR), "onnxruntime", 1)
    assert engine.description.startswith("onnxruntime 1.")
    assert engine.description.endswith(", 1 thread")


def test_a_file_that_is_not_a_network_is_refused(tmp_path: Path) -> None:
    path = copy_model(tmp_path)
    manifest = _with_network(path, b"not a network")
    with pytest.raises(ModelError, match="is a text file; an ONNX file is needed") as caught:
        open_engine(manifest, "onnxruntime", 1)
    assert "\n" not in str(caught.value)


def test_a_network_with_another_input_size_is_refused(tmp_path: Path) -> None:
    path = copy_model(tmp_path, change=("height = 640", "height = 320"))
    with pytest.raises(ModelError, match=r"the manifest says one float32 input \[N, 3, 320, 640\]"):
        open_engine(load_manifest(str(path)), "onnxruntime", 1)


@pytest.mark.parametrize("batch", [0, 1, 4])
def test_a_network_with_a_dynamic_or_a_fixed_batch_runs_any_number(
    tmp_path: Path, batch: int
) -> None:
    manifest = _with_network(copy_model(tmp_path), _identity_network(batch, 8, FLOAT32))
    images = np.arange(5 * 3 * 8 * 8, dtype=np.float32).reshape(5, 3, 8, 8)
    (output,) = open_engine(manifest, "onnxruntime", 1).run(images)
    assert np.array_equal(output, images)


def test_pictures_with_different_numbers_of_boxes_need_a_run_each(tmp_path: Path) -> None:
    export = EXPORTS["mit-yolo-nms"]
    network = export.make(Options())
    manifest = plain_manifest(tmp_path, export.input, export.output, export.classes, network)
    images = np.zeros((2, 3, 64, 64), np.float32)
    images[1, :, 8:24, 8:40] = 1.0
    engine = open_engine(manifest, "onnxruntime", 1)
    with pytest.raises(ModelError, match=r"differ in shape between pictures.* run at most 1 at"):
        engine.run(images)
    assert [engine.run(images[k : k + 1])[0].shape for k in (0, 1)] == [(1, 0, 6), (1, 1, 6)]


def test_a_network_with_a_float16_input_is_refused(tmp_path: Path) -> None:
    manifest = _with_network(copy_model(tmp_path), _identity_network(0, 8, FLOAT16))
    with pytest.raises(ModelError, match="one float32 input"):
        open_engine(manifest, "onnxruntime", 1)


def test_importing_the_engine_module_imports_no_inference_library() -> None:
    code = "import gpu_kernels.engines.engine, sys; sys.exit('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("package", ["gpu_kernels", "odins_ravne_assets"])
def test_onnx_runtime_reports_nothing_to_its_vendor(package: str, tmp_path: Path) -> None:
    """With telemetry, its import stores an id of this machine in the user's cache."""
    # It sends nothing where it recognizes a CI.
    names = ("PATH", "PYTHONPATH", "SYSTEMROOT", "VIRTUAL_ENV")
    environment = {name: os.environ[name] for name in names if name in os.environ}
    code = f"import {package}, onnxruntime; onnxruntime.get_available_providers()"
    subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"HOME": str(tmp_path)},
        cwd=ROOT,
        check=True,
        timeout=60,
    )
    assert list(tmp_path.rglob("*")) == []
