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

import numpy as np
import polars as pl
from numpy.typing import NDArray

from odins_ravne_assets.hugin.sightings import UNKNOWN_ANIMAL
from odins_ravne_assets.hugin.taxonomy import SpeciesKnowledge
from resources.profile import Stage3

# What a vote adds to each row of SIGHTINGS.
VOTED = {
    "vote_share": pl.Float32,  # of the winner; null where nothing was voted on
    "relabelled": pl.Boolean,  # it had another name, or none
    "disputed": pl.Boolean,  # its burst came to no result
}
RANKS = ("species", "genus", "family")


def vote(rows: pl.DataFrame, knowledge: SpeciesKnowledge, settings: Stage3) -> pl.DataFrame:
    """Rows of SIGHTINGS with the names that their bursts agreed on, and the columns of VOTED.

    Args:
        rows: as `sightings` gives them, in any order; it is kept.
        knowledge: for genus and family.
        settings: burst_gap in seconds (0: no vote), vote_share, review_below.
    """
    unvoted = rows.with_columns(
        vote_share=pl.lit(None, VOTED["vote_share"]),
        relabelled=pl.lit(False),
        disputed=pl.lit(False),
    )
    animals = rows.with_row_index("row").filter(pl.col("category") == "animal")
    if settings.burst_gap == 0 or animals.is_empty():
        return unvoted
    numbers = _bursts(animals, settings.burst_gap)
    voters = animals.with_columns(burst=pl.Series(numbers)).filter(
        pl.Series(_open_questions(animals, numbers)[numbers])
    )
    if voters.is_empty():
        return unvoted
    return _settled(unvoted, _judged(voters, knowledge, settings), settings)


def _bursts(animals: pl.DataFrame, gap_seconds: float) -> NDArray[np.uint32]:
    """The number of each row's burst, 1-based."""
    undated = pl.when(pl.col("captured_at").is_null()).then("path")
    camera, moment, medium = animals.select(
        _codes("camera_id"),
        pl.col("captured_at").to_physical().fill_null(0),
        undated.cast(pl.Categorical).to_physical().cast(pl.Int64).fill_null(-1),
    )
    order = np.lexsort((moment.to_numpy(), medium.to_numpy(), camera.to_numpy()))
    starts = np.ones(animals.height, dtype=np.bool_)
    starts[1:] = np.diff(moment.to_numpy()[order]) > round(gap_seconds * 1000)
    for column in (camera, medium):
        starts[1:] |= np.diff(column.to_numpy()[order]) != 0
    numbers = np.empty(animals.height, dtype=np.uint32)
    numbers[order] = np.cumsum(starts, dtype=np.uint32)
    return numbers


def _codes(column: str) -> pl.Expr:
    """Texts as numbers: equal ones as equal ones, null as -1."""
    return pl.col(column).cast(pl.Categorical).to_physical().cast(pl.Int64).fill_null(-1)


def _open_questions(animals: pl.DataFrame, numbers: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Per burst, by its number: whether its boxes differ, or one of them has no name."""
    ballots = animals.select(_codes("ballot")).to_series().to_numpy()
    first = np.zeros(int(numbers.max()) + 1, dtype=np.int64)
    first[numbers] = ballots  # of several, any one: all others must equal it
    asks = np.zeros(first.size, dtype=np.bool_)
    asks[numbers[ballots != first[numbers]]] = True
    unnamed = animals.select((pl.col("species") == UNKNOWN_ANIMAL).fill_null(True)).to_series()
    asks[numbers[unnamed.to_numpy()]] = True
    return asks


def _judged(voters: pl.DataFrame, knowledge: SpeciesKnowledge, settings: Stage3) -> pl.DataFrame:
    """The voters with their burst's winner: won, won_name, won_share, won_best; null if none."""
    branches = knowledge.table().select("scientific_name", "genus", "family")
    ballots = voters.join(
        branches, left_on="ballot_name", right_on="scientific_name", how="left"
    ).with_columns(
        weight=pl.col("ballot_weight").cast(pl.Float64).fill_nan(None).fill_null(0),
        sure=pl.col("species") == pl.col("ballot"),
    )
    ballots = ballots.with_columns(total=pl.col("weight").sum().over("burst"))
    winners = [
        _winners(ballots, rank, steps, settings.vote_share) for steps, rank in enumerate(RANKS)
    ]
    won = pl.concat(winners).sort("steps").unique("burst", keep="first").drop("steps")
    names = knowledge.table().select(
        pl.col("scientific_name").alias("won_name"),
        called=pl.coalesce("common_name", "scientific_name"),
    )
    won = won.join(names, on="won_name", how="left").with_columns(won=pl.coalesce("won", "called"))
    return voters.join(won.drop("called"), on="burst", how="left")


def _winners(ballots: pl.DataFrame, rank: str, steps: int, share: float) -> pl.DataFrame:
    """Bursts that one taxon of a rank wins: burst, won (a species only), won_name, ..."""
    taxon = "ballot" if rank == "species" else rank
    return (
        ballots.filter(pl.col(taxon).is_not_null())
        .group_by("burst", taxon)
        .agg(
            pl.col("ballot_name").drop_nulls().first(),
            won_share=pl.col("weight").sum() / pl.col("total").first(),
            won_best=pl.col("confidence").filter("sure").max(),
        )
        # Sums of floating point numbers: a share that is exactly the setting's has it.
        .filter((pl.col("won_share") >= share - 1e-9) & pl.col("won_best").is_not_null())
        .sort("won_share", taxon, descending=[True, False])
        .unique("burst", keep="first")
        .select(
            "burst",
            won=pl.col(taxon) if rank == "species" else pl.lit(None, pl.String),
            won_name=pl.col("ballot_name") if rank == "species" else pl.col(taxon),
            won_share=pl.col("won_share").cast(VOTED["vote_share"]),
            won_best="won_best",
            steps=pl.lit(steps),
        )
    )


def _settled(rows: pl.DataFrame, judged: pl.DataFrame, settings: Stage3) -> pl.DataFrame:
    """The rows with what the vote changes in them."""
    decided = pl.col("won").is_not_null()
    agrees = pl.col("species") == pl.col("won")
    named = pl.col("species") == pl.col("ballot")
    certain = named & (pl.col("confidence") >= pl.lit(settings.review_below, pl.Float32))
    frame = ["path", "frame_number"]
    side_by_side = judged.filter(decided & ~agrees & certain).join(
        judged.filter(decided & agrees & named), on=frame, how="semi"
    )
    stays = pl.col("row").is_in(side_by_side["row"].implode())
    verdicts = judged.filter(~stays).select(
        "row",
        decided=decided,
        new_species="won",
        new_name="won_name",
        most="won_best",
        new_share="won_share",
        changed=decided & ~agrees,
        open=~decided & named,
    )
    changed = pl.col("changed").fill_null(False)
    return (
        rows.with_row_index("row")
        .join(verdicts, on="row", how="left", maintain_order="left")
        .with_columns(
            species=pl.when(changed).then("new_species").otherwise("species"),
            scientific_name=pl.when(changed).then("new_name").otherwise("scientific_name"),
            confidence=pl.when(changed)
            .then(pl.min_horizontal("confidence", "most"))
            .otherwise("confidence"),
            vote_share="new_share",
            relabelled=changed,
            disputed=pl.col("open").fill_null(False),
        )
        .select(rows.columns)
    )
