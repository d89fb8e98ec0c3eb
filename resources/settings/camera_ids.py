"""Camera ids: validation, and suggestions for names."""

import re
import unicodedata

from resources.errors import UsageError

CAMERA_ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
ALLOWED = "a letter or digit, then letters, digits, - and _, 63 characters at most"

# Latin letters that NFKD does not decompose.
LETTERS = str.maketrans(
    {"ø": "o", "Ø": "O", "æ": "ae", "Æ": "Ae", "ß": "ss", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D"}
    | {"þ": "th", "Þ": "Th", "ł": "l", "Ł": "L", "œ": "oe", "Œ": "Oe", "ı": "i"}
)


def parse_camera_id(text: str) -> str:
    """Return the text if it is a valid camera id.

    Raises:
        UsageError: it is not; the message has the rule and a suggestion.
    """
    if CAMERA_ID_PATTERN.fullmatch(text):
        return text
    suggestion = suggest_camera_id(text)
    hint = f"; use {suggestion}" if suggestion else ""
    raise UsageError(f"camera id {text!r} is not allowed: {ALLOWED}{hint}")


def suggest_camera_id(text: str) -> str:
    """Return the camera id nearest to a name: without accents, other characters as hyphens.

    Empty if no valid character is left.
    """
    plain = unicodedata.normalize("NFKD", text.translate(LETTERS))
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    return re.sub(r"[^A-Za-z0-9_]+", "-", plain).strip("-_")[:63].rstrip("-_")
