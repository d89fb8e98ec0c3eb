"""TODO-DOC of gpu_kernels/device/streams.py."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import warp as wp
from numpy.typing import NDArray

from gpu_kernels.device.cubins import load_cubins

# Of all threads of a process: see `on_stream`.
_STREAM_LOCK = threading.RLock()


@cache
def load_kernels(device: str) -> None:
    """Have the kernels at hand: those compiled ahead of time, else compiled now and cached."""
    wp.config.log_level = wp.LOG_WARNING
    wp.init()
    load_cubins(wp.get_device(device))


@contextmanager
def use_stream(stream: Any) -> Iterator[None]:
    """What is asked of the device inside goes to `stream`, and waits for nothing of other streams.

    One thread at a time: Warp has one current stream for all of them, so a thread that crops frames
    would have another one's kernels go to its own stream, where nothing waits for them; and while a
    stream is captured as a graph no other thread may allocate.

    Args:
        stream: of Warp; None: the device's own, as on the CPU.
    """
    with _STREAM_LOCK, wp.ScopedStream(stream):
        yield


def to_numpy(array: Any, stream: Any) -> NDArray[Any]:
    """An array's values on the host, when `stream` has done what it was asked before. On the CPU
    they are the array's own, not a copy.

    Warp's `numpy` would wait for all streams: for the batch that is under way in the next lane too.
    A copy into memory that is not pinned returns when it is done.
    """
    if stream is None:
        values: NDArray[Any] = array.numpy()
        return values
    here = wp.empty(array.shape, dtype=array.dtype, device="cpu")
    wp.copy(here, array, stream=stream)
    values = here.numpy()
    return values
