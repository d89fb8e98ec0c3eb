"""The cache of built engines and of their artifacts."""

from pathlib import Path

import pytest
from model_files import DETECTOR

from gpu_kernels.engines.engine_cache import EngineCache
from gpu_kernels.engines.tensorrt_api import find_tensorrt
from gpu_kernels.engines.tensorrt_build import BatchSizes, EngineKey, engine_key
from gpu_kernels.models.manifest import load_manifest
from resources.storage.local_store import LocalStore


@pytest.fixture
def key() -> EngineKey:
    return engine_key(load_manifest(DETECTOR), find_tensorrt("tensorrt-rtx"), "sm_75", BatchSizes())


def make_cache(folder: Path, *shipped: Path) -> tuple[EngineCache, list[str]]:
    warnings: list[str] = []
    stores = [LocalStore(each) for each in (*shipped, folder)]
    return EngineCache(stores, warnings.append), warnings


def test_a_stored_engine_is_read_unchanged(tmp_path: Path, key: EngineKey) -> None:
    cache, warnings = make_cache(tmp_path)
    assert cache.get(key) is None
    cache.put(key, b"a\nplan")
    assert cache.get(key) == b"a\nplan"
    assert cache.get(key._replace(arch="sm_86")) is None
    assert warnings == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda stored: stored[:-1],
        lambda stored: stored[:-1] + b"X",
        lambda stored: stored.replace(b'"arch": "sm_75"', b'"arch": "sm_86"'),
        lambda stored: b"",
        lambda stored: b"no header\n",
    ],
)
def test_a_damaged_engine_causes_a_warning_and_is_not_used(
    tmp_path: Path, key: EngineKey, damage: object
) -> None:
    cache, warnings = make_cache(tmp_path)
    cache.put(key, b"a plan")
    path = tmp_path / key.name
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert cache.get(key) is None
    (warning,) = warnings
    assert key.name in warning and "is damaged, building it again" in warning


def test_engines_of_the_image_are_read_first_and_not_overwritten(
    tmp_path: Path, key: EngineKey
) -> None:
    image, own = tmp_path / "image", tmp_path / "own"
    make_cache(image)[0].put(key, b"of the image")
    cache, _ = make_cache(own, image)
    assert cache.get(key) == b"of the image"
    cache.put(key, b"mine")
    assert cache.get(key) == b"of the image"
    assert len(list(own.iterdir())) == 1


def test_an_engine_that_cannot_be_stored_causes_a_warning_only(
    tmp_path: Path, key: EngineKey
) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache, warnings = make_cache(tmp_path / "file" / "below")
    cache.put(key, b"a plan")
    (warning,) = warnings
    assert "the next machine builds it again" in warning


def test_models_share_timings_but_not_compiled_kernels(tmp_path: Path, key: EngineKey) -> None:
    cache, _ = make_cache(tmp_path)
    other = key._replace(model="0" * 64)
    cache.put_artifact(key, "timing", b"measured")
    cache.put_artifact(key, "kernels", b"compiled")
    assert cache.get_artifact(other, "timing") == b"measured"
    assert cache.get_artifact(other, "kernels") == b""
    assert cache.get_artifact(key, "kernels") == b"compiled"
