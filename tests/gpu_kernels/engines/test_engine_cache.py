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
    return engine_key(load_manifest(DETECTOR), find_tensorrt(), "sm_75", BatchSizes())


def a_cache(folder: Path, *before: Path) -> tuple[EngineCache, list[str]]:
    notes: list[str] = []
    stores = [LocalStore(each) for each in (*before, folder)]
    return EngineCache(stores, notes.append), notes


def test_an_engine_that_was_kept_comes_back_whole(tmp_path: Path, key: EngineKey) -> None:
    cache, notes = a_cache(tmp_path)
    assert cache.get(key) is None
    cache.put(key, b"a\nplan")
    assert cache.get(key) == b"a\nplan"
    assert cache.get(key._replace(arch="sm_86")) is None
    assert notes == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda kept: kept[:-1],
        lambda kept: kept[:-1] + b"X",
        lambda kept: kept.replace(b'"arch": "sm_75"', b'"arch": "sm_86"'),
        lambda kept: b"",
        lambda kept: b"no head\n",
    ],
)
def test_a_damaged_engine_is_told_and_never_given(
    tmp_path: Path, key: EngineKey, damage: object
) -> None:
    cache, notes = a_cache(tmp_path)
    cache.put(key, b"a plan")
    path = tmp_path / key.name
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert cache.get(key) is None
    (note,) = notes
    assert key.name in note and "is damaged, and made anew" in note


def test_engines_of_the_image_are_found_first_and_never_written(
    tmp_path: Path, key: EngineKey
) -> None:
    image, own = tmp_path / "image", tmp_path / "own"
    a_cache(image)[0].put(key, b"of the image")
    cache, _ = a_cache(own, image)
    assert cache.get(key) == b"of the image"
    cache.put(key, b"mine")
    assert cache.get(key) == b"of the image"
    assert len(list(own.iterdir())) == 1


def test_an_engine_that_cannot_be_kept_is_told_and_stops_nothing(
    tmp_path: Path, key: EngineKey
) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache, notes = a_cache(tmp_path / "file" / "below")
    cache.put(key, b"a plan")
    (note,) = notes
    assert "the next machine builds it again" in note


def test_timings_are_shared_by_models_and_compiled_kernels_are_not(
    tmp_path: Path, key: EngineKey
) -> None:
    cache, _ = a_cache(tmp_path)
    other = key._replace(model="0" * 64)
    cache.put_aid(key, "timing", b"measured")
    cache.put_aid(key, "kernels", b"compiled")
    assert cache.aid(other, "timing") == b"measured"
    assert cache.aid(other, "kernels") == b""
    assert cache.aid(key, "kernels") == b"compiled"
