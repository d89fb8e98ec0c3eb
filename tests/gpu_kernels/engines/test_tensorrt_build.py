"""Building TensorRT engines. TensorRT-RTX needs no GPU for it, so the builds are real."""

from pathlib import Path

import pytest
from model_files import CATEGORY_DETECTOR, CLASSIFIER, copy_model

from gpu_kernels.engines.tensorrt_api import TensorRt, find_tensorrt
from gpu_kernels.engines.tensorrt_build import (
    ARCH_SEPARATOR,
    BatchSizes,
    build_engine,
    check_archs,
    engine_arch,
    engine_key,
    join_archs,
)
from gpu_kernels.models.manifest import load_manifest, shipped_models
from resources.errors import EngineError, ModelError


BUILT_FOR = ["sm_75", "sm_86", "sm_89"]  # g4dn, g5, g6


@pytest.fixture(scope="module")
def rtx() -> TensorRt:
    return find_tensorrt()


@pytest.mark.parametrize("arch", BUILT_FOR)
@pytest.mark.parametrize("name", shipped_models())
def test_every_shipped_model_builds_for_every_gpu_of_the_fleet(
    rtx: TensorRt, name: str, arch: str
) -> None:
    built = build_engine(load_manifest(name), rtx, arch, BatchSizes())
    assert len(built.plan) > 10_000_000
    assert not built.timing_cache


def test_one_engine_serves_a_fleet_of_several_gpus(rtx: TensorRt) -> None:
    """All three of g4dn, g5 and g6; and of the last two, one that is no larger than for one."""
    manifest = load_manifest("ssd-mobilenet-v2-cam16")
    sizes = {
        arch: len(build_engine(manifest, rtx, arch, BatchSizes()).plan)
        for arch in ("sm_86", "sm_86+sm_89", "sm_75+sm_86+sm_89")
    }
    assert sizes["sm_86+sm_89"] < 1.1 * sizes["sm_86"]
    assert sizes["sm_75+sm_86+sm_89"] > sizes["sm_86"]


def test_a_gpu_that_shares_an_engine_asks_for_that_one_and_others_for_their_own() -> None:
    shared_by = ("sm_89", "sm_86")
    assert engine_arch("sm_86", shared_by) == engine_arch("sm_89", shared_by) == "sm_86+sm_89"
    assert engine_arch("sm_75", shared_by) == "sm_75"
    assert engine_arch("sm_75", ()) == "sm_75"
    assert join_archs(["sm_120", "sm_89", "sm_120"]) == "sm_89+sm_120"


def test_a_full_tensorrt_shares_engines_from_ampere_on_and_says_so() -> None:
    class Api:
        __version__ = "11.4.0"

    full = TensorRt(Api, rtx=False)
    check_archs(full, "sm_75")
    check_archs(full, "sm_86+sm_89")
    said = r"one engine for sm_75\+sm_86: .* leave sm_75 out of models\.engines_shared_by"
    with pytest.raises(EngineError, match=said):
        check_archs(full, "sm_75+sm_86")


def test_a_model_of_another_size_than_its_manifest_says_is_refused(
    rtx: TensorRt, tmp_path: Path
) -> None:
    manifest = load_manifest(str(own_model(tmp_path, ("height = 300", "height = 320"))))
    with pytest.raises(ModelError, match=r"takes \[-1, 3, 300, 300\], .* \[N, 3, 320, 300\]"):
        build_engine(manifest, rtx, "sm_75", BatchSizes())


@pytest.mark.parametrize("half", ["true", "false"])
def test_a_file_that_is_no_network_is_refused(rtx: TensorRt, tmp_path: Path, half: str) -> None:
    path = own_model(tmp_path, ("half = true", f"half = {half}"), b"no network")
    said = {"true": "cannot be read as ONNX", "false": "cannot build its engine"}[half]
    with pytest.raises((ModelError, EngineError), match=said) as caught:
        build_engine(load_manifest(str(path)), rtx, "sm_75", BatchSizes())
    assert "\n" not in str(caught.value)


def test_a_network_that_a_gpu_cannot_run_says_which_and_the_way_out(
    rtx: TensorRt, tmp_path: Path
) -> None:
    """Turing has no float32 matrix product in TensorRT-RTX; in half precision it has."""
    shipped = load_manifest("efficientnet-lite3")
    for path in shipped.files:
        shutil.copy(path, tmp_path)
    text = (shipped.path.parent / "efficientnet-lite3.toml").read_text("utf-8")
    (tmp_path / "own.toml").write_text(text.replace("half = true", "half = false"))
    manifest = load_manifest(str(tmp_path / "own.toml"))
    with pytest.raises(EngineError, match=r"efficientnet-lite3: tensorrt-rtx .* on the CPU$"):
        build_engine(manifest, rtx, "sm_75", BatchSizes())


def test_whatever_changes_an_engine_changes_its_name(key: EngineKey, rtx: TensorRt) -> None:
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
