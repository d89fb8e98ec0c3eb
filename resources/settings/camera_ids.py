"""Camera ids: what may be one, and the nearest one to a name."""

import re
import unicodedata

from resources.errors import UsageError

CAMERA_ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
ALLOWED = "a letter or digit, then letters, digits, - and _, 63 characters at most"

# Letters of the Latin alphabet that are no accented form of another (NFKD leaves them whole).
LETTERS = str.maketrans(
    {"ø": "o", "Ø": "O", "æ": "ae", "Æ": "Ae", "ß": "ss", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D"}
    | {"þ": "th", "Þ": "Th", "ł": "l", "Ł": "L", "œ": "oe", "Œ": "Oe", "ı": "i"}
)


def parse_camera_id(text: str) -> str:
    """The text, when it is a camera id.

    Raises:
        UsageError: it is not; names what is allowed, and an id that is close.
    """
    if CAMERA_ID_PATTERN.fullmatch(text):
        return text
    repaired = suggest_camera_id(text)
    hint = f"; {repaired} would do" if repaired else ""
    raise UsageError(f"camera id {text!r} is not allowed: {ALLOWED}{hint}")


def suggest_camera_id(text: str) -> str:
    """The id that is nearest to a name: accents are dropped, and what an id may not hold becomes a
    hyphen. Empty when nothing is left of it."""
    plain = unicodedata.normalize("NFKD", text.translate(LETTERS))
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    return re.sub(r"[^A-Za-z0-9_]+", "-", plain).strip("-_")[:63].rstrip("-_")
