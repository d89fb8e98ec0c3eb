"""Read Parquet files by their exact path; a damaged one is named.

Polars expands `*`, `?` and `[` in paths, so that results in a folder named `site [3]` were not
found. All code that reads files with polars does it here, or says `glob=False` itself.
"""

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
