"""The check of a GPU engine's answers against the CPU's, on one picture.

The GPU's engine is onnxruntime in float16 behind the kernels, on the device `cpu`; each defect
changes what its network returns.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime_device_engine
import pytest
from numpy.typing import NDArray
from onnxruntime_device_engine import OnnxRuntimeDeviceEngine

from gpu_kernels.engines.device_graph import DeviceGraphCpuEngine
from gpu_kernels.engines.engine import Engine, open_engine
from gpu_kernels.engines.engine_cache import EngineCache
from gpu_kernels.engines.engine_record import EngineRecord
from gpu_kernels.engines.tensorrt_build import BatchSizes, EngineKey
from gpu_kernels.models.manifest import ModelManifest, load_manifest, shipped_models
from odins_ravne_assets.demo.footage import read_sample
from odins_ravne_assets.munin.inference.agreement_check import checked, compare_with_cpu
from odins_ravne_assets.munin.inference.run_model import HostPicture
from resources.storage.local_store import LocalStore

DETECTOR, CLASSIFIER = "ssd-mobilenet-v2-cam16", "efficientnet-lite3"
Outputs = list[NDArray[Any]]


@pytest.fixture(scope="module")
def cat() -> HostPicture:
    return read_sample("cat", (640, 480))


def gpu_engine(manifest: ModelManifest) -> OnnxRuntimeDeviceEngine:
    return OnnxRuntimeDeviceEngine(manifest, "cpu", 2, pytest.fail, 2)


def reference(manifest: ModelManifest) -> Engine:
    return open_engine(manifest, "onnxruntime", 2)


def models() -> list[str]:
    return [name for name in shipped_models() if load_manifest(name).task != "ensemble"]


@pytest.mark.parametrize("name", models())
def test_every_shipped_model_agrees_in_float16_and_finds_something_to_compare(
    name: str, cat: HostPicture
) -> None:
    manifest = load_manifest(name)
    total, invalid = compare_with_cpu(manifest, gpu_engine(manifest), reference(manifest), cat, 2)
    assert total.within_tolerance and invalid == ""
    assert total.compared >= 12  # six passes, of two pictures


def halved(outputs: Outputs) -> Outputs:
    return [each * np.asarray(0.5, each.dtype) for each in outputs]


def not_finite(outputs: Outputs) -> Outputs:
    return [np.full_like(each, np.nan) for each in outputs]


def all_zero(outputs: Outputs) -> Outputs:
    return [np.zeros_like(each) for each in outputs]


class EverySecondBatch:
    """Zeros in every second batch, as if one of two slots read another's memory."""

    def __init__(self) -> None:
        self.batches = 0

    def __call__(self, outputs: Outputs) -> Outputs:
        self.batches += 1
        return all_zero(outputs) if self.batches % 2 else outputs


@pytest.mark.parametrize("name", [DETECTOR, CLASSIFIER])
@pytest.mark.parametrize("defect", [halved, not_finite, all_zero, EverySecondBatch()])
def test_a_gpu_with_other_answers_does_not_agree(
    monkeypatch: pytest.MonkeyPatch,
    cat: HostPicture,
    name: str,
    defect: Callable[[Outputs], Outputs],
) -> None:
    class Defective(DeviceGraphCpuEngine):
        def run(self, images: NDArray[Any]) -> Outputs:
            return defect(super().run(images))

    monkeypatch.setattr(onnxruntime_device_engine, "DeviceGraphCpuEngine", Defective)
    manifest = load_manifest(name)
    outcome = checked(manifest, gpu_engine(manifest), lambda: reference(manifest), cat, 2)
    assert not outcome.agrees
    assert outcome.summary


def test_a_model_that_finds_nothing_clear_is_compared_below_its_threshold(
    cat: HostPicture, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = load_manifest(DETECTOR)
    grey = np.full_like(cat, 90)
    grey[100:200, 100:260] = 130
    total, _ = compare_with_cpu(manifest, gpu_engine(manifest), reference(manifest), grey, 2)
    assert total.within_tolerance and total.compared

    class Defective(DeviceGraphCpuEngine):
        def run(self, images: NDArray[Any]) -> Outputs:
            return super().run(images[:, :, ::-1])

    monkeypatch.setattr(onnxruntime_device_engine, "DeviceGraphCpuEngine", Defective)
    total, _ = compare_with_cpu(manifest, gpu_engine(manifest), reference(manifest), cat, 2)
    assert not total.within_tolerance


def test_the_next_machine_knows_the_outcome_and_does_not_open_the_model_on_the_cpu(
    tmp_path: Path, cat: HostPicture
) -> None:
    manifest = load_manifest(CLASSIFIER)
    opened: list[str] = []

    def open_reference() -> Engine:
        opened.append(manifest.name)
        return reference(manifest)

    def check(picture: HostPicture) -> bool:
        engine = gpu_engine(manifest)
        key = EngineKey(manifest.sha256, "half", "tensorrt 11.4", "sm_75", BatchSizes())
        cache = EngineCache([LocalStore(tmp_path)], pytest.fail)
        engine.opened.record = EngineRecord(cache, key, "sm_75")
        agrees = checked(manifest, engine, open_reference, picture, 1).agrees
        assert engine.opened.seconds["checking engines"] > 0
        return agrees

    assert check(cat) and check(cat)
    assert len(opened) == 1
    assert check(cat[::2, ::2].copy())  # another picture: another check
    assert len(opened) == 2
