"""The gallery of the report: the data that `gallery.js` reads.

Pictures are base64 text in the page, in chunks of `PICTURES_PER_CHUNK`, in the initial order of the
page. The browser decodes only those near its viewport.
"""

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.formats import shown_time

PICTURES_PER_CHUNK = 100
SECOND_FORMAT = "%Y-%m-%d %H:%M:%S"
# Fields of a visit. `species` and `camera` are indices of lists, `picture` is the number of a
# picture, `box` is [x, y, w, h] as fractions of it.
GALLERY_COLUMNS = (
    "species",
    "camera",
    "start",
    "end",
    "confidence",
    "frames",
    "media",
    "review",
    "path",
    "picture",
    "box",
    "note",
)

FLAG_DESCRIPTIONS = {
    "votes_disagree": "classifications disagree on the species",
    "repeat_detection": "repeat detection: probably not an animal",
}
REVIEWER = "reviewer"

Json = dict[str, Any]


def gallery_data(
    visits: pl.DataFrame, species: Sequence[Json], cameras: Sequence[str]
) -> Json | None:
    """Return the data of the gallery; None if there are no visits.

    Args:
        visits: rows of `tables.OBSERVATIONS` joined with `tables.THUMBNAILS`.
        species: the result of `species_rows`.
        cameras: camera ids.
    """
    if visits.is_empty():
        return None
    species_numbers = {(row["category"], row["species"]): row["number"] for row in species}
    camera_numbers = {camera: number for number, camera in enumerate(cameras)}
    picture = -1
    rows = []
    for visit in visits.select(*_OBSERVATION_FIELDS).iter_rows(named=True):
        has_picture = visit["box"] is not None
        picture += has_picture
        rows.append(
            (
                species_numbers[visit["category"], visit["species"]],
                camera_numbers[visit["camera_id"]],
                visit["start"],
                visit["end"],
                round(visit["max_confidence"], 3),
                visit["frame_count"],
                visit["media_count"],
                visit["needs_review"],
                visit["source_video"],
                picture if has_picture else None,
                [round(number, 3) for number in visit["box"]] if has_picture else None,
                _note(visit),
            )
        )
    return {
        "columns": GALLERY_COLUMNS,
        "chunk": PICTURES_PER_CHUNK,
        "species": [[row["species"], row["scientific_name"]] for row in species],
        "cameras": list(cameras),
        "visits": rows,
    }


def _note(visit: Json) -> str:
    """The author of a reviewed label, and descriptions of the flags."""
    notes = [text for flag, text in FLAG_DESCRIPTIONS.items() if flag in visit["flags"]]
    if visit["label_source"] == REVIEWER:
        machine = visit["machine_species"]
        label = f"machine: {machine}" if machine != visit["species"] else "machine agrees"
        label = label if machine else "missed by the machine"
        author = f"{visit['reviewed_by']}, {visit['reviewed_on']}"
        notes.insert(0, f"labelled by {author} ({label})")
    return "; ".join(notes)


def picture_chunks(visits: pl.DataFrame) -> Iterator[str]:
    """Yield chunks of pictures as base64 lines, in the order of the visits."""
    for chunk in visits.select("webp").drop_nulls().iter_slices(PICTURES_PER_CHUNK):
        yield "\n".join(base64.b64encode(webp).decode() for webp in chunk["webp"])


_OBSERVATION_FIELDS = (
    "category",
    "species",
    "camera_id",
    shown_time("start_at", "utc_offset_minutes", SECOND_FORMAT).alias("start"),
    shown_time("end_at", "end_utc_offset_minutes", SECOND_FORMAT).alias("end"),
    "max_confidence",
    "frame_count",
    "media_count",
    "needs_review",
    "source_video",
    "flags",
    "label_source",
    "machine_species",
    "reviewed_by",
    "reviewed_on",
    pl.when(pl.col("webp").is_not_null()).then(pl.concat_list("x", "y", "w", "h")).alias("box"),
)
