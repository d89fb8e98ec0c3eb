"""A `DeviceEngine` that runs the network with onnxruntime on the CPU, for checks without TensorRT.

The kernels fill its input and read its outputs, as with TensorRT. So everything except TensorRT can
run without it: on the device `cpu`, in tests and in `benchmarks/gpu_checks.py --rehearse`, and on a
GPU that TensorRT does not support.
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
    """A `BatchSlot` whose network is computed by the CPU."""

    def __init__(self, engine: Engine, shape: tuple[int, ...], dtype: Any, device: Any) -> None:
        """Args:
        shape: of the input, [max_batch, 3, H, W].
        dtype: of the input; Warp's.
        """
        self._engine, self._device = engine, device
        self.stream = wp.Stream(device) if device.is_cuda else None
        self.input = wp.zeros(shape, dtype=dtype, device=device)
        examples = engine.run(np.zeros((1, *shape[1:]), np.float32))
        self.outputs = [
            wp.zeros((shape[0], *each.shape[1:]), dtype=wp.dtype_from_numpy(each.dtype),
                     device=device)
            for each in examples
        ]  # fmt: skip
        self.references: list[Any] = []
        self.staging = StagingBuffer()
        self._launch_times = (0.0, 0.0)
        wp.synchronize_device(device)  # the zeros were written on another stream

    def fill_from_host(self, images: NDArray[np.float32]) -> None:
        """See BatchSlot."""
        source = wp.array(images, dtype=self.input.dtype, device="cpu")
        self.references.append(source)
        wp.copy(self.input, source, count=source.size, stream=self.stream)

    def launch(self, count: int) -> None:
        """See BatchSlot. Waits for the input, and computes synchronously."""
        images = to_numpy(self.input[:count], self.stream)
        started = perf_counter()
        results = self._engine.run(images)
        for output, result in zip(self.outputs, results, strict=True):
            source = wp.array(result, dtype=output.dtype, device="cpu")
            self.references.append(source)
            wp.copy(output, source, count=source.size, stream=self.stream)
        self._launch_times = (started, perf_counter())

    def wait(self) -> None:
        """See BatchSlot."""
        if self.stream is not None:
            wp.synchronize_stream(self.stream)

    def launch_times(self) -> tuple[float, float]:
        """See BatchSlot."""
        return self._launch_times


class OnnxRuntimeDeviceEngine(QueuedEngine):
    """A `DeviceEngine`. Models with `fp16 = true` are computed in float16, as on a GPU."""

    def __init__(
        self,
        manifest: ModelManifest,
        device: str,
        max_batch: int,
        on_warning: Callable[[str], None],
        threads: int | None = None,
    ) -> None:
        """Args:
        device: as cuda:0, or cpu.
        max_batch: pictures in a batch.
        on_warning: called when batches are halved.
        threads: CPU threads of onnxruntime, for models in float32.

        Raises:
            ModelError: see `open_engine`.
        """
        load_kernels(device)
        engine = open_engine(manifest, "onnxruntime", threads)
        dtype = wp.float32
        if manifest.fp16:
            engine, dtype = Fp16CpuEngine(manifest), wp.float16
        shape = (max_batch, 3, manifest.input.height, manifest.input.width)
        slots = [
            OnnxRuntimeSlot(engine, shape, dtype, wp.get_device(device)) for _ in range(SLOT_COUNT)
        ]
        super().__init__(slots, max_batch, on_warning)
        self.device: str | None = device
        self.description = f"{engine.description}, behind {device}"
