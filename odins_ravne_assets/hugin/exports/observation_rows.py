"""`observations.csv` and `observations.xlsx`: the observations for spreadsheets and reviewers.

One row per observation, with the columns of `tables.OBSERVATIONS` except the timeline. Times are
ISO 8601 with the camera's offset, flags are separated by a bar. The last columns are empty, for the
labels of a reviewer; either file can be imported as corrections (`review.review_files`).

Both files have the same rows. Texts that a spreadsheet would run as a formula are marked, control
characters are escaped.
"""

from pathlib import Path

import polars as pl

from odins_ravne_assets.hugin.formats import end_time, iso_time, with_printable_texts
from odins_ravne_assets.hugin.identification.taxonomy import Taxonomy
from odins_ravne_assets.hugin.review.labels import OFFERED_LABELS
from resources.spreadsheets.formula_marks import FORMULA_PATTERN, MARK, mark
from resources.spreadsheets.xlsx_writer import MAX_ROWS, Sheet, SheetColumn, write_workbook

LABEL_COLUMN = "confirmed_species"
REVIEWER_COLUMNS = (LABEL_COLUMN, "comment")
MAX_XLSX_ROWS = MAX_ROWS - 1  # below the head
ROWS_AT_ONCE = 10_000
# Widths in characters; other columns have that of their name.
WIDTHS = {
    **dict.fromkeys(("observation_id", "camera_id", "category"), 19),
    **dict.fromkeys(("species", "scientific_name", "machine_species", "reviewed_by"), 22),
    **dict.fromkeys(("start_time", "end_time", "confirmed_species"), 26),
    **dict.fromkeys(("first_medium", "comment"), 40),
    **dict.fromkeys(("flags", "first_detection"), 30),
}
HELP = (
    "To label visits: in the column confirmed_species of the sheet observations, choose or write a "
    "name.",
    "A name is a common or a scientific name of an animal. The sheet names lists names to choose "
    "from; any other name of the taxonomy is possible.",
    "Leave confirmed_species empty where you do not know. An empty cell changes nothing.",
    "Write nothing if there is no animal, machine to withdraw a label.",
    "Write setup, pickup, staff or calibration for people at work on the camera: never a visit.",
    "The column comment is for remarks on a label. They are stored with it.",
    "Rows may be sorted, filtered and deleted. Do not change the columns observation_id and "
    "first_detection: they identify the visit.",
    "To import the labels, save this file and run:  munin correct RESULTS observations.xlsx --by "
    '"Your Name"',
    "RESULTS is the folder above stage3. Fill in more rows later, and import the file again.",
    "Times are those of the camera, with its offset from UTC.",
    "A text that begins with ' is a text that a spreadsheet would run as a formula without it.",
)


def observation_rows(observations: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of both files for rows of `tables.OBSERVATIONS`."""
    rows = observations.select(
        "observation_id",
        "camera_id",
        "category",
        "species",
        "scientific_name",
        "taxon_rank",
        "count",
        iso_time("start_at", "utc_offset_minutes", "").alias("start_time"),
        end_time("").alias("end_time"),
        "duration_seconds",
        pl.col("max_confidence", "avg_confidence", "vote_share").cast(pl.Float64).round(4),
        "detection_count",
        "frame_count",
        "media_count",
        pl.col("source_video").alias("first_medium"),
        "label_source",
        "machine_species",
        "reviewed_by",
        "reviewed_on",
        "needs_review",
        pl.col("flags").list.join("|"),
        "first_detection",
        *(pl.lit(None, pl.String).alias(column) for column in REVIEWER_COLUMNS),
    )
    # Escapes come first: a tab in front becomes text.
    printable = with_printable_texts(rows)
    texts = [name for name, kind in printable.schema.items() if kind == pl.String]
    return printable.with_columns(_marked(name) for name in texts)


def _marked(column: str) -> pl.Expr:
    """A text column in which texts that would be formulas are marked, as by `mark`."""
    text = pl.col(column)
    is_formula = text.str.contains(FORMULA_PATTERN)
    return pl.when(is_formula).then(MARK + text).otherwise(text).alias(column)


def write_observations_xlsx(rows: pl.DataFrame, taxonomy: Taxonomy, path: Path) -> None:
    """Write the rows of `observation_rows`, with sheets of names to choose from and of help.

    Raises:
        ValueError: there are more than MAX_XLSX_ROWS.
    """
    offered = offered_names(taxonomy)
    names = Sheet(
        "names",
        (SheetColumn("names to choose from", 30),),
        [(each,) for each in offered],
        len(offered),
    )
    columns = tuple(
        SheetColumn(
            name,
            WIDTHS.get(name, len(name) + 3),
            choices=names if name == LABEL_COLUMN else None,
            to_fill=name in REVIEWER_COLUMNS,
        )
        for name in rows.columns
    )
    pieces = rows.iter_slices(ROWS_AT_ONCE)
    table = Sheet(
        "observations", columns, (row for piece in pieces for row in piece.iter_rows()), rows.height
    )
    guide = Sheet("help", (SheetColumn("Help", 120),), [(line,) for line in HELP], len(HELP))
    write_workbook(path, [table, names, guide])


def offered_names(taxonomy: Taxonomy) -> list[str]:
    """Return the names to choose from: words for what is no species, then the project's taxa.

    Without a list of the project, all of the taxonomy.
    """
    taxa = taxonomy.taxa.values()
    listed = [
        each for each in taxa if taxonomy.listed is None or each.scientific_name in taxonomy.listed
    ]
    names = {each.common_name or each.scientific_name for each in listed}
    # Names that differ only by case have an order, too: a set has none.
    in_order = sorted(names - set(OFFERED_LABELS), key=lambda name: (name.casefold(), name))
    return [*OFFERED_LABELS, *map(mark, in_order)]
