"""The choice of an engine."""

from pathlib import Path

import pytest
from model_files import DETECTOR

from gpu_kernels.device.gpu import find_gpu
from gpu_kernels.engines.engine import GPU_KINDS, EngineKind, open_engine
from gpu_kernels.engines.engine_cache import EngineCache
from gpu_kernels.models.manifest import load_manifest
from resources.errors import EngineError
from resources.storage.local_store import LocalStore


@pytest.mark.parametrize("kind", GPU_KINDS)
def test_tensorrt_without_a_gpu_is_refused_with_the_alternative(
    tmp_path: Path, kind: EngineKind
) -> None:
    if find_gpu() is not None:
        pytest.skip("this machine has a GPU")
    cache = EngineCache([LocalStore(tmp_path)], pytest.fail)
    with pytest.raises(EngineError, match=r"pipeline\.stage1\.engine: onnxruntime"):
        open_engine(load_manifest(DETECTOR), kind, engines=cache)
