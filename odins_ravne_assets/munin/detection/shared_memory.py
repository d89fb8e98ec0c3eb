"""Memory that a worker shares with its decoding processes."""

import os
import tempfile


def anonymous_file(size: int) -> int:
    """Return a descriptor of unnamed memory, so that a killed worker leaves no file behind."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("frames")
    else:
        handle, name = tempfile.mkstemp()
        os.unlink(name)  # noqa: PTH108
        descriptor = handle
    os.ftruncate(descriptor, size)
    return descriptor
