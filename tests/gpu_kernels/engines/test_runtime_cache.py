"""The kernels that TensorRT-RTX compiles at run time are saved and loaded."""

from pathlib import Path

import pytest
from model_files import DETECTOR

from gpu_kernels.engines.engine_cache import EngineCache
from gpu_kernels.engines.runtime_cache import PersistentRuntimeCache
from gpu_kernels.engines.tensorrt_api import find_tensorrt
from gpu_kernels.engines.tensorrt_build import BatchSizes, EngineKey, engine_key
from gpu_kernels.models.manifest import load_manifest
from resources.storage.local_store import LocalStore


class RuntimeCacheStub:
    """Replaces TensorRT-RTX's IRuntimeCache, which needs a GPU."""

    def __init__(self, accepts: bool = True) -> None:
        self.kernels = b""
        self._accepts = accepts

    def deserialize(self, kernels: bytes) -> bool:
        self.kernels = kernels if self._accepts else b""
        return self._accepts

    def serialize(self) -> bytes:
        return self.kernels


@pytest.fixture
def key() -> EngineKey:
    return engine_key(load_manifest(DETECTOR), find_tensorrt("tensorrt-rtx"), "sm_75", BatchSizes())


def test_compiled_kernels_are_saved_and_loaded_by_the_next_machine(
    tmp_path: Path, key: EngineKey
) -> None:
    """The first batch uses generic kernels; specialized ones are compiled meanwhile."""
    cache = EngineCache([LocalStore(tmp_path)], pytest.fail)
    first = RuntimeCacheStub()
    kernels = PersistentRuntimeCache(cache, key, "sm_75", first)
    first.kernels = b"generic"
    kernels.on_batch_end()
    assert cache.get_artifact(key, "kernels", "sm_75") == b"generic"
    first.kernels = b"generic, and for eight pictures"
    for _ in range(99):
        kernels.on_batch_end()
    assert cache.get_artifact(key, "kernels", "sm_75") == first.kernels
    second = RuntimeCacheStub()
    PersistentRuntimeCache(cache, key, "sm_75", second)
    assert second.kernels == first.kernels


def test_unchanged_kernels_are_not_written_again_and_refused_ones_are_replaced(
    tmp_path: Path, key: EngineKey
) -> None:
    cache = EngineCache([LocalStore(tmp_path)], pytest.fail)
    cache.put_artifact(key, "kernels", b"compiled before", "sm_75")
    (path,) = tmp_path.iterdir()
    written = path.stat().st_mtime_ns
    PersistentRuntimeCache(cache, key, "sm_75", RuntimeCacheStub()).on_batch_end()
    assert path.stat().st_mtime_ns == written
    newer = RuntimeCacheStub(accepts=False)
    kernels = PersistentRuntimeCache(cache, key, "sm_75", newer)
    newer.kernels = b"newer"
    kernels.on_batch_end()
    assert cache.get_artifact(key, "kernels", "sm_75") == b"newer"


def test_gpus_that_share_an_engine_do_not_share_its_kernels(tmp_path: Path, key: EngineKey) -> None:
    cache = EngineCache([LocalStore(tmp_path)], pytest.fail)
    cache.put_artifact(key, "kernels", b"of a T4", "sm_75")
    other = RuntimeCacheStub()
    PersistentRuntimeCache(cache, key, "sm_89", other)
    assert other.kernels == b""
