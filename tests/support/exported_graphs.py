"""The graphs of tests/support/exported_models, with what their exporters' own code finds.

`tools/make_model_fixtures.py` makes them.
"""

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.heads.box_decoding import MIN_SHARE_INSIDE, Boxes
from gpu_kernels.models.manifest import ModelManifest, load_manifest
from gpu_kernels.preprocessing.letterbox import Picture

FOLDER = Path(__file__).parent / "exported_models"
CLASSIFIER = "speciesnet-form"
DETECTORS = sorted({path.stem for path in FOLDER.glob("*.toml")} - {CLASSIFIER})
SIDE = 64  # pixels of the pictures, which are as large as the models' inputs
THRESHOLD = 0.5


def manifest(name: str) -> ModelManifest:
    """Return the manifest that was written by hand."""
    return load_manifest(str(FOLDER / f"{name}.toml"))


@cache
def _oracle() -> dict[str, NDArray[np.float32]]:
    with np.load(FOLDER / "oracle.npz") as stored:
        return dict(stored)


def pictures() -> list[Picture]:
    """Return the pictures, uint8 BGR [SIDE, SIDE, 3]."""
    return list(_oracle()["pictures"].astype(np.uint8))


def exporters_boxes(name: str, number: int) -> NDArray[np.float32]:
    """Return the boxes that the exporter's own code finds in a picture, from THRESHOLD.

    Boxes are clipped to the picture, and those mostly outside are dropped, which exporters do not.

    Returns:
        [K, 6] x, y, w, h as fractions of the picture, score, class, sorted.
    """
    rows = _oracle()[f"{name}.{number}"]
    corners = np.clip(rows[:, :4], 0, SIDE)
    area = np.prod(rows[:, 2:4] - rows[:, :2], axis=1)
    inside = np.prod(corners[:, 2:] - corners[:, :2], axis=1) >= MIN_SHARE_INSIDE * area
    xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1) / SIDE
    return _sorted(np.concatenate([xywh, rows[:, 4:]], axis=1)[inside])


def exporters_logits(number: int) -> NDArray[np.float32]:
    """Return the classifier's logits of a picture, by PyTorch."""
    return _oracle()[f"{CLASSIFIER}.{number}"]


def as_rows(boxes: Boxes) -> NDArray[np.float32]:
    """Return boxes in the form of `exporters_boxes`."""
    columns = [boxes.xywh, boxes.confidence[:, None], boxes.class_index[:, None]]
    return _sorted(np.concatenate(columns, axis=1))


def _sorted(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    # Scores of two boxes can be equal but for rounding: sort by place.
    order = np.lexsort(rows[:, [1, 0, 3, 2, 5]].round(2).T)
    return rows[order]
