"""The gallery of the report: what `gallery.js` reads.

The pictures are text in the page, `PICTURES_PER_CHUNK` to a piece, in the order in which the page first shows
them. The browser makes pictures of those that are near its window, and of no others.
"""

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

PICTURES_PER_CHUNK = 100  # pictures
SECOND_FORMAT = "%Y-%m-%d %H:%M:%S"
# What the script reads of a visit. `species` and `camera` are places in lists, `picture` is the
# number of a picture, `box` is [x, y, w, h] as fractions of it.
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
    "votes_disagree": "its pictures disagree on the species",
    "repeat_detection": "the same box again and again: likely no animal",
}
REVIEWER = "reviewer"

Json = dict[str, Any]


def gallery_data(
    visits: pl.DataFrame, species: Sequence[Json], cameras: Sequence[str]
) -> Json | None:
    """The visits as the script reads them; None when there are none.

    Args:
        visits: rows of `tables.OBSERVATIONS` beside their `tables.THUMBNAILS`.
        species: what `report_values.species` returns.
        cameras: camera ids.
    """
    if visits.is_empty():
        return None
    numbers = {(row["category"], row["species"]): row["number"] for row in species}
    places = {camera: number for number, camera in enumerate(cameras)}
    picture = -1
    rows = []
    for visit in visits.select(*_OBSERVATION_FIELDS).iter_rows(named=True):
        shown = visit["box"] is not None
        picture += shown
        rows.append(
            (
                numbers[visit["category"], visit["species"]],
                places[visit["camera_id"]],
                visit["start"],
                visit["end"],
                round(visit["max_confidence"], 3),
                visit["frame_count"],
                visit["media_count"],
                visit["needs_review"],
                visit["source_video"],
                picture if shown else None,
                [round(number, 3) for number in visit["box"]] if shown else None,
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
    """What is to be known of a visit besides: who named it, or why its name is in doubt."""
    notes = [words for flag, words in FLAG_DESCRIPTIONS.items() if flag in visit["flags"]]
    if visit["label_source"] == REVIEWER:
        machine = visit["machine_species"]
        said = f"the machine: {machine}" if machine != visit["species"] else "as the machine"
        said = said if machine else "the machine found nothing"
        by = f"{visit['reviewed_by']}, {visit['reviewed_on']}"
        notes.insert(0, f"named by {by} ({said})")
    return "; ".join(notes)


def picture_chunks(visits: pl.DataFrame) -> Iterator[str]:
    """The pictures in the order of the visits, as base64, `PICTURES_PER_CHUNK` lines at a time."""
    for part in visits.select("webp").drop_nulls().iter_slices(PICTURES_PER_CHUNK):
        yield "\n".join(base64.b64encode(webp).decode() for webp in part["webp"])


_OBSERVATION_FIELDS = (
    "category",
    "species",
    "camera_id",
    pl.col("start_at").dt.strftime(SECOND_FORMAT).alias("start"),
    pl.col("end_at").dt.strftime(SECOND_FORMAT).alias("end"),
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
