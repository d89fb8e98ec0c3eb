"""Bytes of memory traffic for fitting a picture into a model's input."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.models.manifest_sections import InputSpec
from gpu_kernels.preprocessing.letterbox import placement


class Fit(NamedTuple):
    """A picture that is fitted into a model's input."""

    height: int
    width: int
    form: str  # NV12, or BGR


def source_rows(fit: Fit, spec: InputSpec) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the upper source row of each output row, and True if the row below is needed too.

    As `neighbours_of` in `gpu_kernels.device.picture_kernels`.
    """
    high = placement(fit.height, fit.width, spec).height
    scale = np.float32(fit.height) / np.float32(high)
    at = (np.arange(high, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    return np.floor(at).astype(np.int64), at > np.floor(at)


def bytes_moved(fit: Fit, spec: InputSpec) -> int:
    """Return the bytes read and written to fit a picture: complete rows, and float16 output."""
    upper, both = source_rows(fit, spec)
    rows = np.unique(np.concatenate([upper, (upper + 1)[both]]).clip(0, fit.height - 1))
    each = len(rows) * fit.width
    read = each * 3 if fit.form == "BGR" else each + len(np.unique(rows // 2)) * fit.width
    return read + 3 * spec.height * spec.width * 2
