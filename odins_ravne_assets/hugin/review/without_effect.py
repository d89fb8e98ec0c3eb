"""Labels of reviewers that have no effect on the visits, for `report.json` and for users.

Their box is not detected any more, their medium could not be read or is gone, or a label of the
same file contradicts them.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from resources.printable import printable

MAX_LISTED = 200  # in report.json
MAX_SHOWN = 3  # in a message
NOTHING = "nothing"

Json = dict[str, Any]

NONE_WITHOUT_EFFECT: Json = {"words_without_effect": 0, "without_effect": []}


def without_effect(unused: pl.DataFrame, media: pl.DataFrame) -> Json:
    """Return the fields `words_without_effect` and `without_effect` of `report.json`.

    `without_effect` has path (null: the medium is gone), species, reviewed_by and the number of
    labels, `words`, at most MAX_LISTED rows.

    Args:
        unused: the corrections without effect, with `review`, the row number.
        media: the result of `labelled_media`.
    """
    box = ["content_hash", "frame_number", "x", "y", "w", "h"]
    is_box = pl.col("x").is_not_null()
    # Of several labels of one box, the last is the one that is missed.
    latest = unused.filter(is_box).sort("review").unique(box, keep="last", maintain_order=True)
    words = pl.concat([unused.filter(~is_box), latest])
    listed = (
        words.join(
            media.select("content_hash", "path").unique(
                "content_hash", keep="first", maintain_order=True
            ),
            on="content_hash",
            how="left",
        )
        .with_columns(pl.col("species").fill_null(NOTHING))
        .group_by("path", "species", "reviewed_by")
        .agg(pl.len().alias("words"))
        .sort("path", "species", "reviewed_by", nulls_last=True)
        .head(MAX_LISTED)
    )
    return {"words_without_effect": words.height, "without_effect": listed.to_dicts()}


def describe_without_effect(review: Mapping[str, Any]) -> str | None:
    """Return one line for users with the first labels without effect; None if there are none.

    Args:
        review: the field `review` of `report.json`; of earlier versions, it has only the number.
    """
    number = review.get("words_without_effect", 0)
    if not number:
        return None
    rows = review.get("without_effect", [])
    named = [describe_label(row) for row in rows[:MAX_SHOWN]]
    rest = number - sum(row["words"] for row in rows[:MAX_SHOWN])
    if named and rest:
        named.append(f"and {rest:,} more")
    labels = f"{number:,} label{'s' * (number > 1)} of reviewers"
    listing = f": {'; '.join(named)}" if named else ""
    return f"{labels} without effect, because the file or the box is not in the results{listing}"


def describe_label(row: Mapping[str, Any]) -> str:
    """Return the file, the species and the reviewer of a row of `without_effect`."""
    words = f", {row['words']:,} boxes" if row["words"] > 1 else ""
    path = row["path"] or "a removed file"
    return printable(f"{path}: {row['species']} ({row['reviewed_by']}{words})")
