"""Corrections: labels of reviewers, which override the machine's, stored with author and date.

Corrections are stored in `tables/corrections/`, one file for each review file that was imported,
and never change; deleting a file withdraws its corrections. They refer to media by content hash and
to boxes by position, so they survive renamed files and another detector.

A correction of a whole medium applies to its detections of that category, or to all if it has none:
"red fox" does not turn the person in the same picture into a fox. In a medium without detections,
or if other labels have all its boxes, it adds one (`missed_detections`). Boxes in a camera's strip
get it only if the medium has no others.
"""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import (
    BOX_KEY,
    CATEGORY_NAMES,
    NAME_CODE,
    UNKNOWN_ANIMAL,
    Identifications,
    SpeciesName,
)
from odins_ravne_assets.hugin.review.label_placement import place_labels
from odins_ravne_assets.hugin.review.missed_detections import (
    find_missed_detections,
    labels_in_effect,
)
from odins_ravne_assets.hugin.review.staff import STAFF_LABELS
from odins_ravne_assets.hugin.review.withdrawals import without_withdrawn
from odins_ravne_assets.hugin.review.without_effect import NONE_WITHOUT_EFFECT, without_effect
from odins_ravne_assets.munin.tables import schemas
from resources.errors import DamagedFileError, StoreError
from resources.storage.layout import CORRECTIONS_FOLDER
from resources.storage.object_store import ObjectStore
from resources.storage.parquet_files import read_known_columns

Json = dict[str, Any]

# A label without one of these says nothing; files of earlier versions lack some of the others.
REQUIRED_COLUMNS = frozenset({"content_hash", "category", "species", "reviewed_by", "reviewed_on"})
OPTIONAL_COLUMNS = frozenset(schemas.CORRECTIONS) - REQUIRED_COLUMNS


@dataclass(frozen=True)
class ReviewedIdentifications:
    """Identifications after corrections.

    Attributes:
        identified: its rows have `review`, the row number in `corrections` of the correction in
            effect, or null; `machine_name`, the name before the correction; and `counted`, the
            reviewer's count. Rejected detections are removed; missed detections are added, without
            frame_number and box_number.
        corrections: the result of `read_corrections`.
        rows_rejected: detections that a reviewer labelled as empty.
        agreement: the field `review` of `report.json`.
    """

    identified: Identifications
    corrections: pl.DataFrame
    rows_rejected: int
    agreement: Json


def read_corrections(store: ObjectStore, stack: ExitStack) -> pl.DataFrame:
    """Read the corrections of a camera that are not withdrawn, the latest last.

    Returns:
        Rows of `tables.CORRECTIONS`, and `handed_in`: the number of the file, in the same order.
    """
    return without_withdrawn(read_all_corrections(store, stack))


def read_all_corrections(store: ObjectStore, stack: ExitStack) -> pl.DataFrame:
    """Read all corrections of a camera, as `read_corrections` does, and withdrawals.

    Raises:
        StoreError: a file is damaged; it is named.
    """
    keys = sorted(
        found.key for found in store.list(CORRECTIONS_FOLDER) if found.key.endswith(".parquet")
    )
    parts = [
        _read_file(store, key, stack.enter_context(store.reading(key))).with_columns(
            file=pl.lit(key)
        )
        for key in keys
    ]
    corrections = pl.concat([NO_CORRECTIONS, *parts])
    corrections = corrections.sort("reviewed_on", maintain_order=True)
    return corrections.select(*schemas.CORRECTIONS, handed_in=pl.col("file").rle_id())


def _read_file(store: ObjectStore, key: str, path: Path) -> pl.DataFrame:
    """Read a file of corrections. It is not left out: the machine's labels would come back."""
    try:
        return read_known_columns(path, schemas.CORRECTIONS, OPTIONAL_COLUMNS)
    except DamagedFileError as error:
        raise StoreError(
            f"{store.url}/{key}: is damaged or of another version ({error.reason}); take it from a "
            "backup, or delete it and import its review file again with munin correct"
        ) from None


NO_CORRECTIONS = pl.DataFrame(schema={**schemas.CORRECTIONS, "file": pl.String})


def apply_corrections(
    identified: Identifications,
    corrections: pl.DataFrame,
    detections: pl.LazyFrame,
    media: pl.DataFrame,
) -> ReviewedIdentifications:
    """Replace the machine's labels by those of reviewers, and add missed detections.

    Args:
        identified: the result of `vote_by_sequence`.
        corrections: the result of `read_corrections`.
        detections: rows of `tables.DETECTIONS`.
        media: the result of `labelled_media`.
    """
    if corrections.is_empty():
        return without_corrections(identified)
    codes = [
        None if row["category"] is None else identified.names.code(_species_name(row))
        for row in corrections.iter_rows(named=True)
    ]
    numbered = corrections.with_row_index("review").with_columns(
        new_name=pl.Series(codes, dtype=NAME_CODE)
    )
    whole = labels_in_effect(numbered)
    boxes = numbered.filter(pl.col("x").is_not_null()).with_columns(counted="count")
    in_effect = pl.concat([whole, boxes], how="diagonal")
    placed = place_labels(in_effect, detections, identified.rows)
    missed = find_missed_detections(whole, media, placed.without_box)
    new_labels = placed.boxes.join(
        in_effect.select("review", "counted", "new_name", new_category="category"), on="review"
    )
    rows = _apply_to_rows(identified.rows, new_labels)
    reviewed = rows.filter(pl.col("review").is_not_null())
    rejected = pl.col("review").is_not_null() & pl.col("name").is_null()
    accepted = rows.filter(~rejected)
    used = pl.concat(
        [placed.boxes["review"], placed.replaced, missed.rows["review"], missed.confirmed_empty]
    )
    unused = in_effect.filter(~pl.col("review").is_in(used.implode()))
    return ReviewedIdentifications(
        replace(identified, rows=pl.concat([accepted, missed.rows], how="diagonal")),
        corrections,
        rows.height - accepted.height,
        _agreement(_label_pairs(reviewed, identified), reviewed.height)
        | {"empty_media": missed.summary(identified.names)}
        | without_effect(unused, media),
    )


def without_corrections(identified: Identifications) -> ReviewedIdentifications:
    """Return the identifications of a camera that has no corrections."""
    columns = {"review": pl.UInt32(), "machine_name": NAME_CODE, "counted": pl.Int32()}
    rows = identified.rows.with_columns(
        pl.lit(None, kind).alias(name) for name, kind in columns.items()
    )
    no_corrections = pl.DataFrame(schema=schemas.CORRECTIONS)
    empty = {"reviewed": 0, "missed": []}
    agreement = _agreement([], 0) | {"empty_media": empty, **NONE_WITHOUT_EFFECT}
    return ReviewedIdentifications(replace(identified, rows=rows), no_corrections, 0, agreement)


def _species_name(row: Json) -> SpeciesName:
    return SpeciesName(row["species"] or UNKNOWN_ANIMAL, row["scientific_name"])


def _apply_to_rows(rows: pl.DataFrame, new_labels: pl.DataFrame) -> pl.DataFrame:
    """The rows with their corrections; the name of a rejected detection is null."""
    corrected = pl.col("review").is_not_null()
    return (
        rows.join(new_labels, on=BOX_KEY, how="left", maintain_order="left")
        .with_columns(
            machine_name=pl.when(corrected).then("name"),
            name=pl.when(corrected).then("new_name").otherwise("name"),
            category=pl.when(corrected).then("new_category").otherwise("category"),
            confidence=pl.when(corrected).then(pl.lit(1.0, pl.Float32)).otherwise("confidence"),
            vote_share=pl.when(~corrected).then("vote_share"),
            relabelled=pl.col("relabelled") & ~corrected,
            disputed=pl.col("disputed") & ~corrected,
            repeat=pl.col("repeat") & ~corrected,
            left_out=pl.when(~corrected).then("left_out"),
        )
        .drop("new_name", "new_category")
    )


def _label_pairs(reviewed: pl.DataFrame, identified: Identifications) -> list[Json]:
    """Pairs of the machine's and the reviewer's label with their boxes, most frequent first."""
    names = identified.names.table().select("name", "species")
    return (
        reviewed.select("name", "machine_name")
        .join(names, on="name", how="left")
        .join(names, left_on="machine_name", right_on="name", how="left", suffix="_machine")
        .select(
            machine="species_machine",
            # The models can only name a person.
            reviewer=pl.col("species")
            .replace(dict.fromkeys(STAFF_LABELS, CATEGORY_NAMES["person"].species))
            .fill_null("nothing"),
        )
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
