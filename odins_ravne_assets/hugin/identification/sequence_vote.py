"""Bursts vote: the animals of one sequence of pictures agree on what they are.

- A *burst* is a camera's boxes in order of time, cut where more than `burst_gap` seconds pass
  without one. The frames of a clip are a burst, or part of one; a medium without a time is one.
- Each animal's box votes for its label, sure or not, with the classifier's confidence in it.
- A species wins with `vote_share` of all its burst's votes, if one of its boxes was sure of it by
  itself: boxes cannot make each other sure. If no species wins, a genus may, and then a family,
  with the votes of all below it.
- The winner names every animal in the burst. A box that had another name, or none, counts with no
  more confidence than the best that voted for the winner. One exception: what is sure enough to
  need no review (`review_below`) and is seen in one frame with the winner keeps its own name, for
  two species can stand side by side.
- If nothing wins, every box keeps its name, and those that had one are marked as disputed.

People and vehicles do not vote. Weighing by confidence and the level are those of the smoothing of
sequences in MegaDetector's tools (`classification_postprocessing`) and SpeciesNet's roll-up.
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
from resources.settings.profile import Stage3

# What a vote adds to each row.
VOTE_COLUMNS: dict[str, pl.DataType] = {
    "vote_share": pl.Float32(),  # of the winner; null where no box disagreed, or nothing won
    "relabelled": pl.Boolean(),  # it had another name, or none
    "disputed": pl.Boolean(),  # its burst came to no result
}
# Sums of floating point numbers: a share that is exactly the setting's has it.
SHARE_TOLERANCE = 1e-9
NAME_BITS = 32
FRAME_KEY = ["path", "frame_number"]


@dataclass(frozen=True)
class _Ballots:
    """The animals of bursts that have something to settle; arrays of one length."""

    row: NDArray[np.uint32]  # in the rows
    burst: NDArray[np.uint32]
    name: NDArray[np.uint32]
    ballot: NDArray[np.uint32]
    weight: NDArray[np.float64]
    confidence: NDArray[np.float32]


def vote_by_sequence(
    seen: Identifications, taxonomy: Taxonomy, settings: Stage3
) -> Identifications:
    """The sightings with the names that their bursts agreed on, and the columns of VOTED.

    Args:
        seen: as `sightings` gives them; the order of rows is kept.
        taxonomy: for genus and family.
        settings: burst_gap in seconds (0: no vote), vote_share, review_below.
    """
    animals = seen.rows.with_row_index("row").filter(
        (pl.col("category") == "animal") & ~pl.col("repeat")
    )
    if settings.burst_gap == 0 or animals.is_empty():
        return replace(seen, rows=_without_vote(seen.rows))
    ballots = _collect_ballots(animals, _sequence_numbers(animals, settings.burst_gap), seen.names)
    if not ballots.row.size:
        return replace(seen, rows=_without_vote(seen.rows))
    won = _winners(ballots, taxonomy, seen.names, settings.vote_share)
    return replace(seen, rows=_apply_winners(seen.rows, ballots, won, settings))


def _without_vote(rows: pl.DataFrame) -> pl.DataFrame:
    neutral = {"vote_share": None, "relabelled": False, "disputed": False}
    return rows.with_columns(
        pl.lit(neutral[name], kind).alias(name) for name, kind in VOTE_COLUMNS.items()
    )


def _sequence_numbers(animals: pl.DataFrame, gap_seconds: float) -> NDArray[np.uint32]:
    """The number of each row's burst, from 0."""
    undated = pl.when(pl.col("captured_at").is_null()).then("path")
    camera, moment, medium = (
        column.to_numpy()
        for column in animals.select(
            _codes(pl.col("camera_id")),
            pl.col("captured_at").to_physical().fill_null(0),
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
    """Texts as numbers: equal ones as equal ones, null as -1."""
    return texts.cast(pl.Categorical).to_physical().cast(pl.Int64).fill_null(-1)


def _collect_ballots(
    animals: pl.DataFrame, bursts: NDArray[np.uint32], names: SpeciesNames
) -> _Ballots:
    """The ballots of bursts whose boxes differ, or one of whose has no name."""
    ballot, name = animals["ballot"].to_numpy(), animals["name"].to_numpy()
    one_of = np.zeros(int(bursts.max()) + 1, dtype=np.uint32)
    one_of[bursts] = ballot  # whichever is last: all others must equal it
    asks = np.zeros(one_of.size, dtype=np.bool_)
    asks[bursts[(ballot != one_of[bursts]) | (name == names.code(UNKNOWN_NAME))]] = True
    open_ = asks[bursts]
    weights = animals["ballot_weight"].cast(pl.Float64).fill_nan(None).fill_null(0).to_numpy()
    return _Ballots(
        animals["row"].to_numpy()[open_],
        bursts[open_],
        name[open_],
        ballot[open_],
        weights[open_],
        animals["confidence"].fill_null(0).to_numpy()[open_],
    )


def _winners(
    ballots: _Ballots, taxonomy: Taxonomy, names: SpeciesNames, share: float
) -> pl.DataFrame:
    """One row per burst that came to a result: burst, won (a name), won_share, won_best."""
    sure = ballots.name == ballots.ballot
    tally = (
        pl.DataFrame(
            {
                # One number for both is grouped in half the time.
                "burst_and_ballot": ballots.burst.astype(np.int64) << NAME_BITS | ballots.ballot,
                "weight": ballots.weight,
                # The best of the boxes that were sure of it by themselves.
                "best": pl.Series(np.where(sure, ballots.confidence, np.nan)).fill_nan(None),
            }
        )
        .group_by("burst_and_ballot")
        .agg(pl.col("weight").sum(), pl.col("best").max())
        .with_columns(
            burst=(pl.col("burst_and_ballot") // 2**NAME_BITS).cast(pl.UInt32),
            ballot=(pl.col("burst_and_ballot") % 2**NAME_BITS).cast(NAME_CODE),
        )
        .drop("burst_and_ballot")
    )
    totals = pl.Series(np.bincount(ballots.burst, ballots.weight))
    tally = tally.with_columns(total=totals.gather(tally["burst"])).join(
        _ranks(taxonomy, names), left_on="ballot", right_on="name", how="left"
    )
    results = []
    for rank in ("ballot", "genus", "family"):
        result = _winners_at_rank(tally, rank, share)
        tally = tally.join(result, on="burst", how="anti")
        results.append(result)
    return pl.concat(results)


def _ranks(taxonomy: Taxonomy, names: SpeciesNames) -> pl.DataFrame:
    """The numbers of each name's genus and family: name, genus, family."""
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


def _winners_at_rank(tally: pl.DataFrame, rank: str, share: float) -> pl.DataFrame:
    return (
        tally.filter(pl.col(rank).is_not_null())
        .group_by("burst", pl.col(rank).alias("won"))
        .agg(
            won_share=pl.col("weight").sum() / pl.col("total").first(),
            won_best=pl.col("best").max(),
        )
        .filter((pl.col("won_share") >= share - SHARE_TOLERANCE) & pl.col("won_best").is_not_null())
        .sort("won_share", "won_best", "won", descending=[True, True, False])
        .unique("burst", keep="first")
    )


def _apply_winners(
    rows: pl.DataFrame, ballots: _Ballots, won: pl.DataFrame, settings: Stage3
) -> pl.DataFrame:
    """The rows with what the vote changes in them."""
    has_result, names, shares, bests = _by_sequence(won, int(ballots.burst.max()) + 1)
    decided, winner = has_result[ballots.burst], names[ballots.burst]
    named = ballots.name == ballots.ballot
    agrees = decided & (ballots.name == winner)
    certain = named & (ballots.confidence >= np.float32(settings.review_below))
    differs = decided & ~agrees
    stays = _in_frame_with_winner(rows, ballots, differs & certain, agrees & named)
    changes, settled = differs & ~stays, decided & ~stays

    name, confidence = rows["name"].to_numpy().copy(), rows["confidence"].to_numpy().copy()
    share = np.full(rows.height, np.nan, dtype=np.float32)
    relabelled, disputed = np.zeros((2, rows.height), dtype=np.bool_)
    name[ballots.row[changes]] = winner[changes]
    confidence[ballots.row[changes]] = np.minimum(ballots.confidence, bests[ballots.burst])[changes]
    share[ballots.row[settled]] = shares[ballots.burst[settled]]
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
    won: pl.DataFrame, bursts: int
) -> tuple[NDArray[np.bool_], NDArray[np.uint32], NDArray[np.float32], NDArray[np.float32]]:
    """Of every burst, by its number: whether it has a winner, and its name, share and best."""
    burst = won["burst"].to_numpy()
    found = (
        np.zeros(bursts, dtype=np.bool_),
        np.zeros(bursts, dtype=np.uint32),
        np.zeros(bursts, dtype=np.float32),
        np.zeros(bursts, dtype=np.float32),
    )
    found[0][burst] = True
    for values, column in zip(found[1:], ("won", "won_share", "won_best"), strict=True):
        values[burst] = won[column].to_numpy()
    return found


def _in_frame_with_winner(
    rows: pl.DataFrame, ballots: _Ballots, minority: NDArray[np.bool_], winners: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which of the minority are in one frame with a winner."""
    if not minority.any():
        return minority
    asks = np.zeros(int(ballots.burst.max()) + 1, dtype=np.bool_)
    asks[ballots.burst[minority]] = True
    others = winners & asks[ballots.burst]

    def frames(of: NDArray[np.bool_]) -> pl.DataFrame:
        return rows[ballots.row[of], FRAME_KEY].with_columns(burst=pl.Series(ballots.burst[of]))

    places = frames(minority).with_columns(place=np.flatnonzero(minority))
    beside = places.join(frames(others), on=["burst", *FRAME_KEY], how="semi")
    stays = np.zeros(ballots.row.size, dtype=np.bool_)
    stays[beside["place"].to_numpy()] = True
    return stays
