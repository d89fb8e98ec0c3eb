"""Who is a person, for everything that is shared: named by a detector, a label or a reviewer."""

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import (
    BOX_KEY,
    CATEGORY_NAMES,
    PEOPLE_LEFT_OUT,
)
from odins_ravne_assets.hugin.identification.label_kinds import PEOPLE_TAXA, PERSON_LABELS

HUMAN_SCIENTIFIC_NAME = CATEGORY_NAMES["person"].scientific_name


def is_person() -> pl.Expr:
    """Return True for rows of `tables.OBSERVATIONS` that are people, by model or reviewer."""
    named = pl.col("scientific_name").eq_missing(pl.lit(HUMAN_SCIENTIFIC_NAME))
    return named.or_(pl.col("category") == "person")


def is_labelled_person() -> pl.Expr:
    """Return True for rows of `tables.CLASSIFICATIONS` that a label names a person.

    At any confidence: a label too uncertain to name a visit still tells of a person.
    """
    names = pl.concat_list(
        pl.col(name).fill_null("").str.strip_chars().str.to_lowercase()
        for name in ("label", "scientific_name")
    )
    return (pl.col("category") == "person") | names.list.eval(
        pl.element().is_in(PERSON_LABELS | PEOPLE_TAXA)
    ).list.any()


def people_boxes(
    observations: pl.LazyFrame, labels: pl.LazyFrame, left_out: pl.LazyFrame
) -> pl.LazyFrame:
    """Return BOX_KEY of people by an observation or by a label, and of probable parts of people.

    A reviewer who names an animal overrules the label.

    Args:
        observations: rows of `tables.OBSERVATIONS`.
        labels: rows of `tables.CLASSIFICATIONS`.
        left_out: rows of `tables.LEFT_OUT_DETECTIONS`.

    Returns:
        The keys; box_number is null for a person whom a reviewer saw and no model found.
    """
    reviewed = pl.col("label_source") == "reviewer"
    animals = _boxes(observations.filter(~is_person(), reviewed))
    people = [
        _boxes(observations.filter(is_person())),
        labels.filter(is_labelled_person()).select(BOX_KEY).join(animals, on=BOX_KEY, how="anti"),
        left_out.filter(pl.col("reason").is_in(PEOPLE_LEFT_OUT)).select(BOX_KEY),
    ]
    return pl.concat(people)


def _boxes(observations: pl.LazyFrame) -> pl.LazyFrame:
    """BOX_KEY of every detection in the observations."""
    return (
        observations.select("detection_timeline")
        .explode("detection_timeline")
        .select(pl.col("detection_timeline").struct.field(*BOX_KEY))
    )


def reviewed_people(corrections: pl.DataFrame) -> pl.DataFrame:
    """Return content_hash of the media in which a reviewer named a person.

    Args:
        corrections: rows of `tables.CORRECTIONS`.
    """
    return corrections.filter(pl.col("category") == "person").select("content_hash").unique()
