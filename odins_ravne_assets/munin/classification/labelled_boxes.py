"""Labelled boxes: rows of `schemas.LABELLED_BOXES`, from a classifier or from predictions."""

from collections.abc import Iterator, Sequence

import polars as pl

from odins_ravne_assets.munin.tables.journal import Row

PERSON_NAME = "Homo sapiens"


def labelled_box(
    box: Row,
    label: str,
    scientific_name: str | None,
    confidence: float,
    auto_ok: bool,
    top5: Sequence[Row] | None,
) -> Row:
    """Return a row of `schemas.LABELLED_BOXES`.

    Args:
        box: a row of `schemas.FOUND_BOXES`.
        confidence: of the label, 0 to 1.
        auto_ok: True if the label needs no review.
        top5: see `ranked_label`, best first; None: the box was not classified.
    """
    return {
        "content_hash": box["content_hash"],
        "frame_number": box["frame_number"],
        "box_number": box["box_number"],
        "label": label,
        "scientific_name": scientific_name,
        "confidence": confidence,
        "auto_ok": auto_ok,
        "top5": top5,
    }


def ranked_label(label: str, scientific_name: str | None, confidence: float) -> Row:
    """Return an entry of `top5`."""
    return {"label": label, "scientific_name": scientific_name, "confidence": confidence}


def label_by_category(boxes: pl.DataFrame, auto_ok_threshold: float) -> Iterator[Row]:
    """Yield the rows of people and vehicles, whose category is their label."""
    for row in boxes.iter_rows(named=True):
        confidence = max(row["confidence"], row["category_confidence"] or 0.0)
        name = PERSON_NAME if row["category"] == "person" else None
        auto_ok = confidence >= auto_ok_threshold
        yield labelled_box(row, row["category"], name, confidence, auto_ok, None)
