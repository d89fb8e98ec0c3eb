"""Apply `min_confidence`, the threshold for names of animals, after the vote of a sequence.

- A name counts in a sequence if one of its detections has it with at least `min_confidence`. Then
  it counts for all of them: one clear picture of a fox names the blurred ones around it.
- An animal whose name does not count becomes an "unknown animal", with the detector's confidence:
  what the detector found is shown.
- If exactly one name counts in a sequence, it names the unknown animals of the sequence too, so
  that one animal is not one visit with a name and another one without.

People, vehicles and repeat detections are left to `compress`, which leaves out those below
`min_confidence`.
"""

from dataclasses import replace

import numpy as np
import polars as pl

from odins_ravne_assets.hugin.identification.identifications import (
    NAME_CODE,
    UNKNOWN_NAME,
    Identifications,
)
from resources.settings.profile import Stage3

NAME_BITS = 32


def apply_name_threshold(identified: Identifications, settings: Stage3) -> Identifications:
    """Return the identifications with the names that count, and `lowered`.

    `lowered` is true for animals that became unknown animals because of `min_confidence`.

    Args:
        identified: the result of `vote_by_sequence`; the order of rows does not change.
        settings: min_confidence.
    """
    unknown = identified.names.code(UNKNOWN_NAME)
    rows = identified.rows
    animals = _uncertain_sequences(rows, unknown, settings.min_confidence)
    lowered = np.zeros(rows.height, dtype=np.bool_)
    if animals.is_empty():
        return replace(identified, rows=rows.with_columns(lowered=pl.Series(lowered)))
    changed = _changed_names(animals, unknown, settings.min_confidence)
    name, confidence, relabelled = (
        rows[column].to_numpy().copy() for column in ("name", "confidence", "relabelled")
    )
    row = changed["row"].to_numpy()
    name[row] = changed["name"].to_numpy()
    confidence[row] = changed["confidence"].to_numpy()
    relabelled[row] |= changed["joins"].to_numpy()
    lowered[row] = changed["lowered"].to_numpy()
    return replace(
        identified,
        rows=rows.with_columns(
            name=pl.Series(name, dtype=NAME_CODE),
            confidence=pl.Series(confidence, dtype=pl.Float32),
            relabelled=pl.Series(relabelled),
            lowered=pl.Series(lowered),
        ),
    )


def _uncertain_sequences(rows: pl.DataFrame, unknown: int, min_confidence: float) -> pl.DataFrame:
    """The animals of all sequences in which a name is missing or uncertain.

    Columns: row, sequence, name, confidence (-1 if it is missing), detection_confidence.
    """
    votes = (
        (pl.col("category") == "animal")
        & ~pl.col("repeat")
        & pl.col("left_out").is_null()
        & pl.col("sequence").is_not_null()
    )
    confidence = pl.col("confidence").fill_nan(None).fill_null(-1)
    uncertain = votes & ((pl.col("name") == unknown) | (confidence < min_confidence))
    masks = rows.select(votes=votes, uncertain=uncertain)
    voting, uncertain_rows = masks["votes"].to_numpy(), masks["uncertain"].to_numpy()
    sequence = rows["sequence"].fill_null(0).to_numpy()
    is_affected = np.zeros(int(sequence.max(initial=0)) + 1, dtype=np.bool_)
    is_affected[sequence[uncertain_rows]] = True
    row = np.flatnonzero(voting & is_affected[sequence]).astype(np.uint32)
    return rows.select("sequence", "name", confidence, "detection_confidence")[row].with_columns(
        row=pl.Series(row)
    )


def _changed_names(animals: pl.DataFrame, unknown: int, min_confidence: float) -> pl.DataFrame:
    """The animals that get another name: row, name, confidence, lowered, joins.

    `lowered`: it becomes an unknown animal; `joins`: it gets the only name that counts.
    """
    # Grouping by one integer takes half the time.
    key = pl.col("sequence").cast(pl.Int64) * 2**NAME_BITS + pl.col("name")
    # A name without a confidence never counts, whatever the others' is.
    animals = animals.with_columns(key=pl.when(pl.col("confidence") >= 0).then(key).otherwise(-1))
    counting = (
        animals.lazy()
        .filter((pl.col("name") != unknown) & (pl.col("key") >= 0))
        .group_by("key", "sequence", "name")
        .agg(pl.col("confidence").max().alias("best"))
        .filter(pl.col("best") >= min_confidence)
    )
    only = (
        counting.group_by("sequence")
        .agg(pl.len().alias("names"), only_name=pl.first("name"), only_best=pl.first("best"))
        .filter(pl.col("names") == 1)
    )
    without_name = animals.lazy().join(counting.select("key"), on="key", how="anti")
    joins = pl.col("only_name").is_not_null()
    joined_confidence = pl.min_horizontal(
        pl.col("detection_confidence").fill_nan(None), "only_best"
    )
    return (
        without_name.join(only, on="sequence", how="left")
        .select(
            "row",
            name=pl.coalesce("only_name", pl.lit(unknown, NAME_CODE)),
            confidence=pl.when(joins).then(joined_confidence).otherwise("detection_confidence"),
            lowered=(pl.col("name") != unknown) & ~joins,
            joins=joins,
        )
        .collect()
    )
