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

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from odins_ravne_assets.hugin.identification.identifications import (
    NAME_CODE,
    UNKNOWN_NAME,
    Identifications,
)
from resources.settings.profile import Stage3

NAME_BITS = 32


@dataclass(frozen=True)
class _Animals:
    """The animals of sequences that have an unknown animal or an uncertain name; as arrays."""

    row: NDArray[np.uint32]  # index of the row
    sequence: NDArray[np.uint32]
    name: NDArray[np.uint32]
    confidence: NDArray[np.float32]
    detection_confidence: NDArray[np.float32]


def apply_name_threshold(identified: Identifications, settings: Stage3) -> Identifications:
    """Return the identifications with the names that count, and `lowered`.

    `lowered` is true for animals that became unknown animals because of `min_confidence`.

    Args:
        identified: the result of `vote_by_sequence`; the order of rows does not change.
        settings: min_confidence.
    """
    rows = identified.rows
    unknown = np.uint32(identified.names.code(UNKNOWN_NAME))
    animals = _uncertain_sequences(rows, unknown, settings.min_confidence)
    lowered = np.zeros(rows.height, dtype=np.bool_)
    if animals is None:
        return replace(identified, rows=rows.with_columns(lowered=pl.Series(lowered)))
    named = animals.name != unknown
    key = animals.sequence.astype(np.int64) << NAME_BITS | animals.name
    keys, place = np.unique(key, return_inverse=True)
    best = np.full(keys.size, -1, dtype=np.float32)
    np.maximum.at(best, place, animals.confidence)
    counts = (best >= np.float32(settings.min_confidence)) & (keys & (2**NAME_BITS - 1) != unknown)
    loses_name = named & ~counts[place]
    name, confidence, relabelled = (
        rows[column].to_numpy().copy() for column in ("name", "confidence", "relabelled")
    )
    name[animals.row[loses_name]] = unknown
    confidence[animals.row[loses_name]] = animals.detection_confidence[loses_name]
    lowered[animals.row[loses_name]] = True
    # The only name that counts in a sequence.
    sequence = keys[counts] >> NAME_BITS
    _, first, number = np.unique(sequence, return_index=True, return_counts=True)
    only = np.flatnonzero(counts)[first[number == 1]]
    sequences = keys[only] >> NAME_BITS
    found = np.searchsorted(sequences, animals.sequence)
    joins = (loses_name | ~named) & (found < sequences.size)
    joins[joins] = sequences[found[joins]] == animals.sequence[joins]
    taken, joined = only[found[joins]], animals.row[joins]
    name[joined] = (keys[taken] & (2**NAME_BITS - 1)).astype(np.uint32)
    confidence[joined] = np.fmin(animals.detection_confidence[joins], best[taken])
    relabelled[joined] = True
    lowered[joined] = False
    return replace(
        identified,
        rows=rows.with_columns(
            name=pl.Series(name, dtype=NAME_CODE),
            confidence=pl.Series(confidence, dtype=pl.Float32),
            relabelled=pl.Series(relabelled),
            lowered=pl.Series(lowered),
        ),
    )


def _uncertain_sequences(
    rows: pl.DataFrame, unknown: np.uint32, min_confidence: float
) -> _Animals | None:
    """The animals of sequences in which a name is missing or uncertain; None: there are none."""
    votes = (
        (pl.col("category") == "animal")
        & ~pl.col("repeat")
        & pl.col("left_out").is_null()
        & pl.col("sequence").is_not_null()
    )
    columns = rows.select(
        "sequence",
        "name",
        "detection_confidence",
        votes.alias("votes"),
        # A missing confidence is below every threshold.
        pl.col("confidence").fill_nan(None).fill_null(-1),
    )
    votes_, name, confidence = (
        columns[column].to_numpy() for column in ("votes", "name", "confidence")
    )
    sequence = columns["sequence"].fill_null(0).to_numpy()
    uncertain = votes_ & ((name == unknown) | (confidence < np.float32(min_confidence)))
    if not uncertain.any():
        return None
    affected = np.zeros(int(sequence.max()) + 1, dtype=np.bool_)
    affected[sequence[uncertain]] = True
    row = np.flatnonzero(votes_ & affected[sequence]).astype(np.uint32)
    return _Animals(
        row,
        sequence[row],
        name[row],
        confidence[row],
        columns["detection_confidence"].to_numpy()[row],
    )
