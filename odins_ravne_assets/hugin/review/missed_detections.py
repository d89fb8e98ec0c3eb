"""What reviewers saw where the machine found nothing: sightings that no box stands behind.

A reviewer's file says all that is to be seen in a medium; so a later one takes back what it does
not name again. A file that is about visits (`instead_of`) only changes what these are called.
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import DETECTION_COLUMNS, SpeciesNames

Json = dict[str, Any]


@dataclass(frozen=True)
class MissedDetections:
    """What the machine had missed.

    Attributes:
        rows: of `Sightings`, with `review` and `counted`, without frame_number and box_number;
            columns that have no meaning for them are not there.
        words: the `review` of every word on a medium in which nothing was found.
        media: how many such media reviewers looked at.
    """

    rows: pl.DataFrame
    words: pl.Series
    media: int

    def told(self, names: SpeciesNames) -> Json:
        """What `report.json` tells of it."""
        species = (
            self.rows.join(names.table().select("name", "species"), on="name")
            .group_by("species")
            .len("media")
            .sort("media", "species", descending=[True, False])
        )
        return {"reviewed": self.media, "missed": species.to_dicts()}


def empty_media(media: pl.LazyFrame, processed: pl.LazyFrame) -> pl.LazyFrame:
    """The media that were looked at and in which nothing was found, once for each content.

    Columns: camera_id, path, content_hash, kind, captured_at, utc_offset_minutes.

    Args:
        media, processed: rows of the tables of these names.
    """
    dated = media.select("path", "captured_at", "utc_offset_minutes")
    return (
        processed.filter((pl.col("status") == "done") & (pl.col("boxes") == 0))
        .select("camera_id", "path", "content_hash", "kind")
        .join(dated, on="path")
    )


def find_missed_detections(
    words: pl.DataFrame, said: pl.DataFrame, empty: pl.LazyFrame
) -> MissedDetections:
    """What reviewers saw in media in which nothing was found.

    Args:
        words: as `read_corrections` gives them, with `review`, their row number.
        said: review, category, and new_name, the number of the name.
        empty: as `empty_media` gives them.
    """
    whole = pl.col("x").is_null() & pl.col("frame_number").is_null()
    columns = ("review", "content_hash", "category", "species", "count", "instead_of", "handed_in")
    about = (
        words.lazy()
        .filter(whole)
        .select(columns)
        .join(empty, on="content_hash")
        .sort("review")
        .collect()
    )
    rows = _identification_rows(
        _latest_corrections(about), about, said.select("review", name="new_name")
    )
    return MissedDetections(rows, about["review"], about["content_hash"].n_unique())


def _latest_corrections(about: pl.DataFrame) -> pl.DataFrame:
    """What holds of these words: review, and counted, which stays where a name is changed."""
    holding: dict[str, dict[str, tuple[int, int | None]]] = {}
    files: dict[str, int] = {}
    for word in about.iter_rows(named=True):
        content = word["content_hash"]
        seen = holding.setdefault(content, {})
        _, count = seen.pop(word["instead_of"], (0, None))
        if word["instead_of"] is None and files.get(content) != word["handed_in"]:
            files[content] = word["handed_in"]
            seen.clear()
        if word["category"] is not None:
            seen[word["species"]] = (word["review"], word["count"] or count)
    rows = [row for seen in holding.values() for row in seen.values()]
    return pl.DataFrame(rows, {"review": pl.UInt32, "counted": pl.Int32}, orient="row")


def _identification_rows(
    holding: pl.DataFrame, about: pl.DataFrame, names: pl.DataFrame
) -> pl.DataFrame:
    made = {
        "detection_id": pl.format("{}-reviewer", pl.col("content_hash").str.slice(0, 16)),
        "frame_number": pl.lit(None, pl.Int32),
        "box_number": pl.lit(None, pl.Int32),
        "time_offset_ms": pl.lit(0, pl.Int64),
        "confidence": pl.lit(1.0, pl.Float32),
        **dict.fromkeys(("relabelled", "disputed", "repeat"), pl.lit(False)),
    }
    return (
        holding.join(about, on="review", maintain_order="left")
        .join(names, on="review", maintain_order="left")
        .select(
            *(pl.col(name) for name in DETECTION_COLUMNS if name not in made),
            "review",
            "counted",
            "name",
            **made,
        )
    )
