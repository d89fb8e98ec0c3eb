"""A small picture of a camera's best animal crops, for the Dagster UI. People are never on it."""

import base64
from contextlib import ExitStack

import cv2
import numpy as np
import polars as pl

from gpu_kernels.preprocessing.letterbox import Picture
from odins_ravne_assets.munin.classification.stage2 import read_crop
from odins_ravne_assets.munin.tables.build import BOX_KEYS
from odins_ravne_assets.munin.tables.journal import Stage1Journal
from resources.storage.layout import DETECTIONS_TABLE
from resources.storage.object_store import ObjectStore

SHEET_COLUMNS, SHEET_ROWS = 4, 2
CELL = 144  # pixels
BACKGROUND = 40  # grey level around crops that are not square
QUALITY = 75


def contact_sheet(store: ObjectStore, journal: Stage1Journal) -> str | None:
    """The surest crop of each of the surest media, as a Markdown image; None without animals.

    A frame with a person in it is left out: an animal's crop shows what stands beside it too.
    """
    with ExitStack() as stack:
        boxes = pl.scan_parquet(stack.enter_context(store.reading(DETECTIONS_TABLE)))
        people = boxes.filter(pl.col("category") == "person")
        best = (
            boxes.filter(pl.col("category") == "animal")
            .join(people, on=BOX_KEYS[:2], how="anti")
            .sort(
                "confidence", "path", "frame_number", "box_number", descending=[True] + [False] * 3
            )
            .unique("content_hash", keep="first", maintain_order=True)
            .head(SHEET_COLUMNS * SHEET_ROWS)
            .select(*BOX_KEYS, "path")
            .collect(engine="streaming")
        )
        if best.is_empty():
            return None
        crops = (
            journal.scan("crops", stack)
            .filter(pl.col("content_hash").is_in(best["content_hash"].implode()))
            .collect(engine="streaming")
        )
    crops = best.join(crops, on=BOX_KEYS, how="inner", maintain_order="left")
    cells = [_cell(jpeg) for jpeg in crops["jpeg"]]
    blank = np.full((CELL, CELL, 3), BACKGROUND, np.uint8)
    columns = min(SHEET_COLUMNS, len(cells))
    cells += [blank] * (-len(cells) % columns)
    lines = [np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)]
    _, jpeg = cv2.imencode(".jpg", np.vstack(lines), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    picture = base64.b64encode(jpeg.tobytes()).decode()
    return f"![the best crops](data:image/jpeg;base64,{picture})"


def _cell(jpeg: bytes) -> Picture:
    crop = read_crop(jpeg)
    height, width = crop.shape[:2]
    scale = CELL / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    cell = np.full((CELL, CELL, 3), BACKGROUND, np.uint8)
    top, left = (CELL - size[1]) // 2, (CELL - size[0]) // 2
    cell[top : top + size[1], left : left + size[0]] = small
    return cell
