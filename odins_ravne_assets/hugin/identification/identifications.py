"""Identify each classified detection: the species name that it counts as.

- An animal whose label is confident enough (`auto_ok`) and allowed by the project's list of species
  gets that label, with the classifier's confidence.
- The label of any other animal is rolled up: its five best guesses are summed along the branches of
  the taxonomy, and the lowest taxon whose sum reaches `roll_up` names it (0.4 fox and 0.3 dog are
  0.7 of the family Canidae), with that sum as confidence. Only allowed taxa count.
- An animal without a name after that is an "unknown animal", with the detector's confidence. So is
  one whose label names nothing, as "blank" does (`label_kinds`).
- People and vehicles are their own species. What the detector takes for an animal and the
  classifier, by the same two rules, for a person or a vehicle is one: `category` of the
  identification is that of the classifier then, whatever the project's list of species allows.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from odins_ravne_assets.hugin.identification.label_kinds import (
    KIND_TAXA,
    LabelKind,
    label_kind,
)
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
# People at work on the camera, by a reviewer.
CAMERA_SETUP, CAMERA_CALIBRATION = "camera_setup", "camera_calibration"
LEFT_OUT = pl.Enum([IN_CAMERA_STRIP, NEAR_PERSON, CAMERA_SETUP, CAMERA_CALIBRATION])
# The reasons for which what is left out shows a person, or a part of one.
PEOPLE_LEFT_OUT = (NEAR_PERSON, CAMERA_SETUP, CAMERA_CALIBRATION)
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
            later steps add. `category` is the detector's, or the classifier's of a person or a
            vehicle.
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
    labels = _label_names(table, taxonomy, names)
    category = _category_by_label(labels)
    accepted = _is_accepted(table, labels, taxonomy)
    rolled_up = _rolled_up_names(
        classifications.with_row_index("row").filter((category == "animal") & ~accepted),
        taxonomy,
        roll_up,
        names,
    )
    # Without DETECTION_COLUMNS: joins would copy their text row by row.
    identified = (
        table.lazy()
        .select("category", *CLASSIFICATION_COLUMNS)
        .with_columns(category)
        .with_row_index("row")
        .join(labels.lazy(), on=LABEL_COLUMNS, how="left", nulls_equal=True, maintain_order="left")
        .join(rolled_up, on="row", how="left", maintain_order="left")
        .with_columns(pl.coalesce("rolled_up_category", "category").alias("category"))
        .select("category", *_identification_columns(accepted, names))
        .collect()
    )
    rows = table.select(DETECTION_COLUMNS).with_columns(identified["category"])
    return Identifications(rows.hstack(identified.drop("category")), names)


_IS_ANIMAL = pl.col("category") == "animal"


def _category_by_label(labels: pl.DataFrame) -> pl.Expr:
    """The category: that of a confident label of a person or a vehicle, else the detector's."""
    category = pl.col("category")
    for kind in KIND_TAXA:
        if (labels["kind"] == kind).any():
            named = _IS_ANIMAL & pl.col("auto_ok") & _is_of_kind(kind, labels)
            category = pl.when(named).then(pl.lit(kind.value)).otherwise(category)
    return category.alias("category")


def _is_of_kind(kind: LabelKind, labels: pl.DataFrame) -> pl.Expr:
    """True for rows with a label of this kind."""
    of_kind = labels.filter(pl.col("kind") == kind)
    unnamed = of_kind.filter(pl.col("scientific_name").is_null())["label"]
    named = of_kind["scientific_name"].drop_nulls()
    has_label = pl.col("scientific_name").is_null() & pl.col("label").is_in(unnamed.implode())
    has_name = pl.col("scientific_name").is_in(named.implode())
    return has_label.fill_null(False) | has_name.fill_null(False)


def _is_accepted(table: pl.DataFrame, labels: pl.DataFrame, taxonomy: Taxonomy) -> pl.Expr:
    """True for rows whose label is confident enough, allowed by the project, and a name."""
    accepted = pl.col("auto_ok")
    if (labels["kind"] == LabelKind.NOTHING).any():
        accepted &= ~_is_of_kind(LabelKind.NOTHING, labels)
    if taxonomy.listed is None:
        return accepted
    found = table["scientific_name"].unique()
    allowed = pl.Series([name for name in found if taxonomy.allows(name)], dtype=pl.String)
    return accepted & pl.col("scientific_name").is_in(allowed.implode()).fill_null(False)


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
        "confidence": pl.when(is_rolled_up & ~_IS_ANIMAL)
        .then("confidence_sum")
        .when(~_IS_ANIMAL | accepted)
        .then("confidence")
        .otherwise(pl.coalesce("confidence_sum", "detection_confidence")),
        "ballot": pl.when(_IS_ANIMAL & is_rolled_up)
        .then("rolled_up")
        .when(_IS_ANIMAL)
        .then("label_name"),
        "ballot_weight": pl.when(_IS_ANIMAL & is_rolled_up)
        .then("confidence_sum")
        .when(_IS_ANIMAL & (pl.col("kind") == LabelKind.NOTHING))
        .then(0.0)
        .when(_IS_ANIMAL)
        .then("confidence"),
        "detection_confidence": pl.col("detection_confidence"),
        "repeat": pl.lit(False),
        "left_out": pl.lit(None),
    }
    return [columns[name].cast(kind).alias(name) for name, kind in IDENTIFICATION_COLUMNS.items()]


def _label_names(table: pl.DataFrame, taxonomy: Taxonomy, names: SpeciesNames) -> pl.DataFrame:
    """The name of each label: LABEL_COLUMNS, label_name and kind (null: an animal)."""
    # Sorted, so that every run assigns the same codes.
    labels = table.lazy().select(LABEL_COLUMNS).unique().collect().sort(LABEL_COLUMNS)

    def code(label: str | None, scientific_name: str | None) -> int:
        taxon = taxonomy.taxa.get(scientific_name or "")
        common_name = taxon.common_name if taxon and taxon.rank in SPECIES_RANKS else None
        return names.code(SpeciesName(common_name or label or UNKNOWN_ANIMAL, scientific_name))

    codes = [code(*row) for row in labels.iter_rows()]
    kinds = [label_kind(*row) for row in labels.iter_rows()]
    return labels.with_columns(
        label_name=pl.Series(codes, dtype=NAME_CODE), kind=pl.Series(kinds, dtype=pl.String)
    )


def _rolled_up_names(
    uncertain: pl.LazyFrame, taxonomy: Taxonomy, roll_up: float, names: SpeciesNames
) -> pl.LazyFrame:
    """The names of animals whose own label is not accepted.

    Columns: row, rolled_up, confidence_sum, and rolled_up_category of people and vehicles.
    """
    guessed = uncertain.filter(pl.col("top5").is_not_null()).select("row", "top5").collect()
    results = guessed.select("row").hstack(roll_up_guesses(guessed["top5"], taxonomy, roll_up))
    found = results.drop_nulls("taxon")
    categories = {taxon: kind.value for kind, taxon in KIND_TAXA.items()}
    codes = {
        taxon: names.code(
            CATEGORY_NAMES[categories[taxon]]
            if taxon in categories
            else preferred_name(taxon, taxonomy)
        )
        for taxon in found["taxon"].unique().sort()
    }
    return found.lazy().select(
        "row",
        "confidence_sum",
        rolled_up=pl.col("taxon").replace_strict(codes, return_dtype=NAME_CODE),
        rolled_up_category=pl.col("taxon").replace_strict(
            categories, default=None, return_dtype=pl.String
        ),
    )


def preferred_name(scientific_name: str, taxonomy: Taxonomy) -> SpeciesName:
    """Return the name of a taxon: its common name if it has one, else the scientific name."""
    taxon = taxonomy.taxa.get(scientific_name)
    return SpeciesName((taxon and taxon.common_name) or scientific_name, scientific_name)
