"""Smooth classifications by sequence: the detections of one sequence vote on the species.

- A *sequence* is a camera's detections in order of time, split where more than `burst_gap` seconds
  pass without one. The frames of a clip belong to one sequence; a medium without a time is a
  sequence.
- Each animal votes for its label, confident or not, with the classifier's confidence as weight.
- A species wins with `vote_share` of the weight of its sequence if at least one detection was
  identified as it without the vote. If no species wins, a genus may, then a family, with the votes
  of all taxa below.
- The winner names every animal in the sequence. A detection that had another name, or none, gets at
  most the confidence of the best detection that had the winning name. Exception: a detection that
  needs no review (`review_below`) keeps its name if it is in one frame with the winner, as two
  species can appear together.
- Without a winner, every detection keeps its name, and those that have one are marked as disputed.

People and vehicles do not vote. Weighting by confidence follows the smoothing of sequences in
MegaDetector's tools (`classification_postprocessing`), the threshold SpeciesNet's roll-up.
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from odins_ravne_assets.hugin.identification.identifications import (
    NAME_CODE,
    UNKNOWN_NAME,
    Identifications,
    SpeciesNames,
    preferred_name,
)
from odins_ravne_assets.hugin.identification.taxonomy import Taxonomy
from odins_ravne_assets.munin.tables.instants import instants
from resources.settings.profile import Stage3

# Columns that the vote adds to each row.
VOTE_COLUMNS: dict[str, pl.DataType] = {
    "vote_share": pl.Float32(),  # of the winner; null if all agree, or nothing won
    "relabelled": pl.Boolean(),  # it had another name, or none
    "disputed": pl.Boolean(),  # its sequence has no winner
    "sequence": pl.UInt32(),  # the number of its sequence; null if it cannot vote
}
# A share that equals `vote_share` wins in spite of floating point errors.
SHARE_TOLERANCE = 1e-9
NAME_BITS = 32
FRAME_KEY = ["path", "frame_number"]


@dataclass(frozen=True)
class _Ballots:
    """The animals of sequences whose detections disagree; arrays of equal length."""

    row: NDArray[np.uint32]  # index of the row
    sequence: NDArray[np.uint32]
    name: NDArray[np.uint32]
    ballot: NDArray[np.uint32]
    weight: NDArray[np.float64]
    confidence: NDArray[np.float32]


def vote_by_sequence(
    identified: Identifications, taxonomy: Taxonomy, settings: Stage3
) -> Identifications:
    """Return the identifications with the names that won the votes, and VOTE_COLUMNS.

    Args:
        identified: the result of `identify`; the order of rows does not change.
        taxonomy: the genus and family of each species.
        settings: burst_gap in seconds (0: no vote), vote_share, review_below.
    """
    animals = identified.rows.with_row_index("row").filter(
        (pl.col("category") == "animal") & ~pl.col("repeat") & pl.col("left_out").is_null()
    )
    if settings.burst_gap == 0 or animals.is_empty():
        return replace(identified, rows=_without_vote(identified.rows))
    sequences = sequence_numbers(animals, settings.burst_gap)
    rows = _without_vote(identified.rows, (animals["row"].to_numpy(), sequences))
    ballots = _collect_ballots(animals, sequences, identified.names)
    if not ballots.row.size:
        return replace(identified, rows=rows)
    won = _winners(ballots, taxonomy, identified.names, settings.vote_share)
    return replace(identified, rows=_apply_winners(rows, ballots, won, settings))


def _without_vote(
    rows: pl.DataFrame, sequences: tuple[NDArray[np.uint32], NDArray[np.uint32]] | None = None
) -> pl.DataFrame:
    """Add VOTE_COLUMNS of rows that did not vote.

    Args:
        sequences: the numbers of rows, and of their sequences; None: each row is a sequence.
    """
    neutral = {"vote_share": None, "relabelled": False, "disputed": False}
    number = pl.Series(np.arange(rows.height, dtype=np.uint32))
    if sequences is not None:
        number = pl.Series([None], dtype=pl.UInt32).new_from_index(0, rows.height)
        number = number.scatter(*sequences)
    return rows.with_columns(
        *(pl.lit(neutral[name], VOTE_COLUMNS[name]).alias(name) for name in neutral),
        sequence=number,
    )


def sequence_numbers(animals: pl.DataFrame, gap_seconds: float) -> NDArray[np.uint32]:
    """Return the number of each row's sequence, from 0.

    Args:
        animals: rows with camera_id, path, captured_at and utc_offset_minutes, in any order.
            Times are compared as instants.
        gap_seconds: the longest time without a row within a sequence.
    """
    undated = pl.when(pl.col("captured_at").is_null()).then("path")
    camera, moment, medium = (
        column.to_numpy()
        for column in animals.select(
            _codes(pl.col("camera_id")),
            instants(animals).fill_null(0),
            _codes(undated).alias("medium"),
        )
    )
    order = np.lexsort((moment, medium, camera))
    starts = np.diff(moment[order]) > round(gap_seconds * 1000)
    for column in (camera, medium):
        starts |= np.diff(column[order]) != 0
    numbers = np.zeros(animals.height, dtype=np.uint32)
    numbers[order[1:]] = np.cumsum(starts, dtype=np.uint32)
    return numbers


def _codes(texts: pl.Expr) -> pl.Expr:
    """Integer codes of texts; null is -1."""
    return texts.cast(pl.Categorical).to_physical().cast(pl.Int64).fill_null(-1)


def _collect_ballots(
    animals: pl.DataFrame, sequences: NDArray[np.uint32], names: SpeciesNames
) -> _Ballots:
    """The ballots of sequences with different ballots or with an unknown animal."""
    ballot, name = animals["ballot"].to_numpy(), animals["name"].to_numpy()
    last_ballot = np.zeros(int(sequences.max()) + 1, dtype=np.uint32)
    last_ballot[sequences] = ballot  # the last one; they agree if all equal it
    needs_vote = np.zeros(last_ballot.size, dtype=np.bool_)
    needs_vote[
        sequences[(ballot != last_ballot[sequences]) | (name == names.code(UNKNOWN_NAME))]
    ] = True
    voting = needs_vote[sequences]
    weights = animals["ballot_weight"].cast(pl.Float64).fill_nan(None).fill_null(0).to_numpy()
    return _Ballots(
        animals["row"].to_numpy()[voting],
        sequences[voting],
        name[voting],
        ballot[voting],
        weights[voting],
        animals["confidence"].fill_null(0).to_numpy()[voting],
    )


def _winners(
    ballots: _Ballots, taxonomy: Taxonomy, names: SpeciesNames, share: float
) -> pl.DataFrame:
    """One row per sequence with a winner: sequence, won (a name), won_share, won_best."""
    own_name = ballots.name == ballots.ballot
    totals_by_name = (
        pl.DataFrame(
            {
                # Grouping by one integer takes half the time.
                "sequence_and_ballot": ballots.sequence.astype(np.int64) << NAME_BITS
                | ballots.ballot,
                "weight": ballots.weight,
                # The best confidence of the detections that have this name without the vote.
                "best": pl.Series(np.where(own_name, ballots.confidence, np.nan)).fill_nan(None),
            }
        )
        .group_by("sequence_and_ballot")
        .agg(pl.col("weight").sum(), pl.col("best").max())
        .with_columns(
            sequence=(pl.col("sequence_and_ballot") // 2**NAME_BITS).cast(pl.UInt32),
            ballot=(pl.col("sequence_and_ballot") % 2**NAME_BITS).cast(NAME_CODE),
        )
        .drop("sequence_and_ballot")
    )
    totals = pl.Series(np.bincount(ballots.sequence, ballots.weight))
    totals_by_name = totals_by_name.with_columns(
        total=totals.gather(totals_by_name["sequence"])
    ).join(_ranks(taxonomy, names), left_on="ballot", right_on="name", how="left")
    results = []
    for rank in ("ballot", "genus", "family"):
        result = _winners_at_rank(totals_by_name, rank, share)
        totals_by_name = totals_by_name.join(result, on="sequence", how="anti")
        results.append(result)
    return pl.concat(results)


def _ranks(taxonomy: Taxonomy, names: SpeciesNames) -> pl.DataFrame:
    """The codes of each name's genus and family: name, genus, family."""
    ranks = names.table().join(
        taxonomy.table().select("scientific_name", "genus", "family"),
        on="scientific_name",
        how="left",
    )

    def code(taxon: str | None) -> int | None:
        return names.code(preferred_name(taxon, taxonomy)) if taxon else None

    return ranks.select(
        "name",
        genus=pl.Series([code(taxon) for taxon in ranks["genus"]], dtype=NAME_CODE),
        family=pl.Series([code(taxon) for taxon in ranks["family"]], dtype=NAME_CODE),
    )


def _winners_at_rank(totals_by_name: pl.DataFrame, rank: str, share: float) -> pl.DataFrame:
    return (
        totals_by_name.filter(pl.col(rank).is_not_null())
        .group_by("sequence", pl.col(rank).alias("won"))
        .agg(
            won_share=pl.col("weight").sum() / pl.col("total").first(),
            won_best=pl.col("best").max(),
        )
        .filter((pl.col("won_share") >= share - SHARE_TOLERANCE) & pl.col("won_best").is_not_null())
        .sort("won_share", "won_best", "won", descending=[True, True, False])
        .unique("sequence", keep="first")
    )


def _apply_winners(
    rows: pl.DataFrame, ballots: _Ballots, won: pl.DataFrame, settings: Stage3
) -> pl.DataFrame:
    """The rows with the results of the vote."""
    has_winner, names, shares, bests = _by_sequence(won, int(ballots.sequence.max()) + 1)
    decided, winner = has_winner[ballots.sequence], names[ballots.sequence]
    named = ballots.name == ballots.ballot
    agrees = decided & (ballots.name == winner)
    certain = named & (ballots.confidence >= np.float32(settings.review_below))
    differs = decided & ~agrees
    keeps_name = _in_frame_with_winner(rows, ballots, differs & certain, agrees & named)
    changes, voted = differs & ~keeps_name, decided & ~keeps_name

    name, confidence = rows["name"].to_numpy().copy(), rows["confidence"].to_numpy().copy()
    share = np.full(rows.height, np.nan, dtype=np.float32)
    relabelled, disputed = np.zeros((2, rows.height), dtype=np.bool_)
    name[ballots.row[changes]] = winner[changes]
    confidence[ballots.row[changes]] = np.minimum(ballots.confidence, bests[ballots.sequence])[
        changes
    ]
    share[ballots.row[voted]] = shares[ballots.sequence[voted]]
    relabelled[ballots.row[changes]] = True
    disputed[ballots.row[~decided & named]] = True
    return rows.with_columns(
        name=pl.Series(name, dtype=NAME_CODE),
        confidence=pl.Series(confidence, dtype=pl.Float32),
        vote_share=pl.Series(share, dtype=pl.Float32).fill_nan(None),
        relabelled=pl.Series(relabelled),
        disputed=pl.Series(disputed),
    )


def _by_sequence(
    won: pl.DataFrame, sequences: int
) -> tuple[NDArray[np.bool_], NDArray[np.uint32], NDArray[np.float32], NDArray[np.float32]]:
    """Of every sequence, by its number: True if it has a winner; name, share, best confidence."""
    sequence = won["sequence"].to_numpy()
    found = (
        np.zeros(sequences, dtype=np.bool_),
        np.zeros(sequences, dtype=np.uint32),
        np.zeros(sequences, dtype=np.float32),
        np.zeros(sequences, dtype=np.float32),
    )
    found[0][sequence] = True
    for values, column in zip(found[1:], ("won", "won_share", "won_best"), strict=True):
        values[sequence] = won[column].to_numpy()
    return found


def _in_frame_with_winner(
    rows: pl.DataFrame, ballots: _Ballots, minority: NDArray[np.bool_], winners: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """True for those of the minority that are in one frame with a winner."""
    if not minority.any():
        return minority
    has_minority = np.zeros(int(ballots.sequence.max()) + 1, dtype=np.bool_)
    has_minority[ballots.sequence[minority]] = True
    others = winners & has_minority[ballots.sequence]

    def frames(of: NDArray[np.bool_]) -> pl.DataFrame:
        return rows[ballots.row[of], FRAME_KEY].with_columns(
            sequence=pl.Series(ballots.sequence[of])
        )

    indexed = frames(minority).with_columns(index=np.flatnonzero(minority))
    in_frame = indexed.join(frames(others), on=["sequence", *FRAME_KEY], how="semi")
    result = np.zeros(ballots.row.size, dtype=np.bool_)
    result[in_frame["index"].to_numpy()] = True
    return result
