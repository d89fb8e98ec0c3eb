"""A `DeviceEngine` that runs the network with onnxruntime on the CPU, for checks without TensorRT.

The graph is the one that TensorRT gets; the kernels fill its input and read its outputs. So
everything except TensorRT can run without it: on the device `cpu`, in tests and in
`benchmarks/gpu_checks.py --rehearse`, and on a GPU that TensorRT does not support.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from gpu_kernels.device.gpu_preprocessing import StagingBuffer
from gpu_kernels.device.streams import load_kernels, to_numpy, use_stream
from gpu_kernels.engines.batch_queue import QueuedEngine
from gpu_kernels.engines.device_graph import DeviceGraphCpuEngine
from gpu_kernels.engines.engine import Engine
from gpu_kernels.models.manifest import ModelManifest, verify
from resources.errors import EngineError

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
        self._max_batch, self._dtype = shape[0], dtype
        self._size = (0, 0)
        self.set_size(*shape[2:])
        self.references: list[Any] = []
        self.staging = StagingBuffer()
        self._launch_times = (0.0, 0.0)
        wp.synchronize_device(device)  # the zeros were written on another stream

    def set_size(self, height: int, width: int) -> None:
        """See BatchSlot."""
        if (height, width) == self._size:
            return
        self._size = (height, width)
        numbers = wp.dtype_to_numpy(self._dtype)
        examples = self._engine.run(np.zeros((1, 3, height, width), numbers))
        noise = np.random.default_rng(0).uniform(0, 255, (1, 3, height, width)).astype(numbers)
        if [each.shape for each in self._engine.run(noise)] != [each.shape for each in examples]:
            raise EngineError(
                "the network's outputs have no fixed size; export it without non-maximum "
                "suppression"
            )
        with use_stream(self.stream):
            self.input = self._zeros((3, height, width), self._dtype)
            self.outputs = [
                self._zeros(each.shape[1:], wp.dtype_from_numpy(each.dtype)) for each in examples
            ]

    def _zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return wp.zeros((self._max_batch, *shape), dtype=dtype, device=self._device)

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
        max_batch: pictures in a batch, if the graph's is free.
        on_warning: called when batches are halved.
        threads: CPU threads of onnxruntime.

        Raises:
            EngineError: the kernels cannot read the model's outputs.
            ModelError: see `open_engine`.
        """
        verify(manifest)
        load_kernels(device)
        engine = DeviceGraphCpuEngine(manifest, threads)
        dtype = wp.dtype_from_numpy(engine.dtype)
        max_batch = engine.graph_batch or max_batch
        shape = (max_batch, 3, *manifest.input.largest_size)
        slots = [
            OnnxRuntimeSlot(engine, shape, dtype, wp.get_device(device)) for _ in range(SLOT_COUNT)
        ]
        super().__init__(slots, max_batch, on_warning)
        self.device: str | None = device
        self.description = f"{engine.description}, behind {device}"
