"""Text for people: terminals, logs, CSV files and pages.

Names of files, labels and EXIF may hold control characters: a terminal obeys them, and marks of
text direction change what a reader sees. They are escaped here, at the borders; data keeps them.
"""

import re
from typing import Any

# Control characters (C0, DEL, C1), marks of text direction, line and paragraph separators, and
# lone surrogates, which stand for bytes of file names that are not text.
CONTROL_CHARACTERS = (
    "\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069\\ufeff"
)
_CONTROL = re.compile(f"[{CONTROL_CHARACTERS}\ud800-\udfff]")
_CONTROL_BUT_LINES = re.compile(f"(?![\\n\\t])[{CONTROL_CHARACTERS}\ud800-\udfff]")
_CONTROL_BUT_JSON = re.compile(f"(?![\\n\\t\\u2028\\u2029])[{CONTROL_CHARACTERS}\ud800-\udfff]")


def printable(text: str, lines: bool = False) -> str:
    r"""Return text with each control character as an escape: ``\x1b``, ``\u202e``.

    Args:
        lines: leave line breaks and tabs.
    """
    return (_CONTROL_BUT_LINES if lines else _CONTROL).sub(_escape, text)


def escaped_json(text: str) -> str:
    r"""Return JSON in which control characters and marks of direction are escapes: ``\u009b``.

    A reader gets the same values; whoever looks at the file gets text. JSON itself requires escapes
    for some of these characters only.
    """
    return _CONTROL_BUT_LINES.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def printable_values(value: Any) -> Any:
    """Return a JSON-like value with every text in it, also of keys, printable.

    Line breaks and tabs, which JSON escapes, are left.
    """
    if isinstance(value, str):
        return _CONTROL_BUT_JSON.sub(_escape, value)
    if isinstance(value, dict):
        return {printable_values(key): printable_values(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [printable_values(each) for each in value]
    return value


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
