"""Set a key of a section in a profile's YAML file, and leave all other lines as they are.

No library that keeps comments is among the dependencies. YAML's parser finds the place of the key.
Only the block style of the shipped profiles is edited; the result is parsed and compared with what
was wanted before it is written.
"""

import os
import re
import stat
from pathlib import Path
from typing import Any

import yaml

from resources.errors import ProfileError
from resources.settings.yaml_text import YamlError, parse_yaml
from resources.storage.local_store import LocalStore
from resources.user_path import special_file

SECTION = "models"
INDENT = "  "
NULL_TAG = "tag:yaml.org,2002:null"
BYTE_ORDER_MARK = "\ufeff"
WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
NEW_PROFILE = "# Settings: munin settings lists all keys and their values.\n"


def set_models_key(path: Path, key: str, value: str) -> str | None:
    """Set `models.KEY` of a profile; create the file if it does not exist.

    Returns:
        The value before; None if there was none.

    Raises:
        ProfileError: the file cannot be read, is read-only, or is written in a style that is not
            edited.
        StoreError: it cannot be written.
    """
    text, before = _read(path)
    section = before.get(SECTION) if isinstance(before, dict) else None
    if not isinstance(before, dict) or not isinstance(section or {}, dict):
        raise _unsupported(path, key, value)
    wanted = {**before, SECTION: {**(section or {}), key: value}}
    written = yaml.safe_dump(value, width=10**6).splitlines()[0]
    changed = _with_key(text, key, written)
    try:
        result = parse_yaml(changed) if changed is not None else None
    except YamlError:
        result = None
    if changed is None or result != wanted:
        raise _unsupported(path, key, value)
    if changed != text or not path.exists():
        absolute = path.absolute().resolve()
        LocalStore(absolute.parent).write_bytes(absolute.name, changed.encode())
    old = (section or {}).get(key)
    return None if old is None else str(old)


def _read(path: Path) -> tuple[str, Any]:
    """Return the text of a profile and its content.

    Raises:
        ProfileError: it cannot be read, or is read-only.
    """
    try:
        if not path.exists():
            return NEW_PROFILE, {}
        mode = path.stat().st_mode
        if reason := special_file(mode):
            raise ProfileError(f"profile {path}: {reason}, not a file")
        # Bytes: line ends stay as they are.
        text = path.read_bytes().decode("utf-8")
        before = parse_yaml(text) or {}
    except (OSError, UnicodeDecodeError, YamlError) as error:
        reason = str(error).partition("\n")[0]
        raise ProfileError(f"profile {path}: cannot be read: {reason}") from None
    # A file without permission to write is protected on purpose, from root too.
    if not (mode & WRITE_BITS and os.access(path, os.W_OK)):
        raise ProfileError(
            f"profile {path}: is read-only; make it writable, or name another file: --profile FILE"
        )
    return text, before


def _unsupported(path: Path, key: str, value: str) -> ProfileError:
    return ProfileError(
        f"profile {path}: its section {SECTION} is not in the usual style; write these lines "
        f"yourself: {SECTION}: / {INDENT}{key}: {value}"
    )


def _with_key(text: str, key: str, value: str) -> str | None:
    """Return the text with the key set; None if the section or the key is there in another style.

    Args:
        text: valid YAML.
        value: as YAML.
    """
    root = yaml.compose(text, yaml.SafeLoader)
    end = "\r\n" if "\r\n" in text else "\n"
    found = _pair(root, SECTION)
    if found is None:
        return _with_section(text, f"{SECTION}:{end}{INDENT}{key}: {value}{end}", end)
    name, section = found
    if not _is_plain(name, text):
        return None
    if _is_null(section):
        text = text[: section.start_mark.index].rstrip(" ") + text[section.end_mark.index :]
        return _with_line(text, name, f"{INDENT}{key}: {value}{end}", end)
    if not isinstance(section, yaml.MappingNode) or section.flow_style:
        return None
    if (pair := _pair(section, key)) is None:
        indent = " " * section.start_mark.column
        return _with_line(text, name, f"{indent}{key}: {value}{end}", end)
    name, old = pair
    begin, stop = old.start_mark, old.end_mark
    # An alias has the place of its anchor.
    is_beside = name.end_mark.index <= begin.index and name.end_mark.line == stop.line
    if not (_is_plain(name, text) and isinstance(old, yaml.ScalarNode) and is_beside):
        return None
    space = " " if text[begin.index - 1] == ":" else ""
    return f"{text[: begin.index]}{space}{value}{text[stop.index :]}"


def _pair(node: Any, key: str) -> tuple[yaml.ScalarNode, yaml.Node] | None:
    """Return the nodes of a key and its value. Of equal keys, YAML takes the last silently."""
    if not isinstance(node, yaml.MappingNode):
        return None
    pairs = [pair for pair in node.value if pair[0].value == key]
    return pairs[-1] if pairs else None


def _is_plain(name: yaml.Node, text: str) -> bool:
    """Return True if a key is written without quotes, anchor or tag."""
    return bool(text[name.start_mark.index : name.end_mark.index] == name.value)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == NULL_TAG


def _with_section(text: str, section: str, end: str) -> str:
    """Insert a section at the end of the document, which a line of three dots may mark."""
    marker = re.search(r"^\.\.\.(?=\s|$)", text, re.MULTILINE)
    stop = marker.start() if marker else len(text)
    before = text[:stop]
    if before.lstrip(BYTE_ORDER_MARK) and not before.endswith(("\n", "\r")):
        before += end
    return before + section + text[stop:]


def _with_line(text: str, name: yaml.Node, line: str, end: str) -> str:
    """Insert a line at the end of a section.

    Args:
        name: the section's name.
    """
    # Lines as editors number them: YAML counts others too.
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    start = text.count("\n", 0, name.start_mark.index)
    last = _end_of_section(lines, start)
    while last > start + 1 and not lines[last - 1].strip():
        last -= 1
    if not lines[last - 1].endswith(("\n", "\r")):
        lines[last - 1] += end
    lines.insert(last, line)
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
