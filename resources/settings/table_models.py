"""Parse tables of users into pydantic models; errors name the file, line and column."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from resources.errors import UsageError
from resources.spreadsheets.ignored_columns import warn_of_ignored_columns
from resources.spreadsheets.tables import Row, Table, parse_table, read_table
from resources.spreadsheets.values import parse_count, parse_number
from resources.user_path import user_path

MAX_SHOWN = 200  # characters of a value in an error

Model = TypeVar("Model", bound=BaseModel)
# Checks the rows of a table together, or arranges them; the second argument is the table's name.
Arrange = Callable[[list[Model], str], Sequence[Model]]


def table_validator(
    model: type[Model],
    columns: Collection[str] = (),
    arrange: Arrange[Model] | None = None,
) -> BeforeValidator:
    """Return a validator that reads the table of a setting, CSV or XLSX; parsed rows pass through.

    Args:
        columns, arrange: see `parse_rows`.
    """

    def read(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        names = columns or columns_of(model)
        try:
            table = read_table(user_path(value), required=required_of(model), known=names)
        except UsageError as error:
            raise ValueError(str(error)) from None
        return _models(model, table, names, arrange)

    return BeforeValidator(read)


def parse_rows(
    model: type[Model],
    data: bytes,
    name: str,
    columns: Collection[str] = (),
    arrange: Arrange[Model] | None = None,
) -> Sequence[Model]:
    """Parse the content of a table's file, CSV or XLSX; empty cells are left out.

    A model with a field `line` gets the line of its row.

    Args:
        name: of the file, for messages.
        columns: all that the table may have; default: the model's fields. Others are ignored with a
            warning.
        arrange: is called with the rows and the name; it raises ValueError if they do not fit
            together.

    Raises:
        ValueError: it cannot be read, or a row is invalid; names the file, line and column.
    """
    names = columns or columns_of(model)
    try:
        table = parse_table(data, name, required=required_of(model), known=names)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return _models(model, table, names, arrange)


def columns_of(model: type[BaseModel]) -> list[str]:
    """Return the names of the columns that are a model's fields."""
    return [field.alias or name for name, field in model.model_fields.items() if name != "line"]


def required_of(model: type[BaseModel]) -> list[str]:
    """Return the columns that a table of this model must have."""
    return [
        field.alias or name for name, field in model.model_fields.items() if field.is_required()
    ]


def _models(
    model: type[Model], table: Table, columns: Collection[str], arrange: Arrange[Model] | None
) -> Sequence[Model]:
    if not table.rows:
        raise ValueError(f"{table.name} has no row below its first line")
    warn_of_ignored_columns(table, columns)
    rows = [_valid(model, table, row, columns) for row in table.rows]
    return arrange(rows, table.name) if arrange else rows


def _valid(model: type[Model], table: Table, row: Row, columns: Collection[str]) -> Model:
    where = f"{table.name}, line {row.line}"
    cells: dict[str, Any] = {
        column: _value(model, column, text, table.decimal_comma, where)
        for column, text in row.cells.items()
        if text and column in columns
    }
    if "line" in model.model_fields:
        cells["line"] = row.line
    try:
        return model.model_validate(cells)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{where}: {_describe(first)}") from None


def _value(model: type[BaseModel], column: str, text: str, decimal_comma: bool, where: str) -> str:
    """The text of a cell for its field; of a number as Python writes it, not a spreadsheet."""
    field = model.model_fields.get(column)
    kinds = set(_types(field.annotation)) if field else set()
    try:
        if float in kinds:
            parse_number(text, decimal_comma=decimal_comma or _is_below_thousand(field))
            return text.replace(",", ".").replace("−", "-")
        if int in kinds:
            return str(parse_count(text))
    except ValueError as error:
        raise ValueError(f"{where}: {column} {shortened(text)} is not allowed: {error}") from None
    return text


def _is_below_thousand(field: FieldInfo | None) -> bool:
    """True if a field's limit allows no separators of thousands: of a latitude 59,321 is 59.321."""
    limits = [getattr(each, "le", None) for each in field.metadata] if field else []
    return any(limit is not None and limit < 1000 for limit in limits)


def _types(annotation: Any) -> Iterator[Any]:
    """Yield a type and those that it is made of: of `Annotated[int, …] | None` also int."""
    yield annotation
    for part in get_args(annotation):
        yield from _types(part)


def _describe(finding: ErrorDetails) -> str:
    column = ".".join(str(part) for part in finding["loc"])
    if finding["type"] == "missing":
        return f"{column} is missing"
    is_own = finding["type"] == "value_error"
    reason = str(finding["ctx"]["error"]) if is_own else finding["msg"].lower()
    value = shortened(finding["input"])
    return f"{column} {value} is not allowed: {reason}" if column else reason


def shortened(value: object) -> str:
    """Return a value as Python writes it, of at most about MAX_SHOWN characters."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
