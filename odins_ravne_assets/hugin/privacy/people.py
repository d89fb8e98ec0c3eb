"""Who is a person, for everything that is shared: named by a detector, a label or a reviewer."""

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import CATEGORY_NAMES
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


def reviewed_people(corrections: pl.DataFrame) -> pl.DataFrame:
    """Return content_hash of the media in which a reviewer named a person.

    Args:
        corrections: rows of `tables.CORRECTIONS`.
    """
    return corrections.filter(pl.col("category") == "person").select("content_hash").unique()
