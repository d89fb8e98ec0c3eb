"""CSV as spreadsheets save it: its encoding, its separator, its records.

Encodings: UTF-8 with or without a byte order mark; UTF-16 with one, or without one if the text is
plainly UTF-16; else Windows-1252, which spreadsheets in Europe and America write.

Separators: comma, semicolon or tab; the one that cuts a line at the top into the most known column
names. A line `sep=;` above names it, as spreadsheets write and read it.
"""

import codecs
import csv
import io
import itertools
import re
from collections.abc import Collection, Iterator

from resources.errors import UsageError

SEPARATORS = ",;\t"
HEADER_WITHIN = 20  # lines in which the names of columns are searched
MAX_CELL = 100_000  # characters
MAX_RECORD = 4 * 1024**2  # characters

OLE_START = b"\xd0\xcf\x11\xe0"
# A file by its first bytes, for a message: content that is not a table in text.
_BINARY = (
    (b"PK", "a ZIP archive"),
    (b"%PDF", "a PDF"),
    (b"{\\rtf", "a rich text document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"PAR1", "a Parquet table"),
    (b"SQLite format 3\0", "a database"),
    (b"\xff\xd8\xff", "a picture"),
    (b"\x89PNG", "a picture"),
)
_MARKUP = (
    (re.compile(r"\s*<(?:!doctype html|html|table|head|body|meta)\b", re.I), "a web page (HTML)"),
    (re.compile(r"\s*<\?xml|\s*<[A-Za-z!]"), "an XML document"),
    (re.compile(r"\s*[{\[]\s*[\"{\[\]}]"), "JSON"),
)
_SEPARATOR_LINE = re.compile(r'"?sep=(.?)"?')
_UTF8_PAIR = re.compile(rb"[\xc2-\xf4][\x80-\xbf]")


def csv_records(
    data: bytes, name: str, known: Collection[str]
) -> tuple[str, Iterator[tuple[int, list[str]]]]:
    """Return the separator of a CSV file and its records, each with the line it begins at.

    Args:
        name: of the file, for messages.
        known: names of columns, by which the separator is recognised.

    Raises:
        UsageError: the file is no text table; names what it is, or the line.
    """
    text = _text(data, name)
    for pattern, kind in _MARKUP:
        if pattern.match(text):
            raise not_a_table(name, kind)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UsageError(f"{name}, line {line}: has a null character; save the table as CSV again")
    first, separator = _separator_line(text, name)
    separator = separator or _sniffed(text, known)
    return separator, _records(text, first, separator, name)


def not_a_table(name: str, kind: str) -> UsageError:
    """Return the error for a file that is something else than a table."""
    return UsageError(
        f"{name}: is {kind}, which is not read as a table; save the table as XLSX or as CSV UTF-8"
    )


def _text(data: bytes, name: str) -> str:
    if data.startswith(OLE_START):
        # MS-OFFCRYPTO: a workbook with a password is a stream of this name.
        protected = "EncryptedPackage".encode("utf-16-le") in data
        raise not_a_table(
            name,
            "a workbook with a password"
            if protected
            else "an Excel workbook of before 2007 (.xls)",
        )
    for start, kind in _BINARY:
        if data.startswith(start):
            raise not_a_table(name, kind)
    for encoding, mark in (
        ("utf-32", codecs.BOM_UTF32_LE),
        ("utf-32", codecs.BOM_UTF32_BE),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16", codecs.BOM_UTF16_LE),
        ("utf-16", codecs.BOM_UTF16_BE),
    ):
        if data.startswith(mark):
            return _decoded(data, encoding, name).removeprefix("\ufeff")
    if plainly := _plainly_utf16(data):
        return _decoded(data, plainly, name)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if _UTF8_PAIR.search(data):
            line = data.count(b"\n", 0, error.start) + 1
            raise UsageError(
                f"{name}, line {line}: is partly in UTF-8 and partly not; save it as CSV UTF-8"
            ) from None
    return _decoded(data, "cp1252", name)


def _decoded(data: bytes, encoding: str, name: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        shown = "UTF-8 or Windows-1252" if encoding == "cp1252" else encoding.upper()
        raise UsageError(
            f"{name}, line {line}: is not text in {shown}; save it as CSV UTF-8"
        ) from None


def _plainly_utf16(data: bytes) -> str | None:
    """UTF-16 without a byte order mark, if every other byte of the first 32 to 64 is null."""
    start = data[:64]
    if len(start) < 32 or len(data) % 2:
        return None
    even, odd = start[::2], start[1::2]
    if not any(odd) and all(even):
        return "utf-16-le"
    if not any(even) and all(odd):
        return "utf-16-be"
    return None


def _separator_line(text: str, name: str) -> tuple[int, str | None]:
    """The number of the line after `sep=;`, and the separator; 1 and None without that line."""
    match = _SEPARATOR_LINE.fullmatch(text.partition("\n")[0].rstrip("\r"))
    if match is None:
        return 1, None
    if match[1] not in SEPARATORS or not match[1]:
        raise UsageError(
            f"{name}, line 1: the separator {match[1]!r} is not read; allowed are comma, semicolon "
            "and tab"
        )
    return 2, match[1]


def _sniffed(text: str, known: Collection[str]) -> str:
    """The separator that finds the most known columns, or else the most columns."""
    folded = {each.casefold() for each in known}
    lines = list(itertools.islice(io.StringIO(text, newline=None), HEADER_WITHIN))
    # A line of separators alone says nothing.
    lines = [each for each in lines if each.strip(f'{SEPARATORS}" \n')]

    def found(separator: str, line: str) -> tuple[int, int]:
        try:
            cells = next(csv.reader([line], delimiter=separator), [])
        except csv.Error:
            return 0, 0
        names = [cell.strip().casefold() for cell in cells]
        return len(folded.intersection(names)), sum(map(bool, names))

    def best(separator: str) -> tuple[int, int]:
        """Known names of the line that has the most, and columns of the first line."""
        most = max((found(separator, line)[0] for line in lines), default=0)
        return most, found(separator, lines[0])[1] if lines else 0

    return max(SEPARATORS, key=best)  # the first of equals: the comma


def _records(text: str, first: int, separator: str, name: str) -> Iterator[tuple[int, list[str]]]:
    lines = _Lines(text, first - 1)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    line = first
    try:
        for record in reader:
            # Python's own limit is one for the whole process, and other libraries raise it.
            if any(len(cell) > MAX_CELL for cell in record):
                raise csv.Error(f"field larger than {MAX_CELL:,} characters")
            yield line, record
            line = first + reader.line_num
            lines.characters = 0
    except csv.Error as error:
        raise UsageError(f"{name}, line {line}: is not CSV: {error}") from None


class _Lines:
    """The lines of a text, up to MAX_RECORD characters until `characters` is set to 0."""

    def __init__(self, text: str, skipped: int) -> None:
        self._lines = itertools.islice(io.StringIO(text, newline=""), skipped, None)
        self.characters = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.characters += len(line)
        if self.characters > MAX_RECORD:
            raise csv.Error(f"a row is longer than {MAX_RECORD} characters")
        return line
