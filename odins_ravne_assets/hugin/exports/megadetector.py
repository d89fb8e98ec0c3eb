"""The MegaDetector batch output format, version 1.6, as Timelapse and MegaDetector's tools read it.

Source of the format: https://lila.science/megadetector-output-format and the validator in
`megadetector.postprocessing.validate_batch_results`.

- One entry per media file. A duplicate has the detections of its original; media that Stage 1 has
  not processed yet are left out.
- An entry has all detections of Stage 1, ordered by the detector's confidence, descending. A box is
  x, y, w, h: top left corner and size, as fractions of the upright picture. A detection in an
  observation of a named animal has that name as its only classification.
- The categories of detections are MegaDetector's: 1 animal, 2 person, 3 vehicle.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.exports.export_tables import ExportTables
from odins_ravne_assets.hugin.identification.identifications import UNKNOWN_ANIMAL
from odins_ravne_assets.munin.media.media_table import path_in_source
from resources.printable import escaped_json

FORMAT_VERSION = "1.6"
CATEGORIES = {"1": "animal", "2": "person", "3": "vehicle"}
CATEGORY_IDS = {name: number for number, name in CATEGORIES.items()}
# Failure messages that the format defines.
IMAGE_FAILURE = "image access failure"
VIDEO_FAILURE = "Failure processing video: "
# Readers of the format treat files with these extensions as videos, whatever their content.
VIDEO_EXTENSIONS = (".mp4", ".avi", ".mpeg", ".mpg", ".mov", ".mkv", ".flv")
MIN_BOX_SIDE = 0.0001  # of a box, after rounding
MEDIA_PER_BATCH = 5_000

Json = dict[str, Any]


# For each camera, the folder of each source by its name; None: of media without a source.
Folders = Mapping[str, Mapping[str | None, str]]


def write_megadetector_json(
    cameras: Iterable[ExportTables], path: Path, folders: Folders | None = None
) -> None:
    """Write one file for one or more cameras; memory holds one batch of media at a time.

    Args:
        cameras: at least one; `info` has the models of all, whose settings may differ.
        path: the file.
        folders: relative to which media are named; without it, by their path in the tables.
    """
    cameras = list(cameras)
    species = _species_descriptions(cameras)
    ids = {name: str(number) for number, name in enumerate(species)}
    header = {
        "info": _info(cameras),
        "detection_categories": CATEGORIES,
        "classification_categories": {number: name for name, number in ids.items()},
        "classification_category_descriptions": {
            ids[name]: description for name, description in species.items()
        },
    }
    with path.open("w", encoding="utf-8") as file:
        header_text = escaped_json(json.dumps(header, ensure_ascii=False, indent=1))
        file.write(header_text.removesuffix("\n}"))
        file.write(',\n "images": [')
        separator = "\n"
        for camera in cameras:
            prefixes = folders[camera.camera_id] if folders else None
            for image in _images(camera, prefixes, ids):
                text = json.dumps(image, ensure_ascii=False, allow_nan=False)
                file.write(separator + escaped_json(text))
                separator = ",\n"
        file.write("\n ]\n}\n")


def _info(cameras: list[ExportTables]) -> Json:
    at = f"{max(camera.labelled_at for camera in cameras):%Y-%m-%d %H:%M:%S}"

    def named(role: str) -> str:
        models = [camera.models[role] for camera in cameras if role in camera.models]
        return ", ".join(dict.fromkeys(models))

    info = {"format_version": FORMAT_VERSION, "detection_completion_time": at}
    if detector := named("detector"):
        info["detector"] = detector
    if classifier := named("classifier"):
        info |= {"classifier": classifier, "classification_completion_time": at}
    return info


def _species_descriptions(cameras: list[ExportTables]) -> dict[str, str]:
    """The ranks of each named animal, in SpeciesNet's format without its UUID."""
    named = pl.concat(
        camera.observations.filter(
            (pl.col("category") == "animal") & (pl.col("species") != UNKNOWN_ANIMAL)
        ).select("species", "scientific_name", "taxon_rank", "class", "order", "family", "genus")
        for camera in cameras
    )
    rows = named.unique("species", keep="any").sort("species").iter_rows(named=True)
    return {row["species"]: _description(row) for row in rows}


def _description(row: Json) -> str:
    scientific_name = row["scientific_name"] or ""
    epithet = (
        " ".join(scientific_name.split()[1:])
        if row["taxon_rank"] in ("species", "subspecies")
        else ""
    )
    ranks = [row["class"], row["order"], row["family"], row["genus"], epithet]
    fields = ["", *((rank or "").lower() for rank in ranks), row["species"]]
    return ";".join(field.replace(";", ",") for field in fields)


def _images(
    camera: ExportTables, folders: Mapping[str | None, str] | None, ids: dict[str, str]
) -> Iterator[Json]:
    media = (
        camera.processed.filter(pl.col("kind").is_not_null() & (pl.col("status") != "pending"))
        .select("path", "content_hash", "kind", "status", "reason")
        .join(camera.media.select("path", "source", "fps"), on="path", how="left")
        .sort("path")
        .collect(engine="streaming")
    )
    # A duplicate has the status of its original.
    # Two unreadable files may have the same content too: none.
    originals = (
        camera.processed.filter(pl.col("status") != "duplicate")
        .select("content_hash", original_status="status", original_reason="reason")
        .unique("content_hash", keep="any")
        .collect()
    )
    duplicate = pl.col("status") == "duplicate"
    media = media.join(
        originals, on="content_hash", how="left", maintain_order="left"
    ).with_columns(
        final_status=pl.when(duplicate).then("original_status").otherwise("status"),
        final_reason=pl.when(duplicate).then("original_reason").otherwise("reason"),
    )
    for batch in media.iter_slices(MEDIA_PER_BATCH):
        frames, boxes = _frames_and_boxes(camera, batch, ids)
        for row in batch.iter_rows(named=True):
            content = row["content_hash"]
            yield _image(row, folders, frames.get(content, []), boxes.get(content, []))


def _frames_and_boxes(
    camera: ExportTables, batch: pl.DataFrame, ids: dict[str, str]
) -> tuple[dict[str, list[Json]], dict[str, list[Json]]]:
    """The frames and detections of a batch of media, by content hash."""
    wanted = batch.lazy().select("content_hash").unique()
    frames = (
        camera.frames.join(wanted, on="content_hash", how="semi")
        .sort("frame_number")
        .select("content_hash", "frame_number", "time_offset_ms")
        .collect()
    )
    repeat = pl.col("flags").list.contains("repeat_detection")
    animal = (pl.col("observation_category") == "animal") & ~repeat
    named = pl.col("species").replace_strict(ids, default=None, return_dtype=pl.String)
    found = camera.boxes().join(wanted, on="content_hash", how="semi")
    missed = camera.missed_detections().join(wanted, on="content_hash", how="semi")
    boxes = (
        pl.concat([found, _missed_as_boxes(missed, frames)], how="diagonal")
        .sort("confidence", "frame_number", "box_number", descending=[True, False, False])
        .with_columns(species_id=pl.when(animal).then(named))
        .collect()
    )
    return _grouped(frames), _grouped(boxes)


def _missed_as_boxes(missed: pl.LazyFrame, frames: pl.DataFrame) -> pl.LazyFrame:
    """Missed detections as boxes of the whole first frame, because the format requires boxes."""
    first = frames.lazy().group_by("content_hash").agg(pl.col("frame_number").min())
    whole = {"x": 0, "y": 0, "w": 1, "h": 1, "confidence": 1}
    sides = {name: pl.lit(side, pl.Float32) for name, side in whole.items()}
    return missed.join(first, on="content_hash").with_columns(**sides)


def _grouped(rows: pl.DataFrame) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = {}
    for row in rows.iter_rows(named=True):
        found.setdefault(row["content_hash"], []).append(row)
    return found


def _image(
    row: Json,
    folders: Mapping[str | None, str] | None,
    frames: list[Json],
    boxes: list[Json],
) -> Json:
    name, source = row["path"], row["source"]
    video = row["kind"] == "video" or PurePosixPath(name).suffix.lower() in VIDEO_EXTENSIONS
    image: Json = {"file": name}
    if folders is not None:
        folder = folders.get(source) or f"{folders[None]}/{source}"
        image["file"] = f"{folder}/{path_in_source(name, source)}"
    if video:
        image["frame_rate"] = _frame_rate(row["fps"], frames)
        image["frames_processed"] = [frame["frame_number"] for frame in frames]
    if row["final_status"] != "done":
        reason = row["final_reason"] or "unknown"
        return image | {
            "failure": VIDEO_FAILURE + reason if video else IMAGE_FAILURE,
            "detections": None,
        }
    image["detections"] = [_detection(box, video) for box in boxes]
    return image


def _frame_rate(fps: float | None, frames: list[Json]) -> float:
    """Frames per second of the container, else from the times of the frames, else 1."""
    if fps and fps > 0:
        return round(float(fps), 3)
    last = frames[-1] if frames else None
    if last and last["time_offset_ms"] > 0 and last["frame_number"] > 0:
        return float(round(last["frame_number"] * 1000 / last["time_offset_ms"], 3))
    return 1.0


def _detection(box: Json, video: bool) -> Json:
    x, y, w, h = (round(float(box[side]), 4) for side in "xywh")
    detection: Json = {
        "category": CATEGORY_IDS[box["observation_category"] or box["category"]],
        "conf": round(float(box["confidence"]), 3),
        "bbox": [x, y, max(w, MIN_BOX_SIDE), max(h, MIN_BOX_SIDE)],
    }
    if video:
        detection["frame_number"] = box["frame_number"]
    if box["species_id"] is not None:
        confidence = round(float(box["observation_confidence"]), 3)
        detection["classifications"] = [[box["species_id"], confidence]]
    return detection
