"""Gives memory back that a finished piece of work has used."""

import ctypes
import gc
import sys


def release_memory() -> None:
    """Free what nobody refers to any more, and return it to the system.

    A worker first holds the models and then, when it makes the tables, rows; without this both
    would count. glibc keeps freed memory for itself unless it is asked for it.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not in every C library
        if trim:
            trim(0)
