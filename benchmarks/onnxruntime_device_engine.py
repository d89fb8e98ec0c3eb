"""onnxruntime behind the form of a GPU's engine: the CPU computes the network alone.

Its input is filled by the kernels and its outputs are read by them, as those of TensorRT are; so
everything but TensorRT itself can be run where TensorRT cannot: on the device `cpu`, by the tests
and `benchmarks/gpu_checks.py --rehearse`, and on a GPU that TensorRT does not know.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from gpu_kernels.device.gpu_preprocessing import StagingBuffer
from gpu_kernels.device.streams import load_kernels, to_numpy
from gpu_kernels.engines.batch_queue import QueuedEngine
from gpu_kernels.engines.engine import Engine, open_engine
from gpu_kernels.engines.fp16 import Fp16CpuEngine
from gpu_kernels.models.manifest import ModelManifest

SLOT_COUNT = 2


class OnnxRuntimeSlot:
    """A `Lane` whose network is computed by the CPU."""

    def __init__(self, engine: Engine, shape: tuple[int, ...], dtype: Any, device: Any) -> None:
        """Args:
        shape: of the input, [most, 3, H, W].
        dtype: of the input; Warp's.
        """
        self._engine, self._device = engine, device
        self.stream = wp.Stream(device) if device.is_cuda else None
        self.input = wp.zeros(shape, dtype=dtype, device=device)
        one = engine.run(np.zeros((1, *shape[1:]), np.float32))
        self.outputs = [
            wp.zeros((shape[0], *each.shape[1:]), dtype=wp.dtype_from_numpy(each.dtype),
                     device=device)
            for each in one
        ]  # fmt: skip
        self.held: list[Any] = []
        self.staging = StagingBuffer()
        self._span = (0.0, 0.0)
        wp.synchronize_device(device)  # the zeros are of another stream

    def fill_from_host(self, images: NDArray[np.float32]) -> None:
        """See Lane."""
        given = wp.array(images, dtype=self.input.dtype, device="cpu")
        self.held.append(given)
        wp.copy(self.input, given, count=given.size, stream=self.stream)

    def launch(self, count: int) -> None:
        """See Lane. Waits for the input, and computes at once."""
        images = to_numpy(self.input[:count], self.stream)
        started = perf_counter()
        answers = self._engine.run(images)
        for output, answer in zip(self.outputs, answers, strict=True):
            given = wp.array(answer, dtype=output.dtype, device="cpu")
            self.held.append(given)
            wp.copy(output, given, count=given.size, stream=self.stream)
        self._span = (started, perf_counter())

    def wait(self) -> None:
        """See Lane."""
        if self.stream is not None:
            wp.synchronize_stream(self.stream)

    def span(self) -> tuple[float, float]:
        """See Lane."""
        return self._span


class OnnxRuntimeDeviceEngine(QueuedEngine):
    """A `DeviceEngine`. A model in half precision is computed in it, as a GPU would."""

    def __init__(
        self,
        manifest: ModelManifest,
        device: str,
        most: int,
        on_note: Callable[[str], None],
        threads: int | None = None,
    ) -> None:
        """Args:
        device: as cuda:0, or cpu.
        most: pictures in a batch.
        on_note: told that batches are halved.
        threads: CPU threads of onnxruntime, of a model that is not in half precision.

        Raises:
            ModelError: see `open_engine`.
        """
        load_kernels(device)
        engine = open_engine(manifest, "onnxruntime", threads)
        dtype = wp.float32
        if manifest.half:
            engine, dtype = Fp16CpuEngine(manifest), wp.float16
        shape = (most, 3, manifest.input.height, manifest.input.width)
        lanes = [
            OnnxRuntimeSlot(engine, shape, dtype, wp.get_device(device)) for _ in range(SLOT_COUNT)
        ]
        super().__init__(lanes, most, on_note)
        self.device: str | None = device
        self.description = f"{engine.description}, behind {device}"
