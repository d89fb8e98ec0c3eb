"""A batch slot with given outputs, and their decoding by the kernels on the device `cpu`."""

from typing import Any

import warp as wp
from numpy.typing import NDArray

from gpu_kernels.device.gpu_preprocessing import StagingBuffer
from gpu_kernels.heads.box_decoding import Boxes
from gpu_kernels.heads.gpu_box_decoding import GpuBoxDecoder
from gpu_kernels.models.manifest import ModelManifest

Outputs = list[NDArray[Any]]


class FinishedSlot:
    """A batch slot that has computed its outputs."""

    input = stream = None

    def __init__(self, outputs: Outputs) -> None:
        self.outputs = [
            wp.array(each, dtype=wp.dtype_from_numpy(each.dtype), device="cpu") for each in outputs
        ]
        self.references: list[Any] = []
        self.staging = StagingBuffer()

    def launch(self, count: int) -> None:
        raise AssertionError("its outputs are computed")

    def wait(self) -> None:
        pass

    def launch_times(self) -> tuple[float, float]:
        return 0.0, 0.0


def decode_on_device(
    outputs: Outputs, manifest: ModelManifest, sizes: list[tuple[int, int]], threshold: float
) -> list[Boxes]:
    return GpuBoxDecoder(manifest, threshold).start(FinishedSlot(outputs), sizes)()
