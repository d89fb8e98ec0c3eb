"""Engines and kernels are built ahead of time, without a GPU."""

from pathlib import Path

import pytest
from command_line import Munin
from in_process import MuninInProcess
from model_files import CATEGORY_DETECTOR
from paths import ROOT

from gpu_kernels.ahead_of_time import FLEET_ARCHS, build_missing_engines, default_archs, parse_archs
from gpu_kernels.engines.engine_cache import EngineCache, engine_stores
from gpu_kernels.engines.tensorrt_api import find_tensorrt
from gpu_kernels.engines.tensorrt_build import BatchSizes, engine_key
from gpu_kernels.models.manifest import load_manifest
from resources.settings.loader import load_profile
from resources.storage.local_store import LocalStore


@pytest.fixture(scope="module")
def munin(tmp_path_factory: pytest.TempPathFactory) -> Munin:
    return MuninInProcess(tmp_path_factory.mktemp("munin"))


def test_the_command_builds_missing_engines_and_a_worker_finds_them(
    munin: Munin, tmp_path: Path
) -> None:
    ended = munin("models", "engines", "--arch", "sm_75", "--to", str(tmp_path), CATEGORY_DETECTOR)
    assert (ended.code, ended.errors) == (0, [])
    assert f"{CATEGORY_DETECTOR} for sm_75: built, " in ended.err
    # The lookup of a worker.
    batches = BatchSizes.around(load_profile("cloud", environ={}).pipeline.stage1.batch_size)
    key = engine_key(
        load_manifest(CATEGORY_DETECTOR), find_tensorrt("tensorrt-rtx"), "sm_75", batches
    )
    cache = EngineCache(engine_stores(LocalStore(tmp_path)), pytest.fail)
    plan = cache.get(key)
    assert plan is not None and len(plan) > 10_000_000
    log: list[str] = []
    manifest = load_manifest(CATEGORY_DETECTOR)
    build_missing_engines([manifest], ["sm_75"], batches, LocalStore(tmp_path), log.append)
    assert log == [f"{CATEGORY_DETECTOR} for sm_75: exists"]


def test_the_default_architectures_are_grouped_as_in_the_profile() -> None:
    assert default_archs(()) == "sm_75,sm_86,sm_89"
    assert default_archs(("sm_89", "sm_86")) == "sm_75,sm_86+sm_89"
    option = "sm_75, sm_89+sm_86"
    assert parse_archs(option, find_tensorrt("tensorrt-rtx")) == ["sm_75", "sm_86+sm_89"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--arch", "sm_86+sm_60", "--to", "here"], 1, "does not support GPUs sm_60"),
        (
            ["--arch", "sm_75,t4", "--to", "here"],
            2,
            "'t4' is not a GPU; use the form sm_75,sm_86+s",
        ),
        (["--arch", "", "--to", "here"], 2, "'' is not a GPU"),
        ([], 2, "--to is missing: name a folder or URL"),
    ],
)
def test_wrong_arguments_are_reported_with_the_correction(
    munin: Munin, arguments: list[str], code: int, message: str
) -> None:
    ended = munin("models", "engines", *arguments)
    assert ended.code == code
    (error,) = ended.errors
    assert message in error


def test_the_build_of_the_worker_image_includes_engines_and_kernels() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert f"RUN python -m gpu_kernels.ahead_of_time --arch {','.join(FLEET_ARCHS)}\n" in text
