"""Read Parquet files by their exact path; a damaged one is named.

Polars expands `*`, `?` and `[` in paths, so that results in a folder named `site [3]` were not
found. All code that reads files with polars does it here, or says `glob=False` itself.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import polars as pl

from resources.errors import DamagedFileError

# What polars raises when it reads a damaged file; the last one is a bug of its decoder.
READ_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


def scan_parquet(source: Path | list[Path], **options: Any) -> pl.LazyFrame:
    """Return `polars.scan_parquet` of these paths, whatever characters they have.

    Raises:
        DamagedFileError: the footer of a file is damaged or missing.
    """
    for path in source if isinstance(source, list) else [source]:
        read_schema(path)
    return pl.scan_parquet(source, glob=False, **options)


def read_parquet(source: Path, **options: Any) -> pl.DataFrame:
    """Return `polars.read_parquet` of this path, whatever characters it has.

    Raises:
        DamagedFileError: the file is damaged, or lacks a column that `options` name.
    """
    try:
        return pl.read_parquet(source, glob=False, **options)
    except READ_ERRORS as error:
        raise DamagedFileError(source, one_line_reason(error)) from None


def scan_known_columns(source: Path, schema: pl.Schema, added: Collection[str]) -> pl.LazyFrame:
    """Scan a stored table in the form that this version knows: the columns of `schema`, in order.

    Columns of newer versions are ignored.

    Args:
        added: columns that earlier versions did not write; they are null there.

    Raises:
        DamagedFileError: the file is damaged, lacks another column, or a column has another type.
    """
    found = read_schema(source)
    for name, kind in schema.items():
        if name not in found and name not in added:
            raise DamagedFileError(source, f"column {name} is missing")
        if name in found and found[name] != kind:
            raise DamagedFileError(source, f"column {name} is {found[name]}, not {kind}")
    columns = [
        pl.col(name) if name in found else pl.lit(None, kind).alias(name)
        for name, kind in schema.items()
    ]
    return pl.scan_parquet(source, glob=False).select(columns)


def read_known_columns(source: Path, schema: pl.Schema, added: Collection[str]) -> pl.DataFrame:
    """Read a stored table; see `scan_known_columns`, also for the errors."""
    try:
        return scan_known_columns(source, schema, added).collect()
    except READ_ERRORS as error:
        raise DamagedFileError(source, one_line_reason(error)) from None


def read_schema(source: Path) -> pl.Schema:
    """Return the names and types of a file's columns.

    Raises:
        DamagedFileError: the file is damaged.
    """
    try:
        return pl.scan_parquet(source, glob=False).collect_schema()
    except READ_ERRORS as error:
        raise DamagedFileError(source, one_line_reason(error)) from None


def one_line_reason(error: BaseException) -> str:
    """Return the first line of an error of polars."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
