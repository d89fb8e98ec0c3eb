"""Withdrawals: a reviewer gives a medium or a box back to the models.

A withdrawal ends all corrections of earlier files: one of a medium those of the medium and its
boxes, one of a box those of the box, and those of its medium as a whole.
"""

import polars as pl

from odins_ravne_assets.hugin.review.label_placement import MIN_BOX_OVERLAP, overlap


def without_withdrawn(corrections: pl.DataFrame) -> pl.DataFrame:
    """Return the corrections that are not withdrawn, without the withdrawals, in the same order.

    Args:
        corrections: the result of `read_all_corrections`.
    """
    withdraws = pl.col("withdraws").fill_null(False)
    withdrawals = corrections.filter(withdraws)
    labels = corrections.filter(~withdraws)
    if withdrawals.is_empty():
        return labels
    key = ["content_hash", "frame_number", *"xywh", "handed_in"]
    pairs = labels.with_row_index("row").join(
        withdrawals.select(key), on="content_hash", suffix="_detected"
    )
    is_whole, of_whole = pl.col("x").is_null(), pl.col("x_detected").is_null()
    same_box = (pl.col("frame_number") == pl.col("frame_number_detected")) & (
        overlap() >= MIN_BOX_OVERLAP
    )
    ended = pairs.filter(
        (pl.col("handed_in") < pl.col("handed_in_detected"))
        & (is_whole | of_whole | same_box.fill_null(False))
    )
    rows = labels.with_row_index("row").join(ended, on="row", how="anti", maintain_order="left")
    return rows.drop("row")
