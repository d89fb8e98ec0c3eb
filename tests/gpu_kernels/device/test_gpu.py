"""Finding a usable GPU by its driver."""

from pathlib import Path

import pytest
from stub_libraries import gcc, make_stub

from gpu_kernels.device.gpu import Gpu, find_gpu, usable_gpu
from resources.errors import EngineError

__all__ = ["gcc"]  # pytest finds fixtures by their names


def test_a_machine_without_a_driver_has_no_gpu() -> None:
    assert find_gpu("libcuda-missing.so.1") is None
    with pytest.raises(EngineError, match=r"^no GPU: .*engine: onnxruntime to"):
        usable_gpu("libcuda-missing.so.1")


def test_a_gpu_has_the_properties_that_its_driver_reports(gcc: str, tmp_path: Path) -> None:
    driver = make_stub(gcc, "cuda_driver.c", tmp_path / "d.so", "-DGPUS=1", "-DCUDA=13000")
    assert usable_gpu(str(driver)) == Gpu("Tesla T4", "sm_75", 15 * 2**30, 13000)


def test_a_driver_without_a_gpu_gives_none(gcc: str, tmp_path: Path) -> None:
    driver = make_stub(gcc, "cuda_driver.c", tmp_path / "d.so", "-DGPUS=0", "-DCUDA=13000")
    assert find_gpu(str(driver)) is None


def test_the_error_for_an_old_driver_names_the_required_one(gcc: str, tmp_path: Path) -> None:
    driver = make_stub(gcc, "cuda_driver.c", tmp_path / "d.so", "-DGPUS=1", "-DCUDA=12040")
    with pytest.raises(EngineError, match=r"Tesla T4: .* CUDA 12\.4, 13\.0 is needed; .* 580"):
        usable_gpu(str(driver))
