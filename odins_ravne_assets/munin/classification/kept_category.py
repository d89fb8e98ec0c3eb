"""Boxes that no classifier looks at: people and vehicles keep their category."""

from collections.abc import Iterator

import polars as pl

from odins_ravne_assets.munin.classification.labelled_boxes import labelled_box
from odins_ravne_assets.munin.tables.journal import Row

PERSON_NAME = "Homo sapiens"


def keep_category(boxes: pl.DataFrame, auto_ok_threshold: float) -> Iterator[Row]:
    """People and vehicles are not classified: their category is their label."""
    for row in boxes.iter_rows(named=True):
        confidence = max(row["confidence"], row["category_confidence"] or 0.0)
        name = PERSON_NAME if row["category"] == "person" else None
        sure = confidence >= auto_ok_threshold
        yield labelled_box(row, row["category"], name, confidence, sure, None)
