"""Thumbnails of detections, made from the crops of the journal, with people blurred.

`stage3/thumbnails.parquet` has a row of `tables.THUMBNAILS` for each observation in the same
folder. Existing thumbnails are reused, so a re-run with other settings decodes nothing and needs no
journal.

People are blurred by averaging: a body becomes `BLUR_BLOCKS` grey blocks along its longer side, and
the file has no data to restore it from. This applies to the people that a model detected, also to
those below the threshold for people (`person_confidence`), and also in thumbnails of other
detections; a person that no model detected is not blurred.
"""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import cv2
import numpy as np
import polars as pl

from gpu_kernels.preprocessing.letterbox import Picture
from odins_ravne_assets.munin.classification.stage2 import read_crop
from odins_ravne_assets.munin.tables import build, schemas
from odins_ravne_assets.munin.tables.build import BOX_KEYS, IS_POSSIBLE_PERSON
from odins_ravne_assets.munin.tables.journal import Row, Stage1Journal
from odins_ravne_assets.munin.tables.parquet_io import read_table, scan_table, writing_table
from resources.errors import DamagedFileError
from resources.storage import layout
from resources.storage.layout import THUMBNAILS_TABLE
from resources.storage.object_store import ObjectStore
from resources.storage.parquet_files import read_parquet, scan_parquet

# Pixels of the longer side, and WebP quality: 3.6 kB on average, 50 MB for a page of ten thousand.
THUMBNAIL_SIDE, WEBP_QUALITY = 192, 45
# Blocks along the longer side of a person's body; a face is smaller than one block.
BLUR_BLOCKS = 6
# Blurred margin around a person's box, as a fraction of its longer side, for hands and feet.
PERSON_MARGIN = 0.1

Region = tuple[float, float, float, float]
# The boxes of people, by content hash and frame number.
People = dict[tuple[str, int], list[Region]]


def update_thumbnails(
    source: ObjectStore,
    target: ObjectStore,
    requested: pl.DataFrame,
    people: pl.DataFrame,
    blur_people: bool,
) -> pl.DataFrame:
    """Make the requested thumbnails that do not exist yet, write the table, and return it.

    Args:
        source: a camera's output: tables, journal, and existing thumbnails.
        target: the store to which the table is written; often `source`.
        requested: one row per thumbnail: detection_id, and person, True for a person.
        people: detection_id of all detections that are people by a label or a reviewer, or that are
            probably part of one, in addition to those that the detector labelled as people.
        blur_people: see `profile.Privacy`.

    Returns:
        Rows of `tables.THUMBNAILS`, ordered by detection_id. Detections without a crop (the journal
        was deleted, or is not on this machine) are left out.

    Raises:
        StoreError: the store refuses access, or a crop is damaged.
    """
    with source.reading(layout.DETECTIONS_TABLE) as path:
        detections = scan_table(path, schemas.DETECTIONS)
        unique_requests = requested.unique("detection_id").lazy()
        boxes = detections.join(unique_requests, on="detection_id").collect(engine="streaming")
        people_boxes = _people_in_frames(detections, boxes, people)
    boxes = boxes.with_columns(blurred=_blur_keys(boxes, people_boxes if blur_people else None))
    existing = _existing_thumbnails(source)
    reused = existing.join(boxes, on=["detection_id", "person", "blurred"], how="semi")
    missing = boxes.join(reused, on="detection_id", how="anti")
    created = pl.DataFrame(
        _new_thumbnails(source, missing, people_boxes), schema=schemas.THUMBNAILS, orient="row"
    )
    thumbnails = pl.concat([reused, created]).sort("detection_id")
    if source is target and target.exists(THUMBNAILS_TABLE) and thumbnails.equals(existing):
        return thumbnails
    with writing_table(target, THUMBNAILS_TABLE) as path:
        thumbnails.write_parquet(path)
    return thumbnails


def _blur_keys(boxes: pl.DataFrame, people: People | None) -> pl.Series:
    """A hash of the people that are blurred on each thumbnail; empty if blur is off."""

    def blur_key(person: bool, content_hash: str, frame_number: int) -> str:
        if people is None:
            return ""
        blurred = (person, people.get((content_hash, frame_number), []))
        return hashlib.sha256(repr(blurred).encode()).hexdigest()[:16]

    rows = boxes.select("person", *BOX_KEYS[:2]).iter_rows()
    return pl.Series((blur_key(*row) for row in rows), dtype=pl.String)


def _existing_thumbnails(store: ObjectStore) -> pl.DataFrame:
    if store.exists(THUMBNAILS_TABLE):
        # Thumbnails of a damaged table are made again.
        with suppress(DamagedFileError), store.reading(THUMBNAILS_TABLE) as path:
            return read_table(path, schemas.THUMBNAILS)
    return schemas.THUMBNAILS.to_frame()


def _new_thumbnails(store: ObjectStore, boxes: pl.DataFrame, people: People) -> Iterator[Row]:
    if boxes.is_empty():
        return
    journal = Stage1Journal(store, build.read_origin(store, layout.DETECTIONS_TABLE).journal_key)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for part in journal.parts():
            crops = _crops(journal, part, boxes)
            regions = (people.get(tuple(row), []) for row in crops.select(BOX_KEYS[:2]).iter_rows())
            yield from threads.map(_thumbnail, crops.iter_rows(named=True), regions)


def _people_in_frames(
    detections: pl.LazyFrame, boxes: pl.DataFrame, people: pl.DataFrame
) -> People:
    """The boxes of all people, and possible people, in the frames of the given boxes."""
    frame = BOX_KEYS[:2]
    detected = IS_POSSIBLE_PERSON
    labelled = pl.col("detection_id").is_in(people["detection_id"].implode())
    found = (
        detections.filter(detected | labelled)
        .join(boxes.lazy().select(frame).unique(), on=frame, how="semi")
        .select(*frame, "x", "y", "w", "h")
        .unique()
        .sort(*frame, "x", "y", "w", "h")
        .collect(engine="streaming")
    )
    regions: People = {}
    for content_hash, number, *box in found.iter_rows():
        regions.setdefault((content_hash, number), []).append((box[0], box[1], box[2], box[3]))
    return regions


def _crops(journal: Stage1Journal, part: str, boxes: pl.DataFrame) -> pl.DataFrame:
    """The crops of the given boxes in a part of the journal, joined with their boxes."""
    with journal.reading(part, "media") as path:
        contents = read_parquet(path, columns=["content_hash"])
    matching = boxes.join(contents, on="content_hash", how="semi")
    if matching.is_empty():
        return matching
    with journal.reading(part, "crops") as path:
        crops = scan_parquet(path).join(matching.lazy(), on=BOX_KEYS, how="inner")
        return crops.sort("detection_id").collect(engine="streaming")


def _thumbnail(row: Row, people: list[Region]) -> Row:
    """A row of `tables.THUMBNAILS` for a crop joined with its box."""
    crop = _resize(read_crop(row["jpeg"]))
    region = (row["crop_x"], row["crop_y"], row["crop_w"], row["crop_h"])
    if row["blurred"] and row["person"]:
        crop = blur_person(crop, (0.0, 0.0, 1.0, 1.0), margin=0.0)
    elif row["blurred"]:
        for person in people:
            crop = blur_person(crop, _relative_box(region, person), PERSON_MARGIN)
    encoded, webp = cv2.imencode(".webp", crop, [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY])
    if not encoded:
        raise AssertionError("encoding a thumbnail as WebP failed")
    box = _relative_box(region, (row["x"], row["y"], row["w"], row["h"]))
    return {
        **{name: row[name] for name in ("detection_id", "person", "blurred")},
        **dict(zip("xywh", box, strict=True)),
        "webp": webp.tobytes(),
    }


def blur_person(picture: Picture, person: Region, margin: float) -> Picture:
    """Return the picture with a person blurred by averaging.

    Args:
        picture: uint8 BGR [h, w, 3].
        person: the box as fractions of the picture; it may exceed the picture.
        margin: blurred margin around the box, as a fraction of its longer side.
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
    """A box as fractions of a region; both arguments are fractions of the same picture."""
    x, y, w, h = region
    return ((box[0] - x) / w, (box[1] - y) / h, box[2] / w, box[3] / h)
