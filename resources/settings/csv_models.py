"""Parse CSV files into pydantic models; errors name the file, line and column."""

import csv
import io
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic_core import ErrorDetails

from resources.errors import UsageError
from resources.user_path import user_path

MAX_SHOWN = 200  # characters of a value in an error

Model = TypeVar("Model", bound=BaseModel)


def csv_validator(model: type[BaseModel]) -> BeforeValidator:
    """Return a validator that reads the CSV file of a setting; parsed rows pass through."""

    def read(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            path = user_path(value)
        except UsageError as error:
            raise ValueError(str(error)) from None
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
        return parse_csv(model, data, str(path))

    return BeforeValidator(read)


def parse_csv(model: type[Model], data: bytes, name: str) -> list[Model]:
    """Parse the content of a CSV file; empty cells are left out.

    Args:
        name: of the file, for messages.

    Raises:
        ValueError: it cannot be read, or a row is invalid; names the file, line and column.
    """
    return [_valid(model, row, name, line) for line, row in _rows(data, name)]


def _rows(data: bytes, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        # utf-8-sig: spreadsheets put a byte order mark in front.
        text = io.StringIO(data.decode("utf-8-sig"), newline="")
        reader = csv.DictReader(text, strict=True)
        rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{name} cannot be read: {error}") from None
    if not rows:
        raise ValueError(f"{name} has no row below its first line")
    for line, row in rows:
        if None in row:
            raise ValueError(
                f"{name}, line {line}: has more values than the first line has columns"
            )
        yield line, {str(column).strip(): (value or "").strip() for column, value in row.items()}


def _valid(model: type[Model], cells: dict[str, Any], name: str, line: int) -> Model:
    try:
        return model.model_validate({column: value for column, value in cells.items() if value})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{name}, line {line}: {_describe(first)}") from None


def _describe(finding: ErrorDetails) -> str:
    column = ".".join(str(part) for part in finding["loc"])
    if finding["type"] == "missing":
        return f"{column} is missing"
    if finding["type"] == "extra_forbidden":
        return f"{column} is not a column of this table"
    is_own = finding["type"] == "value_error"
    reason = str(finding["ctx"]["error"]) if is_own else finding["msg"].lower()
    value = shortened(finding["input"])
    return f"{column} {value} is not allowed: {reason}" if column else reason


def shortened(value: object) -> str:
    """Return a value as Python writes it, of at most about MAX_SHOWN characters."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
