"""Read TOML of users: model manifests, ensembles, entries of a catalogue."""

import tomllib
from pathlib import Path
from typing import Any

MAX_BYTES = 1_000_000
CANNOT_BE_READ = "cannot be read: "


class TomlError(ValueError):
    """The file cannot be read, or is not TOML; the reason in one line."""


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a file.

    Raises:
        TomlError: see there.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        return parse_toml(data.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TomlError(f"{CANNOT_BE_READ}{reason}") from None


def parse_toml(text: str) -> dict[str, Any]:
    """Return the values of a text.

    Raises:
        TomlError: see there.
    """
    if len(text) > MAX_BYTES:
        raise TomlError(f"has more than {MAX_BYTES:,} characters")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise TomlError("not valid TOML: is nested too deep") from None
    except ValueError as error:  # TOMLDecodeError, or a number with too many digits
        is_syntax = isinstance(error, tomllib.TOMLDecodeError)
        reason = str(error) if is_syntax else "a number has too many digits"
        raise TomlError(f"not valid TOML: {reason}") from None
