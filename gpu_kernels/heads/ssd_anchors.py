"""Anchors of SSD heads."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from gpu_kernels.heads.nms import Floats
from gpu_kernels.models.manifest import ModelManifest
from gpu_kernels.models.manifest_sections import SsdOutput
from resources.errors import ModelError


def load_anchors(manifest: ModelManifest) -> Floats:
    """Return the anchors of a detector of decoding ssd, [A, 4] y0, x0, y1, x1 normalised.

    Raises:
        ModelError: they cannot be read.
    """
    head = manifest.detector_output
    assert isinstance(head, SsdOutput)
    return _read_anchors(manifest.resolve(head.anchors))


@lru_cache(maxsize=8)
def _read_anchors(path: Path) -> Floats:
    try:
        anchors = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ModelError(f"anchors {path}: cannot be read as .npy: {error}") from None
    if anchors.ndim != 2 or anchors.shape[1] != 4:
        raise ModelError(
            f"anchors {path}: have shape {anchors.shape}; [A, 4] y0, x0, y1, x1 is needed"
        )
    return np.asarray(anchors, dtype=np.float32)
