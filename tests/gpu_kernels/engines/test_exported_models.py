"""Graphs of public exporters through TensorRT-RTX's compiler, which needs no GPU."""

import exported_graphs as exported
import pytest

from gpu_kernels.engines.tensorrt_api import find_tensorrt
from gpu_kernels.engines.tensorrt_build import BatchSizes, build_engine
from resources.errors import EngineError

# With what depends on the picture, or a fixed batch, these run on the CPU.
CPU_ONLY = {
    "fcos-torchvision": "NonZero plugin",
    "speciesnet-form": "dynamic batch",
    "yolo-nms-inside": "dynamic batch",
    "yolov9-mit-nms": "NonZero plugin",
}


@pytest.mark.parametrize("name", sorted(set(exported.DETECTORS) - set(CPU_ONLY)))
def test_a_graph_of_each_layout_compiles(name: str) -> None:
    built = build_engine(
        exported.manifest(name), find_tensorrt("tensorrt-rtx"), "sm_86", BatchSizes()
    )
    assert len(built.plan) > 1_000_000


@pytest.mark.parametrize("name", CPU_ONLY)
def test_a_graph_that_no_gpu_can_run_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(EngineError, match=CPU_ONLY[name]):
        build_engine(exported.manifest(name), find_tensorrt("tensorrt-rtx"), "sm_86", BatchSizes())
