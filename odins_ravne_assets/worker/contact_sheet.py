"""A contact sheet of a camera's best animal crops, for the Dagster UI. It never shows people.

People are those that the detector, a label or a reviewer names. Before a crop has a label it might
be of a person: it is blurred.
"""

import base64
from contextlib import ExitStack

import cv2
import numpy as np
import polars as pl

from gpu_kernels.preprocessing.letterbox import Picture
from odins_ravne_assets.hugin.privacy.people import is_labelled_person, reviewed_people
from odins_ravne_assets.hugin.report.thumbnails import blur_person
from odins_ravne_assets.hugin.review.corrections import read_corrections
from odins_ravne_assets.munin.classification.stage2 import read_crop
from odins_ravne_assets.munin.tables.build import BOX_KEYS, IS_POSSIBLE_PERSON
from odins_ravne_assets.munin.tables.journal import Stage1Journal
from odins_ravne_assets.munin.tables.parquet_io import scan_table
from odins_ravne_assets.munin.tables.schemas import CLASSIFICATIONS, DETECTIONS
from resources.storage.layout import CLASSIFICATIONS_TABLE, DETECTIONS_TABLE
from resources.storage.object_store import ObjectStore
from resources.storage.parquet_files import scan_parquet

SHEET_COLUMNS, SHEET_ROWS = 4, 2
CELL_SIDE = 144  # pixels
BACKGROUND = 40  # grey level around crops that are not square
JPEG_QUALITY = 75


def contact_sheet(store: ObjectStore, journal: Stage1Journal) -> str | None:
    """Return the crops with the highest confidence, one per medium, as a Markdown image.

    Frames with a person, or a possible one, are left out, because a crop of an animal may show
    the person too. So are media in which a reviewer named a person. Crops without a label are
    blurred.

    Returns:
        None if there are no animals.
    """
    with ExitStack() as stack:
        boxes = scan_table(stack.enter_context(store.reading(DETECTIONS_TABLE)), DETECTIONS)
        labels = _labels(store, boxes, stack)
        people = pl.concat(
            rows.select(BOX_KEYS[:2])
            for rows in (boxes.filter(IS_POSSIBLE_PERSON), labels.filter(is_labelled_person()))
        )
        media_with_people = reviewed_people(read_corrections(store, stack)).lazy()
        best = (
            boxes.filter(pl.col("category") == "animal")
            .join(people, on=BOX_KEYS[:2], how="anti")
            .join(media_with_people, on="content_hash", how="anti")
            .join(labels.select(*BOX_KEYS, labelled=True), on=BOX_KEYS, how="left")
            .sort(
                "confidence", "path", "frame_number", "box_number", descending=[True] + [False] * 3
            )
            .unique("content_hash", keep="first", maintain_order=True)
            .head(SHEET_COLUMNS * SHEET_ROWS)
            .select(*BOX_KEYS, "path", pl.col("labelled").fill_null(False))
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
    cells = [_cell(jpeg, labelled) for jpeg, labelled in crops.select("jpeg", "labelled").rows()]
    blank = np.full((CELL_SIDE, CELL_SIDE, 3), BACKGROUND, np.uint8)
    columns = min(SHEET_COLUMNS, len(cells))
    cells += [blank] * (-len(cells) % columns)
    rows = [np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)]
    _, jpeg = cv2.imencode(".jpg", np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    picture = base64.b64encode(jpeg.tobytes()).decode()
    return f"![the best crops](data:image/jpeg;base64,{picture})"


def _labels(store: ObjectStore, boxes: pl.LazyFrame, stack: ExitStack) -> pl.LazyFrame:
    """The labels of these boxes; not those of another detector, which an older table may hold."""
    if not store.exists(CLASSIFICATIONS_TABLE):
        return CLASSIFICATIONS.to_frame(eager=False)
    table = scan_parquet(stack.enter_context(store.reading(CLASSIFICATIONS_TABLE)))
    same_box = boxes.select(*BOX_KEYS, detection_confidence="confidence")
    return table.join(same_box, on=[*BOX_KEYS, "detection_confidence"], how="semi")


def _cell(jpeg: bytes, labelled: bool) -> Picture:
    crop = read_crop(jpeg)
    if not labelled:
        crop = blur_person(crop, (0.0, 0.0, 1.0, 1.0), margin=0.0)
    height, width = crop.shape[:2]
    scale = CELL_SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    cell = np.full((CELL_SIDE, CELL_SIDE, 3), BACKGROUND, np.uint8)
    top, left = (CELL_SIDE - size[1]) // 2, (CELL_SIDE - size[0]) // 2
    cell[top : top + size[1], left : left + size[0]] = small
    return cell
