"""Streams of a device: launch on a chosen stream, and copy its results to the host."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import warp as wp
from numpy.typing import NDArray

from gpu_kernels.device.cubins import load_cubins

# One for all threads of the process: see `use_stream`.
_STREAM_LOCK = threading.RLock()


@cache
def load_kernels(device: str) -> None:
    """Load the kernels compiled ahead of time; without them Warp compiles and caches on use."""
    wp.config.log_level = wp.LOG_WARNING
    wp.init()
    load_cubins(wp.get_device(device))


@contextmanager
def use_stream(stream: Any) -> Iterator[None]:
    """Make `stream` the current stream, on which work inside the context is launched.

    One thread at a time: Warp's current stream is shared by all threads, so a thread that crops
    frames would redirect the kernels of another thread to its own stream, without
    synchronization. Also, while a stream is captured as a graph no other thread may allocate.

    Args:
        stream: a Warp stream; None for the device's default, as on the CPU.
    """
    with _STREAM_LOCK, wp.ScopedStream(stream):
        yield


def to_numpy(array: Any, stream: Any) -> NDArray[Any]:
    """Return an array's values on the host, after the earlier work of `stream`.

    On the CPU they share the array's memory. Warp's `numpy` would synchronize all streams, also
    those of other batches. A copy into memory that is not pinned is complete on return.
    """
    if stream is None:
        values: NDArray[Any] = array.numpy()
        return values
    host = wp.empty(array.shape, dtype=array.dtype, device="cpu")
    wp.copy(host, array, stream=stream)
    values = host.numpy()
    return values
