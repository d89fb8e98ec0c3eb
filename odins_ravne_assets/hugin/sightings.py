"""What each labelled box counts as, before visits are made of them.

- An animal whose label is sure enough (`auto_ok`), of an animal that can be here, counts as that
  label, with the classifier's confidence.
- Any other animal climbs: of its five best guesses, those on one branch of the taxonomy are
  added up, and the lowest branch whose sum reaches `roll_up` names it (0.4 fox and 0.3 dog are
  0.7 of the family Canidae), with that sum as confidence. Only what can be here is named.
- What then has no name is an "unknown animal", with the detector's confidence: that there is an
  animal is sure, which one is not.
- People and vehicles are their own species.

Adding up over a branch and the level of 0.65 are SpeciesNet's (its ensemble, `roll_up`).
"""

from typing import Any

import polars as pl

from odins_ravne_assets.hugin.taxonomy import (
    ROLL_UP,
    SPECIES_RANKS,
    SpeciesKnowledge,
)
from odins_ravne_assets.munin import tables

UNKNOWN_ANIMAL = "unknown animal"
HUMAN = "Homo sapiens"

# What the steps from here to the visits hand on, one row per labelled box.
SIGHTINGS = pl.Schema(
    {
        "detection_id": pl.String,
        "camera_id": pl.String,
        "path": pl.String,
        "kind": pl.String,
        "frame_number": pl.Int32,
        "box_number": pl.Int32,
        "time_offset_ms": pl.Int64,
        "captured_at": tables.TIME,
        "utc_offset_minutes": pl.Int16,
        "category": pl.String,
        "species": pl.String,  # what it counts as
        "scientific_name": pl.String,
        "confidence": pl.Float32,  # of that
        "ballot": pl.String,  # what it votes for: the same, or a label that is not sure; animals
        "ballot_name": pl.String,  # the ballot's scientific name
        "ballot_weight": pl.Float32,  # the classifier's confidence in it
    }
)


def sightings(
    classifications: pl.LazyFrame, knowledge: SpeciesKnowledge, roll_up: float
) -> pl.LazyFrame:
    """Rows of SIGHTINGS, one for each of `tables.CLASSIFICATIONS`, in their order.

    Args:
        knowledge: names of taxa, and what can be here.
        roll_up: least sum of confidences on a branch.
    """
    rows = classifications.join(
        _meanings(classifications, knowledge),
        on=["label", "scientific_name"],
        how="left",
        nulls_equal=True,
        maintain_order="left",
    )
    rows = rows.with_columns(
        named=(pl.col("category") == "animal") & pl.col("auto_ok") & pl.col("may_be")
    ).join(
        _branches(rows, knowledge, roll_up),
        on=["path", "detection_id"],
        how="left",
        maintain_order="left",
    )
    return rows.select(_as_counted())


def _as_counted() -> list[pl.Expr]:
    animal, named = pl.col("category") == "animal", pl.col("named")
    climbed = animal & ~named & pl.col("branch").is_not_null()
    person = pl.col("category") == "person"
    cases = {
        "species": ("meaning", "branch", pl.lit(UNKNOWN_ANIMAL), "category"),
        "confidence": ("confidence", "branch_sum", "detection_confidence", "confidence"),
    }
    counted = {
        column: pl.when(named)
        .then(first)
        .when(climbed)
        .then(second)
        .when(animal)
        .then(third)
        .otherwise(last)
        for column, (first, second, third, last) in cases.items()
    }
    counted["scientific_name"] = (
        pl.when(named)
        .then("scientific_name")
        .when(climbed)
        .then("branch_name")
        .when(person)
        .then(pl.lit(HUMAN))
    )
    ballots = {
        "ballot": ("branch", "meaning"),
        "ballot_name": ("branch_name", "scientific_name"),
        "ballot_weight": ("branch_sum", "confidence"),
    }
    counted |= {
        column: pl.when(climbed).then(first).when(animal).then(second)
        for column, (first, second) in ballots.items()
    }
    return [
        counted.get(name, pl.col(name)).cast(kind).alias(name) for name, kind in SIGHTINGS.items()
    ]


def _meanings(classifications: pl.LazyFrame, knowledge: SpeciesKnowledge) -> pl.LazyFrame:
    """Of each label: what it is called, and whether it can be here."""
    labels = classifications.select("label", "scientific_name").unique().collect()

    def meaning(label: str, scientific_name: str | None) -> tuple[str, bool]:
        taxon = knowledge.taxa.get(scientific_name or "")
        called = taxon.common_name if taxon and taxon.rank in SPECIES_RANKS else None
        return called or label, knowledge.may_be(scientific_name)

    found = [meaning(*row) for row in labels.iter_rows()]
    return labels.with_columns(
        meaning=pl.Series([called for called, _ in found], dtype=pl.String),
        may_be=pl.Series([may_be for _, may_be in found], dtype=pl.Boolean),
    ).lazy()


def _branches(rows: pl.LazyFrame, knowledge: SpeciesKnowledge, roll_up: float) -> pl.LazyFrame:
    """The branch that names a row whose own label does not: path, detection_id, branch,
    branch_name (scientific), branch_sum. Rows without one are left out."""
    guesses = (
        rows.filter(
            (pl.col("category") == "animal")
            & ~(pl.col("auto_ok") & pl.col("may_be"))
            & pl.col("top5").is_not_null()
        )
        .select("path", "detection_id", "top5")
        .explode("top5")
        .unnest("top5")
        .join(_lineages(knowledge), on="scientific_name")
        .collect()
    )
    found = [
        guesses.filter(pl.col(rank).is_not_null())
        .group_by("path", "detection_id", pl.col(rank).alias("branch_name"))
        .agg(branch_sum=pl.col("confidence").cast(pl.Float64).sum().cast(pl.Float32))
        .filter(pl.col("branch_sum") >= pl.lit(roll_up, pl.Float32))
        .with_columns(climb=pl.lit(steps))
        for steps, rank in enumerate(ROLL_UP)
    ]
    return (
        pl.concat(found)
        .sort("climb", "branch_sum", "branch_name", descending=[False, True, False])
        .unique(["path", "detection_id"], keep="first")
        .lazy()
        .join(_called(knowledge), on="branch_name")
        .select("path", "detection_id", "branch", "branch_name", "branch_sum")
    )


def _lineages(knowledge: SpeciesKnowledge) -> pl.LazyFrame:
    """The lineage of each taxon, as far as it can be here."""
    rows: list[dict[str, Any]] = [
        {"scientific_name": name}
        | {
            rank: ancestor if ancestor and knowledge.may_be(ancestor) else None
            for rank, ancestor in zip(ROLL_UP, taxon.lineage, strict=True)
        }
        for name, taxon in knowledge.taxa.items()
    ]
    return pl.LazyFrame(rows, schema=dict.fromkeys(("scientific_name", *ROLL_UP), pl.String))


def _called(knowledge: SpeciesKnowledge) -> pl.LazyFrame:
    """What each branch is called."""
    names = {name for taxon in knowledge.taxa.values() for name in taxon.lineage if name}
    called = [
        (name, (taxon.common_name if (taxon := knowledge.taxa.get(name)) else None) or name)
        for name in sorted(names)
    ]
    return pl.LazyFrame(
        called, schema={"branch_name": pl.String, "branch": pl.String}, orient="row"
    )
