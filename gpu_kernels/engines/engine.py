"""The interface of inference engines, and `open_engine`, which creates one for a model."""

import os
from collections.abc import Callable, Collection
from typing import Any, Literal, Protocol, TypeVar

from numpy.typing import NDArray

from gpu_kernels.engines.batch_queue import FillSlot, ReadSlot
from gpu_kernels.engines.engine_cache import EngineCache
from gpu_kernels.engines.engine_record import EngineStart
from gpu_kernels.engines.onnxruntime_engine import OnnxRuntimeEngine
from gpu_kernels.engines.tensorrt_api import TENSORRT_MODULES, TensorRtKind
from gpu_kernels.engines.tensorrt_build import BatchSizes
from gpu_kernels.models.manifest import ModelManifest, verify

EngineKind = Literal["onnxruntime"] | TensorRtKind
# The engines of a GPU, by preference.
GPU_KINDS: tuple[TensorRtKind, ...] = tuple(TENSORRT_MODULES)
T = TypeVar("T")


class Engine(Protocol):
    """A loaded model."""

    description: str  # for logs, as "onnxruntime 1.32.0, 2 threads"
    device: str | None  # of its input, as cuda:0, see DeviceEngine; None: the host
    fixed_batch: int  # pictures that the graph always computes together; 1 if it can do one

    def run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """Run the network on images of `to_input`, [N, 3, H, W].

        Returns:
            The outputs that the manifest's decoding reads, in its order. Pictures whose outputs
            differ in shape, as the number of boxes can, need a call each.

        Raises:
            ModelError: the graph fails.
        """


class DeviceEngine(Engine, Protocol):
    """An engine of a GPU, whose inputs and outputs can stay on the device.

    Not thread-safe: one thread at a time may use it.
    """

    opened: EngineStart  # what opening it took, and the record of its check

    @property
    def busy_seconds(self) -> float:
        """Time in which the device computed the network."""

    def start(self, count: int, fill: FillSlot, read: ReadSlot[T]) -> Callable[[], list[T]]:
        """Start inference on `count` pictures, in one or more batches.

        Args:
            fill: writes pictures into a slot's input.
            read: starts reading a slot's outputs.

        Returns:
            A function that waits, and returns the result of `read` for each batch. It may be
            called after later calls of `start`.

        Raises:
            EngineError: the GPU failed.
        """


class EngineFactory(Protocol):
    """The signature of `open_engine`, for replacements where TensorRT cannot run."""

    def __call__(
        self,
        manifest: ModelManifest,
        kind: EngineKind,
        threads: int | None,
        engines: EngineCache | None,
        batches: BatchSizes,
        shared_by: Collection[str],
    ) -> Engine: ...


def open_engine(
    manifest: ModelManifest,
    kind: EngineKind,
    threads: int | None = None,
    engines: EngineCache | None = None,
    batches: BatchSizes = BatchSizes(),  # noqa: B008 (a tuple)
    shared_by: Collection[str] = (),
) -> Engine:
    """Verify a model's files and load it.

    Args:
        manifest: the model.
        kind: the engine.
        threads: CPU threads of onnxruntime; one per core if None.
        engines: the cache of built engines, required on a GPU.
        batches: on a GPU, the batch sizes.
        shared_by: on a GPU, the GPUs that share one engine, as sm_86.

    Raises:
        ModelError: a file is missing or does not match the manifest, the model cannot be loaded,
            or its input differs from the manifest.
        EngineError: this kind cannot run the model on this machine.
    """
    verify(manifest)
    if kind != "onnxruntime":
        from gpu_kernels.engines.tensorrt_engine import open_tensorrt_engine

        assert engines is not None
        return open_tensorrt_engine(manifest, kind, engines, batches, shared_by)
    return OnnxRuntimeEngine(manifest, threads or _available_cores())


def _available_cores() -> int:
    """Return the cores of this process, which in a container can be fewer than the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
