"""The ZIP archive of a workbook, checked before a library parses it.

An XLSX file is a ZIP of XML parts (ECMA-376). A hostile one unpacks to gigabytes, expands entities
or has a row of millions of cells. The parts are read once, in pieces, and refused if they exceed
what a spreadsheet writes; the parser then needs little more memory than one row.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO
from zipfile import BadZipFile, ZipFile, ZipInfo

from resources.errors import UsageError
from resources.spreadsheets.csv_text import not_a_table

MAX_PARTS = 2_000
MAX_UNPACKED = 1024**3
MAX_SMALL_PART = 16 * 1024**2  # of styles, the list of sheets, and the like
MAX_SHEET_ROWS = 1_048_576  # of Excel
MAX_TEXTS = 10_000_000
MAX_BETWEEN = 8 * 1024**2  # bytes of one row, or of one text: sixty cells of the most characters
MAX_MERGED = 10_000
_PIECE = 1024**2
_OVERLAP = 256  # longer than a tag that is searched for

_ROW_END = re.compile(rb"</(?:\w+:)?row\s*>|<(?:\w+:)?row\b[^<>]*/>")
_TEXT_END = re.compile(rb"</(?:\w+:)?si\s*>|<(?:\w+:)?si\b[^<>]*/>")
_FORMULA = re.compile(rb"<(?:\w+:)?f[\s/>]")
_MERGED = re.compile(rb"<(?:\w+:)?mergeCell\s[^<>]*\bref\s*=\s*[\"']([A-Z0-9:]{2,24})[\"']")
_ENCODING = re.compile(rb"<\?xml[^>]*\bencoding\s*=\s*[\"']([^\"']*)[\"']")
_DECLARATION = re.compile(rb"<!(?!--)|\x00")  # DOCTYPE, CDATA, and UTF-16
# In sheets and texts, also what could hide the end of a row: comments, instructions.
_HIDING = re.compile(rb"<!|<\?(?!xml\s)|\x00")

# What other ZIP archives hold.
_OTHER_KINDS = (
    ("xl/workbook.bin", "a binary Excel workbook (.xlsb)"),
    ("word/document.xml", "a Word document"),
    ("ppt/presentation.xml", "a presentation"),
    ("Index/Document.iwa", "a Numbers document"),
)


@dataclass
class SheetFacts:
    """What a scan of a sheet's part found."""

    has_formulas: bool = False
    merged: list[str] = field(default_factory=list)  # ranges, as A1:B1


def check_package(archive: ZipFile, name: str) -> dict[str, SheetFacts]:
    """Check the parts of a workbook; return what each part of XML has, by its name.

    Args:
        name: of the file, for messages.

    Raises:
        UsageError: it is another kind of archive, or exceeds what a spreadsheet writes.
    """
    parts = archive.infolist()
    _check_kind(archive, {part.filename for part in parts}, name)
    if len(parts) > MAX_PARTS or len({part.filename for part in parts}) < len(parts):
        raise _unusual(name, "it has too many parts, or two of one name")
    if sum(part.file_size for part in parts) > MAX_UNPACKED:
        raise UsageError(
            f"{name}: is larger than {MAX_UNPACKED // 1024**2} MB unpacked; save the table as CSV"
        )
    return {part.filename: _scan(archive, part, name) for part in parts if _is_xml(archive, part)}


def _check_kind(archive: ZipFile, names: set[str], name: str) -> None:
    if "mimetype" in names:
        with archive.open("mimetype") as file:
            kind = file.read(100)
        if b"opendocument.spreadsheet" in kind:
            raise not_a_table(name, "an OpenDocument spreadsheet (.ods)")
        raise not_a_table(name, "an OpenDocument file")
    for part, kind_name in _OTHER_KINDS:
        if part in names:
            raise not_a_table(name, kind_name)
    if not any(part.startswith("xl/") for part in names):
        raise not_a_table(name, "a ZIP archive")


def _is_xml(archive: ZipFile, part: ZipInfo) -> bool:
    """True for a part that a parser may take for XML, whatever its name."""
    if part.filename.lower().endswith((".xml", ".rels")):
        return True
    with archive.open(part) as file:
        return b"<" in file.read(64)


def _is_sheet(part: ZipInfo) -> bool:
    return part.filename.startswith("xl/worksheets/") and part.filename.endswith(".xml")


def _scan(archive: ZipFile, part: ZipInfo, name: str) -> SheetFacts:
    """Read a part once and check its content."""
    facts = SheetFacts()
    is_texts = part.filename.lower().endswith("sharedstrings.xml")
    if not is_texts and not _is_sheet(part) and part.file_size > MAX_SMALL_PART:
        raise _unusual(name, f"its part {part.filename} is too large")
    end, most = (_TEXT_END, MAX_TEXTS) if is_texts else (_ROW_END, MAX_SHEET_ROWS)
    since, count = 0, 0  # bytes since the end of a row or text; ends
    with archive.open(part) as file:
        for piece, fresh in _pieces(file, name):
            _check_markup(piece, name, part, strict=is_texts or _is_sheet(part))
            ends = [match.end() for match in end.finditer(piece) if match.end() > fresh]
            count += len(ends)
            since = len(piece) - ends[-1] if ends else since + len(piece) - fresh
            if since > MAX_BETWEEN or count > most:
                raise _unusual(
                    name,
                    f"its part {part.filename} has rows or texts that are too many or too long",
                )
            facts.has_formulas |= _FORMULA.search(piece) is not None
            facts.merged += [ref.decode() for ref in _MERGED.findall(piece)]
            if len(facts.merged) > MAX_MERGED:
                raise _unusual(name, "it has too many merged cells")
    return facts


def _pieces(file: IO[bytes], name: str) -> Iterator[tuple[bytes, int]]:
    """Yield pieces of a part, each with the end of the one before, and the length of that end."""
    before = b""
    try:
        while fresh := file.read(_PIECE):
            yield before + fresh, len(before)
            before = (before + fresh)[-_OVERLAP:]
    except (BadZipFile, zlib.error, EOFError) as error:
        raise UsageError(
            f"{name}: is damaged: {error}; save it again from the spreadsheet"
        ) from None


def _check_markup(piece: bytes, name: str, part: ZipInfo, strict: bool) -> None:
    encoding = _ENCODING.search(piece)
    if (_HIDING if strict else _DECLARATION).search(piece) or (
        encoding and encoding[1].upper() not in {b"UTF-8", b"UTF8", b"US-ASCII"}
    ):
        raise _unusual(name, f"its part {part.filename} is not plain XML in UTF-8")


def _unusual(name: str, reason: str) -> UsageError:
    return UsageError(
        f"{name}: is not a workbook as spreadsheets write it: {reason}; save it again from the "
        "spreadsheet, or as CSV"
    )
