"""What each labelled box counts as, before visits are made of them.

- An animal whose label is sure enough (`auto_ok`), of an animal that can be here, counts as that
  label, with the classifier's confidence.
- Any other animal climbs: of its five best guesses, those on one branch of the taxonomy are
  added up, and the lowest branch whose sum reaches `roll_up` names it (0.4 fox and 0.3 dog are
  0.7 of the family Canidae), with that sum as confidence. Only what can be here is named.
- What then has no name is an "unknown animal", with the detector's confidence: that there is an
  animal is sure, which one is not.
- People and vehicles are their own species.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from odins_ravne_assets.hugin.identification.roll_up import roll_up_guesses
from odins_ravne_assets.hugin.identification.taxonomy import SPECIES_RANKS, Taxonomy


class SpeciesName(NamedTuple):
    """What something counts as."""

    species: str
    scientific_name: str | None


UNKNOWN_ANIMAL = "unknown animal"
UNKNOWN_NAME = SpeciesName(UNKNOWN_ANIMAL, None)
CATEGORY_NAMES = {
    "person": SpeciesName("person", "Homo sapiens"),
    "vehicle": SpeciesName("vehicle", None),
}

# Of the columns of `tables.CLASSIFICATIONS`, those that visits are made of.
DETECTION_COLUMNS = (
    "detection_id",
    "camera_id",
    "path",
    "kind",
    "frame_number",
    "box_number",
    "time_offset_ms",
    "captured_at",
    "utc_offset_minutes",
    "category",
)
# Of the same, what names are made of.
LABEL_COLUMNS = ("label", "scientific_name")
CLASSIFICATION_COLUMNS = (*LABEL_COLUMNS, "auto_ok", "confidence", "detection_confidence")
# Names are numbers in `SpeciesNames`: ten million texts would take most of the time.
NAME_CODE = pl.UInt32()
IDENTIFICATION_COLUMNS: dict[str, pl.DataType] = {
    "name": NAME_CODE,  # what it counts as
    "confidence": pl.Float32(),  # of that
    "ballot": NAME_CODE,  # what an animal votes for: its name, or a label that is not sure
    "ballot_weight": pl.Float32(),  # the classifier's confidence in it
    "repeat": pl.Boolean(),  # see hugin.repeats
}


class SpeciesNames:
    """Names and their numbers. Only grows."""

    def __init__(self, names: Iterable[SpeciesName] = ()) -> None:
        self._codes: dict[SpeciesName, int] = {}
        for name in (UNKNOWN_NAME, *CATEGORY_NAMES.values(), *names):
            self.code(name)

    def code(self, name: SpeciesName) -> int:
        """The number of a name, from 0; a new one if it has none."""
        return self._codes.setdefault(name, len(self._codes))

    def table(self) -> pl.DataFrame:
        """name, species, scientific_name; in order of the numbers."""
        schema = {"species": pl.String, "scientific_name": pl.String}
        table = pl.DataFrame(list(self._codes), schema=schema, orient="row")
        return table.with_row_index("name").with_columns(pl.col("name").cast(NAME_CODE))


@dataclass(frozen=True)
class Identifications:
    """Labelled boxes on their way to visits.

    Attributes:
        rows: the columns KEPT and COUNTED, and what later steps add; one row per labelled box.
        names: what the numbers in `name` and `ballot` mean.
    """

    rows: pl.DataFrame
    names: SpeciesNames


def identify(classifications: pl.LazyFrame, taxonomy: Taxonomy, roll_up: float) -> Identifications:
    """What each row of `tables.CLASSIFICATIONS` counts as, in their order.

    Args:
        taxonomy: names of taxa, and what can be here.
        roll_up: least sum of confidences on a branch.
    """
    names = SpeciesNames()
    table = classifications.select(*DETECTION_COLUMNS, *CLASSIFICATION_COLUMNS).collect()
    meanings = _label_names(table, taxonomy, names)
    sure = _is_accepted(table, taxonomy)
    branches = _rolled_up_names(
        classifications.with_row_index("row").filter(_IS_ANIMAL & ~sure), taxonomy, roll_up, names
    )
    # Apart from the texts that are kept: joins would carry them along, row by row.
    counted = (
        table.lazy()
        .select("category", *CLASSIFICATION_COLUMNS)
        .with_row_index("row")
        .join(meanings, on=LABEL_COLUMNS, how="left", nulls_equal=True, maintain_order="left")
        .join(branches, on="row", how="left", maintain_order="left")
        .select(_identification_columns(sure, names))
        .collect()
    )
    return Identifications(table.select(DETECTION_COLUMNS).hstack(counted), names)


_IS_ANIMAL = pl.col("category") == "animal"


def _is_accepted(table: pl.DataFrame, taxonomy: Taxonomy) -> pl.Expr:
    """Whether a label is sure enough, of an animal that can be here."""
    if taxonomy.listed is None:
        return pl.col("auto_ok")
    found = table["scientific_name"].unique()
    here = pl.Series([name for name in found if taxonomy.may_be(name)], dtype=pl.String)
    return pl.col("auto_ok") & pl.col("scientific_name").is_in(here.implode()).fill_null(False)


def _identification_columns(sure: pl.Expr, names: SpeciesNames) -> list[pl.Expr]:
    climbed = pl.col("branch").is_not_null()
    unknown = pl.lit(names.code(UNKNOWN_NAME), NAME_CODE)
    other = pl.col("category").replace_strict(
        {category: names.code(name) for category, name in CATEGORY_NAMES.items()},
        default=None,
        return_dtype=NAME_CODE,
    )
    counted = {
        "name": pl.when(~_IS_ANIMAL)
        .then(other)
        .when(sure)
        .then("meaning")
        .otherwise(pl.coalesce("branch", unknown)),
        "confidence": pl.when(~_IS_ANIMAL | sure)
        .then("confidence")
        .otherwise(pl.coalesce("branch_sum", "detection_confidence")),
        "ballot": pl.when(_IS_ANIMAL & climbed).then("branch").when(_IS_ANIMAL).then("meaning"),
        "ballot_weight": pl.when(_IS_ANIMAL & climbed)
        .then("branch_sum")
        .when(_IS_ANIMAL)
        .then("confidence"),
        "repeat": pl.lit(False),
    }
    return [counted[name].cast(kind).alias(name) for name, kind in IDENTIFICATION_COLUMNS.items()]


def _label_names(table: pl.DataFrame, taxonomy: Taxonomy, names: SpeciesNames) -> pl.LazyFrame:
    """What each label is called: the columns LABEL, meaning."""
    labels = (
        table.lazy().select(LABEL_COLUMNS).unique().collect().sort(LABEL_COLUMNS)
    )  # the same numbers in every run

    def meaning(label: str | None, scientific_name: str | None) -> int:
        taxon = taxonomy.taxa.get(scientific_name or "")
        preferred_name = taxon.common_name if taxon and taxon.rank in SPECIES_RANKS else None
        return names.code(SpeciesName(preferred_name or label or UNKNOWN_ANIMAL, scientific_name))

    codes = [meaning(*row) for row in labels.iter_rows()]
    return labels.lazy().with_columns(meaning=pl.Series(codes, dtype=NAME_CODE))


def _rolled_up_names(
    unsure: pl.LazyFrame, taxonomy: Taxonomy, roll_up: float, names: SpeciesNames
) -> pl.LazyFrame:
    """The branches that name animals whose own labels do not: row, branch, branch_sum."""
    guessed = unsure.filter(pl.col("top5").is_not_null()).select("row", "top5").collect()
    climbed = guessed.select("row").hstack(roll_up_guesses(guessed["top5"], taxonomy, roll_up))
    found = climbed.drop_nulls("taxon")
    codes = {
        taxon: names.code(preferred_name(taxon, taxonomy))
        for taxon in found["taxon"].unique().sort()
    }
    return found.lazy().select(
        "row",
        "branch_sum",
        branch=pl.col("taxon").replace_strict(codes, return_dtype=NAME_CODE),
    )


def preferred_name(scientific_name: str, taxonomy: Taxonomy) -> SpeciesName:
    """The name of a taxon: its common one, or the scientific."""
    taxon = taxonomy.taxa.get(scientific_name)
    return SpeciesName((taxon and taxon.common_name) or scientific_name, scientific_name)
