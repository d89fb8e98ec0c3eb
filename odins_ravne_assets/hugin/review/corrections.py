"""What reviewers say wins over the machine, and is kept with who said it and when.

Corrections lie in `tables/corrections/`, a file for each that was handed in, and are never
changed: taking a file away takes back what it said. They name media by their content and boxes by
where they are, so they outlive renamed files and another detector.

A word on a whole medium is meant for its boxes of that category, or for all if it has none: "red
fox" does not make a fox of the person beside it. Where the medium has no box at all, what it names
is added (`hugin.missed`).
"""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import (
    NAME_CODE,
    UNKNOWN_ANIMAL,
    Identifications,
    SpeciesName,
)
from odins_ravne_assets.hugin.review.missed_detections import find_missed_detections
from odins_ravne_assets.munin.tables import schemas
from resources.storage.layout import CORRECTIONS_FOLDER
from resources.storage.object_store import ObjectStore

# Least intersection over union at which a box is the one that was meant.
MIN_BOX_OVERLAP = 0.5
BOX_KEY = ["path", "frame_number", "box_number"]

Json = dict[str, Any]


@dataclass(frozen=True)
class ReviewedIdentifications:
    """Sightings with what reviewers said of them.

    Attributes:
        seen: its rows have `apply_corrections`, the row number in `corrections` of the word that holds, or
            null; `machine_name`, what the machine said there; and `counted`, how many the word says
            there were. Boxes of nothing are gone; what was seen where the machine found nothing is
            added, without frame_number and box_number.
        corrections: as `read_corrections` gives them.
        rows_rejected: boxes in which a reviewer saw nothing.
        agreement: what `report.json` tells.
    """

    seen: Identifications
    corrections: pl.DataFrame
    rows_rejected: int
    agreement: Json


def read_corrections(store: ObjectStore, stack: ExitStack) -> pl.DataFrame:
    """All that reviewers said of a camera, the latest last.

    Returns:
        Rows of `tables.CORRECTIONS`, and `handed_in`: the number of the file, in the same order.
    """
    keys = sorted(
        found.key for found in store.list(CORRECTIONS_FOLDER) if found.key.endswith(".parquet")
    )
    parts = [
        pl.read_parquet(stack.enter_context(store.reading(key))).with_columns(file=pl.lit(key))
        for key in keys
    ]
    # Files of a time before there were all columns lack some, and are kept as they are.
    said = pl.concat([_NO_CORRECTIONS, *parts], how="diagonal")
    said = said.sort("reviewed_on", maintain_order=True)
    return said.select(*schemas.CORRECTIONS, handed_in=pl.col("file").rle_id())


_NO_CORRECTIONS = pl.DataFrame(schema={**schemas.CORRECTIONS, "file": pl.String})


def apply_corrections(
    seen: Identifications, corrections: pl.DataFrame, detections: pl.LazyFrame, empty: pl.LazyFrame
) -> ReviewedIdentifications:
    """Put reviewers' words in the place of the machine's, and beside them.

    Args:
        seen: as `vote` gives them.
        corrections: as `read_corrections` gives them.
        detections: rows of `tables.DETECTIONS`.
        empty: as `missed.empty_media` gives them.
    """
    if corrections.is_empty():
        return without_corrections(seen)
    words = corrections.with_row_index("review")
    met = _match_boxes(words, detections)
    latest = met.sort("review").unique(BOX_KEY, keep="last")
    codes = [
        None if row["category"] is None else seen.names.code(_name(row))
        for row in corrections.iter_rows(named=True)
    ]
    said = words.select(
        "review", "category", counted="count", new_name=pl.Series(codes, dtype=NAME_CODE)
    )
    meant = latest.join(said, on="review").rename({"category": "new_category"})
    rows = _apply_to_rows(seen.rows, meant)
    judged = rows.filter(pl.col("review").is_not_null())
    rejected = pl.col("review").is_not_null() & pl.col("name").is_null()
    kept = rows.filter(~rejected)
    missed = find_missed_detections(words, said, empty)
    used = pl.concat([met["review"], missed.words]).n_unique()
    return ReviewedIdentifications(
        replace(seen, rows=pl.concat([kept, missed.rows], how="diagonal")),
        corrections,
        rows.height - kept.height,
        _agreement(_label_pairs(judged, seen), judged.height)
        | {
            "empty_media": missed.told(seen.names),
            "words_without_effect": words.height - used,
        },
    )


def without_corrections(seen: Identifications) -> ReviewedIdentifications:
    """Sightings of which nobody said anything yet."""
    none = {"review": pl.UInt32(), "machine_name": NAME_CODE, "counted": pl.Int32()}
    rows = seen.rows.with_columns(pl.lit(None, kind).alias(name) for name, kind in none.items())
    nothing = pl.DataFrame(schema=schemas.CORRECTIONS)
    empty = {"reviewed": 0, "missed": []}
    agreement = _agreement([], 0) | {"empty_media": empty, "words_without_effect": 0}
    return ReviewedIdentifications(replace(seen, rows=rows), nothing, 0, agreement)


def _name(row: Json) -> SpeciesName:
    return SpeciesName(row["species"] or UNKNOWN_ANIMAL, row["scientific_name"])


def _apply_to_rows(rows: pl.DataFrame, meant: pl.DataFrame) -> pl.DataFrame:
    """The rows with the words that are meant for them; one of nothing has no name."""
    told = pl.col("review").is_not_null()
    return (
        rows.join(meant, on=BOX_KEY, how="left", maintain_order="left")
        .with_columns(
            machine_name=pl.when(told).then("name"),
            name=pl.when(told).then("new_name").otherwise("name"),
            category=pl.when(told).then("new_category").otherwise("category"),
            confidence=pl.when(told).then(pl.lit(1.0, pl.Float32)).otherwise("confidence"),
            vote_share=pl.when(~told).then("vote_share"),
            relabelled=pl.col("relabelled") & ~told,
            disputed=pl.col("disputed") & ~told,
            repeat=pl.col("repeat") & ~told,
        )
        .drop("new_name", "new_category")
    )


def _match_boxes(words: pl.DataFrame, detections: pl.LazyFrame) -> pl.DataFrame:
    """The boxes that words are meant for: path, frame, box, review; a box may have several."""
    columns = ("content_hash", *BOX_KEY, "category", "x", "y", "w", "h")
    boxes = detections.select(columns).join(
        words.lazy().select("content_hash").unique(), on="content_hash", how="semi"
    )
    pairs = words.lazy().join(boxes, on="content_hash", suffix="_seen").collect()
    frame = pl.col("frame_number").is_null() | (
        pl.col("frame_number") == pl.col("frame_number_seen")
    )
    pairs = pairs.filter(frame).with_columns(overlap=_overlap())
    whole = pl.col("x").is_null()
    best = pl.col("overlap") == pl.col("overlap").max().over("review")
    of_category = pl.col("category") == pl.col("category_seen")
    fits = pl.col("category").is_null() | of_category | ~of_category.any().over("review")
    return pairs.filter(
        (whole & fits) | (~whole & best & (pl.col("overlap") >= MIN_BOX_OVERLAP))
    ).select("path", "box_number", "review", frame_number="frame_number_seen")


def _overlap() -> pl.Expr:
    """Intersection over union of x, y, w, h and those of the box that was seen."""
    sides = []
    for start, size in (("x", "w"), ("y", "h")):
        low = pl.max_horizontal(start, f"{start}_seen")
        ends = (pl.col(f"{start}{seen}") + pl.col(f"{size}{seen}") for seen in ("", "_seen"))
        sides.append((pl.min_horizontal(*ends) - low).clip(0))
    shared = sides[0] * sides[1]
    areas = pl.col("w") * pl.col("h") + pl.col("w_seen") * pl.col("h_seen")
    return shared / (areas - shared)


def _label_pairs(judged: pl.DataFrame, seen: Identifications) -> list[Json]:
    """What the machine said, what the reviewer, and of how many boxes; most first."""
    names = seen.names.table().select("name", "species")
    return (
        judged.select("name", "machine_name")
        .join(names, on="name", how="left")
        .join(names, left_on="machine_name", right_on="name", how="left", suffix="_machine")
        .select(machine="species_machine", reviewer=pl.col("species").fill_null("nothing"))
        .group_by("machine", "reviewer")
        .len("boxes")
        .sort("boxes", "machine", "reviewer", descending=[True, False, False])
        .to_dicts()
    )


def _agreement(pairs: list[Json], boxes: int) -> Json:
    agreed = sum(pair["boxes"] for pair in pairs if pair["machine"] == pair["reviewer"])
    return {
        "boxes": boxes,
        "agreed": agreed,
        "share": round(agreed / boxes, 4) if boxes else None,
        "by_species": pairs,
    }
