"""Read Parquet files by their exact path.

Polars expands `*`, `?` and `[` in paths, so that results in a folder named `site [3]` were not
found. All code that reads files with polars does it here, or says `glob=False` itself.
"""

from pathlib import Path
from typing import Any

import polars as pl


def scan_parquet(source: Path | list[Path], **options: Any) -> pl.LazyFrame:
    """Return `polars.scan_parquet` of these paths, whatever characters they have."""
    return pl.scan_parquet(source, glob=False, **options)


def read_parquet(source: Path, **options: Any) -> pl.DataFrame:
    """Return `polars.read_parquet` of this path, whatever characters it has."""
    return pl.read_parquet(source, glob=False, **options)


def read_schema(source: Path) -> pl.Schema:
    """Return the names and types of a file's columns.

    Raises:
        polars.exceptions.PolarsError: it is damaged.
    """
    return scan_parquet(source).collect_schema()
