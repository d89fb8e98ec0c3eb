"""Small pictures of detections, cut from the crops of the journal, made to be shared.

`stage3/thumbnails.parquet` has the rows of `tables.THUMBNAILS` that the observations of the same
folder ask for. What is there already is taken as it is: other windows over the same detections
cost no decoding, and need no journal.

People are blurred by averaging: a body becomes `BLUR_BLOCKS` blocks along its longer side, in grey.
What is averaged is gone; there is nothing in the file to have it back from. That holds for the
people that a model found, in whatever detection's picture they are; not for those that none did.
"""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import polars as pl

from gpu_kernels.preprocessing.letterbox import Picture
from odins_ravne_assets.munin.classification.stage2 import read_crop
from odins_ravne_assets.munin.tables import build, schemas
from odins_ravne_assets.munin.tables.build import BOX_KEYS
from odins_ravne_assets.munin.tables.journal import Row, Stage1Journal
from odins_ravne_assets.munin.tables.parquet_io import writing_table
from resources.storage import layout
from resources.storage.layout import THUMBNAILS_TABLE
from resources.storage.object_store import ObjectStore

# Pixels of the longer side, and quality of WebP: 3.6 kB on average, so that a page of ten thousand
# has 50 MB.
THUMBNAIL_SIDE, WEBP_QUALITY = 192, 45
# Of a person's body along its longer side. At this a face is less than one block.
BLUR_BLOCKS = 6
# Around a person's box, as a share of its longer side: boxes cut hands and feet off.
PERSON_MARGIN = 0.1

Region = tuple[float, float, float, float]
# The boxes of people, by content hash and frame number.
People = dict[tuple[str, int], list[Region]]


def update_thumbnails(
    source: ObjectStore,
    target: ObjectStore,
    wanted: pl.DataFrame,
    people: pl.DataFrame,
    blur_people: bool,
) -> pl.DataFrame:
    """Make the thumbnails that are wanted and not there, write the table, and return it.

    Args:
        source: a camera's output: its tables, its journal, and thumbnails made before.
        target: where the table goes; often the same.
        wanted: a row per thumbnail: detection_id, and whether it is a person.
        people: detection_id of all that are people by a label or a reviewer, wanted or not, beside
            those that the detector takes for people.
        blur_people: see `profile.Privacy`.

    Returns:
        Rows of `tables.THUMBNAILS`, by detection_id. Detections whose crop is nowhere to be found
        (the journal was deleted, or is not on this machine) are left out.

    Raises:
        StoreError: the store refuses, or a crop is damaged.
    """
    with source.reading(layout.DETECTIONS_TABLE) as path:
        detections = pl.scan_parquet(path)
        asked = wanted.unique("detection_id").lazy()
        boxes = detections.join(asked, on="detection_id").collect(engine="streaming")
        beside = _people_in_frames(detections, boxes, people)
    boxes = boxes.with_columns(blurred=_blur_keys(boxes, beside if blur_people else None))
    before = _existing_thumbnails(source)
    there = before.join(boxes, on=["detection_id", "person", "blurred"], how="semi")
    missing = boxes.join(there, on="detection_id", how="anti")
    made = pl.DataFrame(
        _new_thumbnails(source, missing, beside), schema=schemas.THUMBNAILS, orient="row"
    )
    thumbnails = pl.concat([there, made]).sort("detection_id")
    if source is target and target.exists(THUMBNAILS_TABLE) and thumbnails.equals(before):
        return thumbnails
    with writing_table(target, THUMBNAILS_TABLE) as path:
        thumbnails.write_parquet(path)
    return thumbnails


def _blur_keys(boxes: pl.DataFrame, people: People | None) -> pl.Series:
    """What is blurred on each thumbnail, as a hash; empty when nothing is to be."""

    def named(person: bool, content_hash: str, frame_number: int) -> str:
        if people is None:
            return ""
        blur_person = (person, people.get((content_hash, frame_number), []))
        return hashlib.sha256(repr(blur_person).encode()).hexdigest()[:16]

    rows = boxes.select("person", *BOX_KEYS[:2]).iter_rows()
    return pl.Series((named(*row) for row in rows), dtype=pl.String)


def _existing_thumbnails(store: ObjectStore) -> pl.DataFrame:
    if store.exists(THUMBNAILS_TABLE):
        with store.reading(THUMBNAILS_TABLE) as path:
            found = pl.read_parquet(path)
        if found.schema == schemas.THUMBNAILS:
            return found
    return schemas.THUMBNAILS.to_frame()


def _new_thumbnails(store: ObjectStore, boxes: pl.DataFrame, people: People) -> Iterator[Row]:
    if boxes.is_empty():
        return
    journal = Stage1Journal(store, build.read_origin(store, layout.DETECTIONS_TABLE).journal_key)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for part in journal.parts():
            crops = _crops(journal, part, boxes)
            beside = (people.get(tuple(row), []) for row in crops.select(BOX_KEYS[:2]).iter_rows())
            yield from threads.map(_thumbnail, crops.iter_rows(named=True), beside)


def _people_in_frames(
    detections: pl.LazyFrame, boxes: pl.DataFrame, people: pl.DataFrame
) -> People:
    """The boxes of all people in the frames of some boxes."""
    frame = BOX_KEYS[:2]
    taken_for_one = pl.col("category") == "person"
    told = pl.col("detection_id").is_in(people["detection_id"].implode())
    found = (
        detections.filter(taken_for_one | told)
        .join(boxes.lazy().select(frame).unique(), on=frame, how="semi")
        .select(*frame, "x", "y", "w", "h")
        .unique()
        .sort(*frame, "x", "y", "w", "h")
        .collect(engine="streaming")
    )
    beside: People = {}
    for content_hash, number, *box in found.iter_rows():
        beside.setdefault((content_hash, number), []).append((box[0], box[1], box[2], box[3]))
    return beside


def _crops(journal: Stage1Journal, part: str, boxes: pl.DataFrame) -> pl.DataFrame:
    """The crops of some boxes that a part of the journal has, each beside its box."""
    with journal.reading(part, "media") as path:
        here = pl.read_parquet(path, columns=["content_hash"])
    asked = boxes.join(here, on="content_hash", how="semi")
    if asked.is_empty():
        return asked
    with journal.reading(part, "crops") as path:
        crops = pl.scan_parquet(path).join(asked.lazy(), on=BOX_KEYS, how="inner")
        return crops.sort("detection_id").collect(engine="streaming")


def _thumbnail(row: Row, people: list[Region]) -> Row:
    """A row of `tables.THUMBNAILS`, of a crop beside its box."""
    crop = _resize(read_crop(row["jpeg"]))
    region = (row["crop_x"], row["crop_y"], row["crop_w"], row["crop_h"])
    if row["blurred"] and row["person"]:
        crop = blur_person(crop, (0.0, 0.0, 1.0, 1.0), margin=0.0)
    elif row["blurred"]:
        for person in people:
            crop = blur_person(crop, _relative_box(region, person), PERSON_MARGIN)
    encoded, webp = cv2.imencode(".webp", crop, [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY])
    if not encoded:
        raise AssertionError("a picture of pixels can always be encoded")
    box = _relative_box(region, (row["x"], row["y"], row["w"], row["h"]))
    return {
        **{name: row[name] for name in ("detection_id", "person", "blurred")},
        **dict(zip("xywh", box, strict=True)),
        "webp": webp.tobytes(),
    }


def blur_person(picture: Picture, person: Region, margin: float) -> Picture:
    """The picture with a person on it averaged away.

    Args:
        picture: uint8 BGR [h, w, 3].
        person: the box as fractions of the picture; it may reach over its edges.
        margin: of the blur around the box, as a share of the box's longer side.
    """
    height, width = picture.shape[:2]
    longer = max(person[2] * width, person[3] * height)
    left, top = (person[0] * width - margin * longer, person[1] * height - margin * longer)
    right, bottom = left + person[2] * width, top + person[3] * height
    x0, y0 = max(0, int(left)), max(0, int(top))
    x1, y1 = (
        min(width, int(np.ceil(right + 2 * margin * longer))),
        min(height, int(np.ceil(bottom + 2 * margin * longer))),
    )
    if x0 >= x1 or y0 >= y1:
        return picture
    block = max(longer / BLUR_BLOCKS, 1.0)
    blocks = (max(1, int((x1 - x0) / block)), max(1, int((y1 - y0) / block)))
    grey = cv2.cvtColor(picture[y0:y1, x0:x1], cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, blocks, interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    picture = picture.copy()
    picture[y0:y1, x0:x1] = large[:, :, np.newaxis]
    return picture


def _resize(crop: Picture) -> Picture:
    scale = min(1.0, THUMBNAIL_SIDE / max(crop.shape[:2]))
    size = (max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale)))
    return np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), np.uint8)


def _relative_box(region: Region, box: Region) -> Region:
    """A box as fractions of a region, both given as fractions of the same picture."""
    x, y, w, h = region
    return ((box[0] - x) / w, (box[1] - y) / h, box[2] / w, box[3] / h)
