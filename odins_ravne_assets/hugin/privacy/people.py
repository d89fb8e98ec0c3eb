"""Who is a person, for everything that is shared: named by a detector, a label or a reviewer."""

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import (
    BOX_KEY,
    CATEGORY_NAMES,
    PEOPLE_LEFT_OUT,
)
from odins_ravne_assets.hugin.identification.label_kinds import PEOPLE_TAXA, PERSON_LABELS

BOX = ("x", "y", "w", "h")
# Share of the picture by which two positions of one box may differ, of two versions of a detector.
SAME_BOX = 0.01
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
    observations: pl.LazyFrame,
    labels: pl.LazyFrame,
    left_out: pl.LazyFrame,
    reviewed: pl.LazyFrame | None = None,
) -> pl.LazyFrame:
    """Return BOX_KEY of people by an observation or by a label, and of probable parts of people.

    A reviewer who names an animal overrules the label.

    Args:
        observations: rows of `tables.OBSERVATIONS`.
        labels: rows of `tables.CLASSIFICATIONS`.
        left_out: rows of `tables.LEFT_OUT_DETECTIONS`.
        reviewed: the result of `reviewed_people_boxes`; visits may lack them.

    Returns:
        The keys; box_number is null for a person whom a reviewer saw and no model found.
    """
    by_reviewer = pl.col("label_source") == "reviewer"
    animals = _boxes(observations.filter(~is_person(), by_reviewer))
    people = [
        _boxes(observations.filter(is_person())),
        labels.filter(is_labelled_person()).select(BOX_KEY).join(animals, on=BOX_KEY, how="anti"),
        left_out.filter(pl.col("reason").is_in(PEOPLE_LEFT_OUT)).select(BOX_KEY),
    ]
    if reviewed is not None:
        people.append(reviewed.join(animals, on=BOX_KEY, how="anti"))
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


def reviewed_people_boxes(corrections: pl.DataFrame, detections: pl.LazyFrame) -> pl.LazyFrame:
    """Return BOX_KEY of the detections that a reviewer named a person, whether in a visit or not.

    Args:
        corrections: rows of `tables.CORRECTIONS`.
        detections: rows of `tables.DETECTIONS`.
    """
    named = corrections.lazy().filter(pl.col("category") == "person")
    columns = {f"named_{name}": name for name in ("frame_number", *BOX)}
    pairs = detections.join(named.select("content_hash", **columns), on="content_hash", how="inner")
    same_box = pl.all_horizontal(
        pl.col("frame_number") == pl.col("named_frame_number"),
        *((pl.col(name) - pl.col(f"named_{name}")).abs() < SAME_BOX for name in BOX),
    )
    whole_medium = pl.col("named_x").is_null()
    return pairs.filter(whole_medium | same_box.fill_null(False)).select(BOX_KEY).unique()
