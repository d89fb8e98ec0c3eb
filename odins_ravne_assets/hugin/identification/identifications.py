"""Identify each classified detection: the species name that it counts as.

- An animal whose label is confident enough (`auto_ok`) and allowed by the project's list of species
  gets that label, with the classifier's confidence.
- The label of any other animal is rolled up: its five best guesses are summed along the branches of
  the taxonomy, and the lowest taxon whose sum reaches `roll_up` names it (0.4 fox and 0.3 dog are
  0.7 of the family Canidae), with that sum as confidence. Only allowed taxa count.
- An animal without a name after that is an "unknown animal", with the detector's confidence.
- People and vehicles are their own species.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from odins_ravne_assets.hugin.identification.roll_up import roll_up_guesses
from odins_ravne_assets.hugin.identification.taxonomy import SPECIES_RANKS, Taxonomy


class SpeciesName(NamedTuple):
    """The name of a species: the common name or label, and the scientific name if known."""

    species: str
    scientific_name: str | None


UNKNOWN_ANIMAL = "unknown animal"
UNKNOWN_NAME = SpeciesName(UNKNOWN_ANIMAL, None)
CATEGORY_NAMES = {
    "person": SpeciesName("person", "Homo sapiens"),
    "vehicle": SpeciesName("vehicle", None),
}

# Columns that identify a detection of a camera.
BOX_KEY = ["path", "frame_number", "box_number"]
# Columns of `tables.CLASSIFICATIONS` that observations are made of.
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
# Columns of `tables.CLASSIFICATIONS` that names are derived from.
LABEL_COLUMNS = ("label", "scientific_name")
CLASSIFICATION_COLUMNS = (*LABEL_COLUMNS, "auto_ok", "confidence", "detection_confidence")
# Names are stored as codes of `SpeciesNames`: text would dominate the time for ten million rows.
NAME_CODE = pl.UInt32()
# Why a detection is in no observation, although it is confident enough and not rejected.
IN_CAMERA_STRIP, NEAR_PERSON = "in_camera_strip", "near_person"
LEFT_OUT = pl.Enum([IN_CAMERA_STRIP, NEAR_PERSON])
IDENTIFICATION_COLUMNS: dict[str, pl.DataType] = {
    "name": NAME_CODE,
    "confidence": pl.Float32(),  # of the name
    "ballot": NAME_CODE,  # the name that an animal votes for: its own, or an uncertain label
    "ballot_weight": pl.Float32(),  # the classifier's confidence in the ballot
    "detection_confidence": pl.Float32(),
    "repeat": pl.Boolean(),  # see `repeat_detections`
    "left_out": LEFT_OUT,  # null: it counts
}


class SpeciesNames:
    """A code table of species names; codes are never removed."""

    def __init__(self, names: Iterable[SpeciesName] = ()) -> None:
        self._codes: dict[SpeciesName, int] = {}
        for name in (UNKNOWN_NAME, *CATEGORY_NAMES.values(), *names):
            self.code(name)

    def code(self, name: SpeciesName) -> int:
        """Return the code of a name, counted from 0; add the name if it is new."""
        return self._codes.setdefault(name, len(self._codes))

    def table(self) -> pl.DataFrame:
        """Return the columns name (the code), species and scientific_name, ordered by code."""
        schema = {"species": pl.String, "scientific_name": pl.String}
        table = pl.DataFrame(list(self._codes), schema=schema, orient="row")
        return table.with_row_index("name").with_columns(pl.col("name").cast(NAME_CODE))


@dataclass(frozen=True)
class Identifications:
    """Identified detections, the input of sequence votes, corrections and observations.

    Attributes:
        rows: one row per detection: DETECTION_COLUMNS, IDENTIFICATION_COLUMNS, and the columns that
            later steps add.
        names: the code table of the columns `name` and `ballot`.
    """

    rows: pl.DataFrame
    names: SpeciesNames


def identify(classifications: pl.LazyFrame, taxonomy: Taxonomy, roll_up: float) -> Identifications:
    """Identify each row of `tables.CLASSIFICATIONS`, in the same order.

    Args:
        taxonomy: the names of taxa, and the taxa that the project allows.
        roll_up: minimum sum of confidences with which a taxon names an animal.
    """
    names = SpeciesNames()
    table = classifications.select(*DETECTION_COLUMNS, *CLASSIFICATION_COLUMNS).collect()
    label_names = _label_names(table, taxonomy, names)
    accepted = _is_accepted(table, taxonomy)
    rolled_up = _rolled_up_names(
        classifications.with_row_index("row").filter(_IS_ANIMAL & ~accepted),
        taxonomy,
        roll_up,
        names,
    )
    # Without DETECTION_COLUMNS: joins would copy their text row by row.
    identified = (
        table.lazy()
        .select("category", *CLASSIFICATION_COLUMNS)
        .with_row_index("row")
        .join(label_names, on=LABEL_COLUMNS, how="left", nulls_equal=True, maintain_order="left")
        .join(rolled_up, on="row", how="left", maintain_order="left")
        .select(_identification_columns(accepted, names))
        .collect()
    )
    return Identifications(table.select(DETECTION_COLUMNS).hstack(identified), names)


_IS_ANIMAL = pl.col("category") == "animal"


def _is_accepted(table: pl.DataFrame, taxonomy: Taxonomy) -> pl.Expr:
    """True for rows whose label is confident enough and allowed by the project."""
    if taxonomy.listed is None:
        return pl.col("auto_ok")
    found = table["scientific_name"].unique()
    allowed = pl.Series([name for name in found if taxonomy.allows(name)], dtype=pl.String)
    return pl.col("auto_ok") & pl.col("scientific_name").is_in(allowed.implode()).fill_null(False)


def _identification_columns(accepted: pl.Expr, names: SpeciesNames) -> list[pl.Expr]:
    is_rolled_up = pl.col("rolled_up").is_not_null()
    unknown = pl.lit(names.code(UNKNOWN_NAME), NAME_CODE)
    other = pl.col("category").replace_strict(
        {category: names.code(name) for category, name in CATEGORY_NAMES.items()},
        default=None,
        return_dtype=NAME_CODE,
    )
    columns = {
        "name": pl.when(~_IS_ANIMAL)
        .then(other)
        .when(accepted)
        .then("label_name")
        .otherwise(pl.coalesce("rolled_up", unknown)),
        "confidence": pl.when(~_IS_ANIMAL | accepted)
        .then("confidence")
        .otherwise(pl.coalesce("confidence_sum", "detection_confidence")),
        "ballot": pl.when(_IS_ANIMAL & is_rolled_up)
        .then("rolled_up")
        .when(_IS_ANIMAL)
        .then("label_name"),
        "ballot_weight": pl.when(_IS_ANIMAL & is_rolled_up)
        .then("confidence_sum")
        .when(_IS_ANIMAL)
        .then("confidence"),
        "detection_confidence": pl.col("detection_confidence"),
        "repeat": pl.lit(False),
        "left_out": pl.lit(None),
    }
    return [columns[name].cast(kind).alias(name) for name, kind in IDENTIFICATION_COLUMNS.items()]


def _label_names(table: pl.DataFrame, taxonomy: Taxonomy, names: SpeciesNames) -> pl.LazyFrame:
    """The name of each label: LABEL_COLUMNS and label_name."""
    # Sorted, so that every run assigns the same codes.
    labels = table.lazy().select(LABEL_COLUMNS).unique().collect().sort(LABEL_COLUMNS)

    def code(label: str | None, scientific_name: str | None) -> int:
        taxon = taxonomy.taxa.get(scientific_name or "")
        common_name = taxon.common_name if taxon and taxon.rank in SPECIES_RANKS else None
        return names.code(SpeciesName(common_name or label or UNKNOWN_ANIMAL, scientific_name))

    codes = [code(*row) for row in labels.iter_rows()]
    return labels.lazy().with_columns(label_name=pl.Series(codes, dtype=NAME_CODE))


def _rolled_up_names(
    uncertain: pl.LazyFrame, taxonomy: Taxonomy, roll_up: float, names: SpeciesNames
) -> pl.LazyFrame:
    """The names of animals whose own label is not accepted: row, rolled_up, confidence_sum."""
    guessed = uncertain.filter(pl.col("top5").is_not_null()).select("row", "top5").collect()
    results = guessed.select("row").hstack(roll_up_guesses(guessed["top5"], taxonomy, roll_up))
    found = results.drop_nulls("taxon")
    codes = {
        taxon: names.code(preferred_name(taxon, taxonomy))
        for taxon in found["taxon"].unique().sort()
    }
    return found.lazy().select(
        "row",
        "confidence_sum",
        rolled_up=pl.col("taxon").replace_strict(codes, return_dtype=NAME_CODE),
    )


def preferred_name(scientific_name: str, taxonomy: Taxonomy) -> SpeciesName:
    """Return the name of a taxon: its common name if it has one, else the scientific name."""
    taxon = taxonomy.taxa.get(scientific_name)
    return SpeciesName((taxon and taxon.common_name) or scientific_name, scientific_name)
