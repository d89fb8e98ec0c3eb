"""Spreadsheets of a study: CSV files, read row by row into models, with mistakes told by line."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)


def csv_validator(model: type[BaseModel]) -> BeforeValidator:
    """The rows of the CSV file that a profile names, each one valid; what is rows already stays."""

    def read(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        path = Path(value).expanduser()
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
        return parse_csv(model, data, str(path))

    return BeforeValidator(read)


def parse_csv(model: type[Model], data: bytes, shown: str) -> list[Model]:
    """The rows of a CSV file's content; empty cells are left out.

    Args:
        shown: the file's name for people.

    Raises:
        ValueError: it cannot be read, or a row is not allowed; names the file, the line and the
            column.
    """
    return [_valid(model, row, shown, line) for line, row in _rows(data, shown)]


def _rows(data: bytes, shown: str) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        # utf-8-sig: spreadsheets put a byte order mark in front.
        text = io.StringIO(data.decode("utf-8-sig"), newline="")
        reader = csv.DictReader(text, strict=True)
        rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{shown} cannot be read: {error}") from None
    if not rows:
        raise ValueError(f"{shown} has no row below its first line")
    for line, row in rows:
        if None in row:
            raise ValueError(
                f"{shown}, line {line}: has more values than the first line has columns"
            )
        yield line, {str(name).strip(): (value or "").strip() for name, value in row.items()}


def _valid(model: type[Model], cells: dict[str, Any], shown: str, line: int) -> Model:
    try:
        return model.model_validate({name: value for name, value in cells.items() if value})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{shown}, line {line}: {_said(first)}") from None


def _said(finding: ErrorDetails) -> str:
    column = ".".join(str(part) for part in finding["loc"])
    if finding["type"] == "missing":
        return f"{column} is missing"
    if finding["type"] == "extra_forbidden":
        return f"{column} is no column of this table"
    ours = finding["type"] == "value_error"
    why = str(finding["ctx"]["error"]) if ours else finding["msg"].lower()
    return f"{column} {finding['input']!r} is not allowed: {why}" if column else why
