"""Return freed memory to the operating system."""

import ctypes
import gc
import sys


def release_memory() -> None:
    """Collect garbage, and return freed memory to the operating system.

    A worker holds models first and rows of tables later. glibc does not return freed memory
    unless it is asked to, so without this call the two peaks would add up.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # missing in other C libraries
        if trim:
            trim(0)
