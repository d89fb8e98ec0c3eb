"""Engines run a model: a batch of prepared pictures in, the network's raw outputs out."""

import os
from collections.abc import Callable, Collection
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.device.gpu import find_gpu, usable_gpu
from gpu_kernels.engines.batch_queue import FillSlot, ReadSlot
from gpu_kernels.engines.engine_cache import EngineCache
from gpu_kernels.engines.onnxruntime_engine import OnnxRuntimeEngine
from gpu_kernels.engines.tensorrt_api import find_tensorrt
from gpu_kernels.engines.tensorrt_build import BatchSizes
from gpu_kernels.models.manifest import ModelManifest, verify
from resources.errors import EngineError

EngineKind = Literal["onnxruntime", "tensorrt"]
T = TypeVar("T")


class Engine(Protocol):
    """A loaded model."""

    description: str  # for logs, as "onnxruntime 1.32.0, 2 threads"
    device: str | None  # where it takes pictures, as cuda:0: see DeviceEngine; None: the host

    def run(self, images: NDArray[np.float32]) -> list[NDArray[Any]]:
        """The network's outputs, in its own order, for images [N, 3, H, W] of `to_input`."""


class DeviceEngine(Engine, Protocol):
    """An engine of a GPU, which also takes pictures that are there, and leaves its outputs there.

    One thread at a time may use it.
    """

    @property
    def busy_seconds(self) -> float:
        """In which the device computed the network."""

    def start(self, count: int, fill: FillSlot, read: ReadSlot[T]) -> Callable[[], list[T]]:
        """Start computing `count` pictures, in one batch or several.

        Args:
            fill: writes pictures into a lane's input.
            read: starts reading a lane's outputs.

        Returns:
            What waits for them, and gives what `read` gave of each batch. Of a call before this
            one it may be called later, too.

        Raises:
            EngineError: the GPU failed.
        """


class EngineFactory(Protocol):
    """What `open_engine` is, and what may stand in its place where TensorRT cannot run."""

    def __call__(
        self,
        manifest: ModelManifest,
        kind: EngineKind,
        threads: int | None,
        engines: EngineCache | None,
        batches: BatchSizes,
        shared_by: Collection[str],
    ) -> Engine: ...


def resolve_engine(
    asked: Literal["auto"] | EngineKind, on_note: Callable[[str], None]
) -> EngineKind:
    """The engine that is meant: `auto` is tensorrt where it can run, onnxruntime elsewhere.

    Args:
        asked: as in the profile.
        on_note: told why a GPU that is there is not used.
    """
    if asked != "auto":
        return asked
    if find_gpu() is None:
        return "onnxruntime"
    try:
        usable_gpu()
        find_tensorrt()
    except EngineError as error:
        on_note(f"the GPU is not used: {error}")
        return "onnxruntime"
    return "tensorrt"


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
        kind: what runs it.
        threads: CPU threads of onnxruntime; one per core when not given.
        engines: where tensorrt's built engines are kept; it needs one.
        batches: for tensorrt: how many pictures it is to take at once.
        shared_by: for tensorrt: GPUs that share one engine, as sm_86.

    Raises:
        ModelError: a file is missing or not what the manifest says, the model cannot be loaded or
            takes other pictures than the manifest says.
        EngineError: tensorrt cannot run here.
    """
    verify(manifest)
    if kind == "tensorrt":
        from gpu_kernels.engines.tensorrt_engine import open_tensorrt_engine

        assert engines is not None
        return open_tensorrt_engine(manifest, engines, batches, shared_by)
    return OnnxRuntimeEngine(manifest, threads or _available_cores())


def _available_cores() -> int:
    """Cores this process may use, which in a container can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
