"""The mark in front of texts that a spreadsheet would run as a formula (CSV injection).

A spreadsheet runs a cell that begins with one of = + - @, a tab or a carriage return, also behind
quotes or spaces, which it removes; some do so with the full-width forms. Source: OWASP, CSV
Injection. Marked texts begin with an apostrophe, with which spreadsheets mark texts themselves.

`unmark(mark(text)) == text` for every text: a text that begins with an apostrophe and would be run
without it is marked as well.
"""

import re

MARK = "'"
# Also the pattern of polars' `str.contains`.
FORMULA_PATTERN = "^[\\s'\"`´‘’“”]*[=+\\-@\\t\\r＝＋－＠]"
_FORMULA = re.compile(FORMULA_PATTERN)


def mark(text: str) -> str:
    """Return a text that no spreadsheet runs as a formula."""
    return MARK + text if _FORMULA.match(text) else text


def unmark(text: str) -> str:
    """Return the text without the mark of `mark`; other apostrophes stay."""
    inner = text.removeprefix(MARK)
    return inner if _FORMULA.match(inner) else text
