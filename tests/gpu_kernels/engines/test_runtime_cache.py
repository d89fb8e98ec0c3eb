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


class Compiled:
    """In place of TensorRT-RTX's IRuntimeCache, which there is on a GPU alone."""

    def __init__(self, takes: bool = True) -> None:
        self.kernels = b""
        self._takes = takes

    def deserialize(self, kernels: bytes) -> bool:
        self.kernels = kernels if self._takes else b""
        return self._takes

    def serialize(self) -> bytes:
        return self.kernels


@pytest.fixture
def key() -> EngineKey:
    return engine_key(load_manifest(DETECTOR), find_tensorrt(), "sm_75", BatchSizes())


def test_kernels_are_kept_when_they_were_compiled_and_taken_up_by_the_next_machine(
    tmp_path: Path, key: EngineKey
) -> None:
    """The first batch runs with kernels for any shape; those of its own come while it works."""
    cache, _ = a_cache(tmp_path)
    first = Compiled()
    kernels = PersistentRuntimeCache(cache, key, "sm_75", first)
    first.kernels = b"for any shape"
    kernels.batch_ended()
    assert cache.aid(key, "kernels", "sm_75") == b"for any shape"
    first.kernels = b"for any shape, and for eight pictures"
    for _ in range(99):
        kernels.batch_ended()
    assert cache.aid(key, "kernels", "sm_75") == first.kernels
    second = Compiled()
    PersistentRuntimeCache(cache, key, "sm_75", second)
    assert second.kernels == first.kernels


def test_kernels_that_are_known_are_not_written_again_and_those_not_taken_are(
    tmp_path: Path, key: EngineKey
) -> None:
    cache, _ = a_cache(tmp_path)
    cache.put_aid(key, "kernels", b"compiled before", "sm_75")
    (path,) = tmp_path.iterdir()
    written = path.stat().st_mtime_ns
    PersistentRuntimeCache(cache, key, "sm_75", Compiled()).batch_ended()
    assert path.stat().st_mtime_ns == written
    newer = Compiled(takes=False)
    kernels = PersistentRuntimeCache(cache, key, "sm_75", newer)
    newer.kernels = b"newer"
    kernels.batch_ended()
    assert cache.aid(key, "kernels", "sm_75") == b"newer"


def test_gpus_that_share_an_engine_do_not_share_its_kernels(tmp_path: Path, key: EngineKey) -> None:
    cache, _ = a_cache(tmp_path)
    cache.put_aid(key, "kernels", b"of a T4", "sm_75")
    other = Compiled()
    PersistentRuntimeCache(cache, key, "sm_89", other)
    assert other.kernels == b""
