"""Summary of observations by species: for `report.json`, and as a Markdown table."""

import re

import polars as pl

from odins_ravne_assets.hugin.formats import FIRST_TIME, LAST_TIME, first_and_last, with_instants
from odins_ravne_assets.hugin.identification.identifications import UNKNOWN_ANIMAL
from odins_ravne_assets.hugin.identification.taxonomy import SPECIES_RANKS

SPECIES_KEY = ["category", "species"]
# True for rows of `tables.OBSERVATIONS` that name an animal species, not a family; names that the
# taxonomy does not know count as species.
IS_ANIMAL_SPECIES = (
    (pl.col("category") == "animal")
    & (pl.col("species") != UNKNOWN_ANIMAL)
    & pl.col("taxon_rank").is_in(SPECIES_RANKS).fill_null(True)
)


def species_summary(observations: pl.DataFrame) -> pl.DataFrame:
    """Return one row per species, ordered by number of observations, descending.

    Columns: species, scientific_name, category, observations, detections, max_in_one_frame,
    max_confidence (four digits), needs_review (number of observations), first_time, last_time
    (ISO 8601). `max_in_one_frame` is the largest number of boxes of the species in one frame, the
    minimum number of individuals (MaxN).
    """
    return (
        _aggregate_species(observations)
        .select(
            "species",
            "scientific_name",
            "category",
            "observations",
            "detections",
            "max_in_one_frame",
            pl.col("max_confidence").cast(pl.Float64).round(4),
            "needs_review",
            FIRST_TIME,
            LAST_TIME,
        )
        .sort("observations", *SPECIES_KEY, descending=[True, False, False])
    )


def species_table(observations: pl.DataFrame) -> str:
    """Return the species of `tables.OBSERVATIONS` as a Markdown table, most frequent first.

    Times are those of the camera's clock.
    """
    lines = [
        "| Species | Scientific name | Visits | First | Last | Best confidence | To review |",
        "|---|---|--:|---|---|--:|--:|",
    ]
    totals = _aggregate_species(observations).sort(
        "observations", *SPECIES_KEY, descending=[True, False, False]
    )
    for row in totals.iter_rows(named=True):
        latin = row["scientific_name"]
        cells = (
            _escape_markdown(row["species"]),
            f"*{_escape_markdown(latin)}*" if latin else "",
            row["observations"],
            *(f"{at:%Y-%m-%d %H:%M}" if at else "" for at in (row["first_at"], row["last_at"])),
            f"{row['max_confidence']:.2f}",
            row["needs_review"],
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def _aggregate_species(observations: pl.DataFrame) -> pl.DataFrame:
    timed = with_instants(observations, "start_at", "end_at")
    return timed.group_by(SPECIES_KEY).agg(
        pl.col("scientific_name").drop_nulls().min(),
        pl.len().alias("observations"),
        pl.col("detection_count").cast(pl.Int64).sum().alias("detections"),
        pl.col("count").max().alias("max_in_one_frame"),
        pl.col("max_confidence").max(),
        pl.col("needs_review").sum(),
        *first_and_last("start_at", "end_at"),
    )


def _escape_markdown(text: str) -> str:
    """Escape text for a cell of a Markdown table."""
    return re.sub(r"([\\`*_\[\]<>|~&$#!])", r"\\\1", " ".join(text.split()))
