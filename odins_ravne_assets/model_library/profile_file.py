"""Set a key of a section in a profile's YAML file, and leave all other lines as they are.

No library that keeps comments is among the dependencies. Only the block style of the shipped
profiles is edited; the result is parsed and compared with what was wanted before it is written.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from resources.errors import ProfileError
from resources.settings.yaml_text import YamlError, parse_yaml
from resources.storage.local_store import LocalStore

SECTION = "models"
INDENT = "  "
NEW_PROFILE = "# Settings: munin settings lists all keys and their values.\n"


def set_models_key(path: Path, key: str, value: str) -> str | None:
    """Set `models.KEY` of a profile; create the file if it does not exist.

    Returns:
        The value before; None if there was none.

    Raises:
        ProfileError: the file cannot be read, or is written in a style that is not edited.
        StoreError: it cannot be written.
    """
    try:
        # Bytes: line ends stay as they are.
        text = path.read_bytes().decode("utf-8") if path.exists() else NEW_PROFILE
        before: Any = parse_yaml(text) or {}
    except (OSError, UnicodeDecodeError, YamlError) as error:
        reason = str(error).partition("\n")[0]
        raise ProfileError(f"profile {path}: cannot be read: {reason}") from None
    section = before.get(SECTION) if isinstance(before, dict) else None
    if not isinstance(before, dict) or not isinstance(section or {}, dict):
        raise _unsupported(path, key, value)
    wanted = {**before, SECTION: {**(section or {}), key: value}}
    known = SECTION in before, key in (section or {})
    written = yaml.safe_dump(value, width=10**6).splitlines()[0]
    changed = _with_key(text, key, written, *known)
    try:
        result = parse_yaml(changed) if changed is not None else None
    except YamlError:
        result = None
    if changed is None or result != wanted:
        raise _unsupported(path, key, value)
    if changed != text or not path.exists():
        absolute = path.expanduser().absolute().resolve()
        LocalStore(absolute.parent).write_bytes(absolute.name, changed.encode())
    old = (section or {}).get(key)
    return None if old is None else str(old)


def _unsupported(path: Path, key: str, value: str) -> ProfileError:
    return ProfileError(
        f"profile {path}: its section {SECTION} is not in the usual style; write these lines "
        f"yourself: {SECTION}: / {INDENT}{key}: {value}"
    )


def _with_key(text: str, key: str, value: str, has_section: bool, has_key: bool) -> str | None:
    """Return the text with the key set; None if the section or the key is there in another style.

    YAML takes the last of two equal keys silently, so none may be added to one that is not found.
    """
    end = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    start = next(
        (n for n, line in enumerate(lines) if re.match(rf"{SECTION}:\s*(#.*)?$", line.rstrip())),
        None,
    )
    if start is None:
        if has_section:
            return None
        if lines and not lines[-1].endswith(("\n", "\r")):
            lines[-1] += end
        return "".join([*lines, f"{SECTION}:{end}", f"{INDENT}{key}: {value}{end}"])
    stop = _end_of_section(lines, start)
    indent = _indent_of(lines[start + 1 : stop])
    for number in range(start + 1, stop):
        found = re.match(
            rf"({re.escape(indent)}{key}:)(\s*)([^#\s].*?)?(\s+#.*)?$", lines[number].rstrip()
        )
        if found:
            lines[number] = f"{found[1]} {value}{found[4] or ''}{_line_end(lines[number]) or end}"
            return "".join(lines)
    if has_key:
        return None
    last = stop
    while last > start + 1 and not lines[last - 1].strip():
        last -= 1
    if not lines[last - 1].endswith(("\n", "\r")):
        lines[last - 1] += end
    lines.insert(last, f"{indent}{key}: {value}{end}")
    return "".join(lines)


def _end_of_section(lines: list[str], start: int) -> int:
    """Return the number of the first line after the section."""
    for number in range(start + 1, len(lines)):
        line = lines[number]
        if line.strip() and not line.startswith((" ", "\t", "#")):
            return _without_comments(lines, start, number)
    return len(lines)


def _without_comments(lines: list[str], start: int, stop: int) -> int:
    """Leave comments at the margin right before the next section to that section."""
    while stop > start + 1 and (lines[stop - 1].startswith("#") or not lines[stop - 1].strip()):
        stop -= 1
    return stop


def _indent_of(lines: list[str]) -> str:
    for line in lines:
        if line.strip() and not line.lstrip().startswith("#"):
            return line[: len(line) - len(line.lstrip())] or INDENT
    return INDENT


def _line_end(line: str) -> str:
    return line[len(line.rstrip("\r\n")) :]
