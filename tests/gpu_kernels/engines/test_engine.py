"""The choice of an engine."""

from pathlib import Path

import pytest
from model_files import DETECTOR

from gpu_kernels.device.gpu import find_gpu
from gpu_kernels.engines.engine import open_engine, resolve_engine
from gpu_kernels.engines.engine_cache import EngineCache
from gpu_kernels.models.manifest import load_manifest
from resources.errors import EngineError
from resources.storage.local_store import LocalStore


def test_auto_takes_the_cpu_where_there_is_no_gpu_and_has_nothing_to_say() -> None:
    if find_gpu() is not None:
        pytest.skip("this machine has a GPU")
    notes: list[str] = []
    assert resolve_engine("auto", notes.append) == "onnxruntime"
    assert resolve_engine("tensorrt", notes.append) == "tensorrt"
    assert notes == []


def test_tensorrt_without_a_gpu_is_refused_with_the_way_out(
    tmp_path: Path, manifest: ModelManifest
) -> None:
    if find_gpu() is not None:
        pytest.skip("this machine has a GPU")
    cache, _ = a_cache(tmp_path)
    with pytest.raises(EngineError, match=r"pipeline\.stage1\.engine: onnxruntime"):
        open_engine(manifest, "tensorrt", engines=cache)
