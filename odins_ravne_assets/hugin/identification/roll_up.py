"""Guesses that are not sure climb: added up along the branches of the taxonomy.

0.4 fox and 0.3 dog are 0.7 of the family Canidae. Adding up over a branch and the level of 0.65
are SpeciesNet's (its ensemble, `roll_up`).
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from odins_ravne_assets.hugin.identification.taxonomy import ROLL_UP_RANKS, Taxonomy

# Of a branch: the scientific name of its taxon, null where none reached the level, and its sum.
ROLL_UP_SCHEMA: dict[str, pl.DataType] = {"taxon": pl.String(), "branch_sum": pl.Float32()}
# Lists of guesses that are added up at once.
LISTS_PER_BATCH = 100_000
NO_TAXON = -1

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float64]


def roll_up_guesses(guesses: pl.Series, taxonomy: Taxonomy, roll_up: float) -> pl.DataFrame:
    """The lowest branch of each list of guesses whose sum reaches the level; rows of CLIMBED.

    Of several at one rank it is that with the highest sum, then the first in the alphabet. What
    the taxonomy does not know, or cannot be here, is no branch.

    Args:
        guesses: lists of label, scientific_name and confidence, as `top5` has them; may be null.
        taxonomy: the taxonomy, and what can be here.
        roll_up: least sum of confidences on a branch.
    """
    taxa = pl.Enum(sorted(taxonomy.taxa))
    names, lineages = _lineages(taxa.categories, taxonomy)
    parts = [
        pl.DataFrame(
            {
                "taxon": names.gather(pl.Series(taxon, dtype=pl.Int64).replace(NO_TAXON, None)),
                "branch_sum": total,
            },
            schema=ROLL_UP_SCHEMA,
        )
        for part in guesses.to_frame("guesses").iter_slices(LISTS_PER_BATCH)
        for taxon, total in [
            _lowest_taxa(*_guess_arrays(part, taxa), lineages, np.float32(roll_up))
        ]
    ]
    return pl.concat([pl.DataFrame(schema=ROLL_UP_SCHEMA), *parts])


def _lineages(taxa: pl.Series, taxonomy: Taxonomy) -> tuple[pl.Series, IntArray]:
    """All names, in the order of their numbers, and the lineage of each taxon, as [taxon, rank].

    The last row is of what is no taxon.
    """
    found = [
        [name if name and taxonomy.may_be(name) else None for name in taxonomy.taxa[each].lineage]
        for each in taxa
    ]
    names = sorted({name for lineage in found for name in lineage if name})
    number: dict[str | None, int] = {name: place for place, name in enumerate(names)}
    rows = [[number.get(name, NO_TAXON) for name in lineage] for lineage in found]
    rows.append([NO_TAXON] * len(ROLL_UP_RANKS))
    return pl.Series(names, dtype=pl.String), np.array(rows, dtype=np.int32)


def _guess_arrays(part: pl.DataFrame, taxa: pl.Enum) -> tuple[IntArray, FloatArray]:
    """Lists as arrays [list, guess]: the numbers of their taxa (NONE: not known), confidences."""
    lengths = part["guesses"].list.len().fill_null(0).to_numpy()
    shape = (lengths.size, max(1, int(lengths.max(initial=0))))
    numbers, confidences = np.full(shape, NO_TAXON, dtype=np.int32), np.zeros(shape)
    flat = (
        part.filter(pl.col("guesses").list.len() > 0)
        .explode("guesses")
        .unnest("guesses")
        .select(
            number=pl.col("scientific_name")
            .cast(taxa, strict=False)
            .to_physical()
            .cast(pl.Int32)
            .fill_null(NO_TAXON),
            confidence=pl.col("confidence").cast(pl.Float64).fill_null(0),
        )
    )
    filled = np.arange(shape[1]) < lengths[:, np.newaxis]
    numbers[filled] = flat["number"].to_numpy()
    confidences[filled] = flat["confidence"].to_numpy()
    return numbers, confidences


def _lowest_taxa(
    guessed: IntArray, confidences: FloatArray, lineages: IntArray, roll_up: np.float32
) -> tuple[IntArray, NDArray[np.float32]]:
    """Of each list: the number of the name of its branch, or NONE, and the branch's sum."""
    taxon = np.full(len(guessed), NO_TAXON, dtype=np.int32)
    total = np.zeros(len(guessed), dtype=np.float32)
    for names in _by_rank(guessed, lineages):
        sums = np.zeros_like(confidences)
        for name, confidence in zip(names.T, confidences.T, strict=True):
            sums += np.where(names == name[:, np.newaxis], confidence[:, np.newaxis], 0)
        reached = np.where(names == NO_TAXON, np.float32(NO_TAXON), sums.astype(np.float32))
        highest = reached.max(axis=1)
        first = np.where(reached == highest[:, np.newaxis], names, np.iinfo(np.int32).max)
        found = (taxon == NO_TAXON) & (highest >= roll_up)
        taxon[found], total[found] = first.min(axis=1)[found], highest[found]
    return taxon, total


def _by_rank(guessed: IntArray, lineages: IntArray) -> Iterator[IntArray]:
    """The names of the guesses at each rank, as [list, guess], from species to class."""
    for rank in range(len(ROLL_UP_RANKS)):
        yield lineages[guessed, rank]
