"""Engines and kernels that are made before any GPU is there."""

from pathlib import Path

import pytest
from command_line import Munin
from paths import ROOT

from gpu_kernels.ahead_of_time import FLEET_ARCHS, build_missing_engines, default_archs, parse_archs
from gpu_kernels.engines.engine_cache import EngineCache, engine_stores
from gpu_kernels.engines.tensorrt_api import find_tensorrt
from gpu_kernels.engines.tensorrt_build import BatchSizes, engine_key
from gpu_kernels.models.manifest import load_manifest
from resources.settings.loader import load_profile
from resources.storage.local_store import LocalStore

TELLER = "ssd-mobilenet-v2-cam16"


@pytest.fixture(scope="module")
def munin(tmp_path_factory: pytest.TempPathFactory) -> Munin:
    return Munin(tmp_path_factory.mktemp("munin"))


def test_the_command_builds_what_a_worker_then_finds_and_builds_nothing_twice(
    munin: Munin, tmp_path: Path
) -> None:
    ended = munin("models", "engines", "--arch", "sm_75", "--to", str(tmp_path), TELLER)
    assert (ended.code, ended.errors) == (0, [])
    assert f"{TELLER} for sm_75: built, " in ended.err
    # As a worker of the default profile looks for it.
    batches = BatchSizes.around(load_profile("cloud", environ={}).pipeline.stage1.batch_size)
    key = engine_key(load_manifest(TELLER), find_tensorrt(), "sm_75", batches)
    cache = EngineCache(engine_stores(LocalStore(tmp_path)), pytest.fail)
    plan = cache.get(key)
    assert plan is not None and len(plan) > 10_000_000
    steps: list[str] = []
    build_missing_engines([TELLER], ["sm_75"], batches, LocalStore(tmp_path), steps.append)
    assert steps == [f"{TELLER} for sm_75: is there"]


def test_the_fleet_is_built_for_as_the_profile_joins_it() -> None:
    assert default_archs(()) == "sm_75,sm_86,sm_89"
    assert default_archs(("sm_89", "sm_86")) == "sm_75,sm_86+sm_89"
    asked = "sm_75, sm_89+sm_86"
    assert parse_archs(asked, find_tensorrt()) == ["sm_75", "sm_86+sm_89"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--arch", "sm_86+sm_60", "--to", "here"], 1, "GPUs sm_60 are not known to tensorrt-rtx"),
        (["--arch", "sm_75,t4", "--to", "here"], 2, "'t4' is no GPU; name them as sm_75,sm_86+s"),
        (["--arch", "", "--to", "here"], 2, "'' is no GPU"),
        ([], 2, "where to? name a place: --to"),
    ],
)
def test_a_wrong_use_says_what_to_do(
    munin: Munin, arguments: list[str], code: int, said: str
) -> None:
    ended = munin("models", "engines", *arguments)
    assert ended.code == code
    (error,) = ended.errors
    assert said in error


def test_the_workers_image_has_engines_and_kernels_for_the_fleet() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert f"RUN python -m gpu_kernels.ahead_of_time --arch {','.join(FLEET_ARCHS)}\n" in text
