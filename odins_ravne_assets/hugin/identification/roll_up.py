"""Roll up uncertain labels: sum the guesses of a classifier along the branches of the taxonomy.

0.4 fox and 0.3 dog are 0.7 of the family Canidae. Summing along a branch and the threshold of 0.65
follow SpeciesNet's ensemble (its `roll_up`).

People and vehicles (`label_kinds`) are no part of a branch: 0.4 human and 0.3 fox are no mammal. A
project's list of species does not apply to them.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from odins_ravne_assets.hugin.identification.label_kinds import KIND_TAXA, label_kind
from odins_ravne_assets.hugin.identification.taxonomy import ROLL_UP_RANKS, Taxonomy

# The scientific name of the taxon, null where none reached the threshold, and its sum.
ROLL_UP_SCHEMA: dict[str, pl.DataType] = {"taxon": pl.String(), "confidence_sum": pl.Float32()}
LISTS_PER_BATCH = 100_000
NO_TAXON = -1

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float64]


def roll_up_guesses(guesses: pl.Series, taxonomy: Taxonomy, threshold: float) -> pl.DataFrame:
    """Return the lowest taxon of each list of guesses whose sum reaches the threshold.

    It is one of KIND_TAXA for people and vehicles.

    Of several taxa of one rank, the highest sum wins, then the first in alphabetical order. Names
    that the taxonomy lacks or the project does not allow do not count.

    Args:
        guesses: lists of label, scientific_name and confidence, as in `top5`; may be null.
        taxonomy: the taxa, and those that the project allows.
        threshold: minimum sum of confidences.

    Returns:
        Rows of ROLL_UP_SCHEMA, one per list.
    """
    taxa = pl.Enum(sorted({*taxonomy.taxa, *KIND_TAXA.values()}))
    names, lineages = _lineages(taxa.categories, taxonomy)
    parts = [
        pl.DataFrame(
            {
                "taxon": names.gather(pl.Series(taxon, dtype=pl.Int64).replace(NO_TAXON, None)),
                "confidence_sum": total,
            },
            schema=ROLL_UP_SCHEMA,
        )
        for batch in guesses.to_frame("guesses").iter_slices(LISTS_PER_BATCH)
        for taxon, total in [
            _lowest_taxa(*_guess_arrays(batch, taxa), lineages, np.float32(threshold))
        ]
    ]
    return pl.concat([pl.DataFrame(schema=ROLL_UP_SCHEMA), *parts])


def _lineages(taxa: pl.Series, taxonomy: Taxonomy) -> tuple[pl.Series, IntArray]:
    """All names in the order of their codes, and the lineage of each taxon as [taxon, rank].

    The last row is the lineage of NO_TAXON.
    """
    above = [None] * (len(ROLL_UP_RANKS) - 1)
    found = [
        [each, *above]
        if each in KIND_TAXA.values()
        else [
            name if name and taxonomy.allows(name) else None for name in taxonomy.taxa[each].lineage
        ]
        for each in taxa
    ]
    names = sorted({name for lineage in found for name in lineage if name})
    codes: dict[str | None, int] = {name: code for code, name in enumerate(names)}
    rows = [[codes.get(name, NO_TAXON) for name in lineage] for lineage in found]
    rows.append([NO_TAXON] * len(ROLL_UP_RANKS))
    return pl.Series(names, dtype=pl.String), np.array(rows, dtype=np.int32)


def _guess_arrays(batch: pl.DataFrame, taxa: pl.Enum) -> tuple[IntArray, FloatArray]:
    """Guesses as arrays [list, guess]: codes of their taxa (or NO_TAXON), and confidences."""
    lengths = batch["guesses"].list.len().fill_null(0).to_numpy()
    shape = (lengths.size, max(1, int(lengths.max(initial=0))))
    codes, confidences = np.full(shape, NO_TAXON, dtype=np.int32), np.zeros(shape)
    flat = (
        batch.filter(pl.col("guesses").list.len() > 0)
        .explode("guesses")
        .unnest("guesses")
        .select(
            code=_scientific_names(batch["guesses"])
            .cast(taxa, strict=False)
            .to_physical()
            .cast(pl.Int32)
            .fill_null(NO_TAXON),
            confidence=pl.col("confidence").cast(pl.Float64).fill_null(0),
        )
    )
    filled = np.arange(shape[1]) < lengths[:, np.newaxis]
    codes[filled] = flat["code"].to_numpy()
    confidences[filled] = flat["confidence"].to_numpy()
    return codes, confidences


def _scientific_names(guesses: pl.Series) -> pl.Expr:
    """The scientific name of each guess; of people and vehicles, that of KIND_TAXA."""
    names = pl.col("scientific_name")
    pairs = (
        guesses.explode().drop_nulls().struct.unnest().select("label", "scientific_name").unique()
    )
    for kind, taxon in KIND_TAXA.items():
        of_kind = pairs.filter(
            pl.Series([label_kind(*row) == kind for row in pairs.iter_rows()], dtype=pl.Boolean)
        )
        for label, name in of_kind.iter_rows():
            same = pl.col("label").eq_missing(label) & pl.col("scientific_name").eq_missing(name)
            names = pl.when(same).then(pl.lit(taxon)).otherwise(names)
    return names


def _lowest_taxa(
    guessed: IntArray, confidences: FloatArray, lineages: IntArray, threshold: np.float32
) -> tuple[IntArray, NDArray[np.float32]]:
    """The code of each list's taxon, or NO_TAXON, and its sum of confidences."""
    taxon = np.full(len(guessed), NO_TAXON, dtype=np.int32)
    total = np.zeros(len(guessed), dtype=np.float32)
    for names in _by_rank(guessed, lineages):
        sums = np.zeros_like(confidences)
        for name, confidence in zip(names.T, confidences.T, strict=True):
            sums += np.where(names == name[:, np.newaxis], confidence[:, np.newaxis], 0)
        scores = np.where(names == NO_TAXON, np.float32(NO_TAXON), sums.astype(np.float32))
        highest = scores.max(axis=1)
        first = np.where(scores == highest[:, np.newaxis], names, np.iinfo(np.int32).max)
        found = (taxon == NO_TAXON) & (highest >= threshold)
        taxon[found], total[found] = first.min(axis=1)[found], highest[found]
    return taxon, total


def _by_rank(guessed: IntArray, lineages: IntArray) -> Iterator[IntArray]:
    """The names of the guesses at each rank, as [list, guess], from species to class."""
    for rank in range(len(ROLL_UP_RANKS)):
        yield lineages[guessed, rank]
