"""Render self-contained HTML pages: one file each, without network access.

A template begins with `{% extends "base.html" %}` and fills the blocks `title` and `content`, and
optionally `style` (CSS) and `script` (one script, run at the end). The Content-Security-Policy of
the base template forbids network access and other scripts. Values are escaped, and control
characters in them are printable.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.printable import printable, printable_values

if TYPE_CHECKING:
    from markupsafe import Markup

BASE_TEMPLATE_FOLDER = Path(__file__).parent
# Characters that could end a script element or are invalid in JavaScript. In JSON they occur only
# in strings.
JSON_ESCAPES = {character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def write_page(path: Path, template: Path, values: Mapping[str, Any]) -> None:
    """Render a template to a file, in pieces: generators in `values` are consumed lazily.

    Additional filters: `count` (12,345) and `json` (for a script element of type application/json).

    Args:
        path: the file to write.
        template: the template file; it may include files of its folder.
        values: the variables of the template; a missing variable is an error.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    jinja = Environment(
        loader=FileSystemLoader([template.parent, BASE_TEMPLATE_FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters |= {"count": format_number, "json": script_json, "sha256": _sha256}
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(
            printable(text, lines=True)
            for text in jinja.get_template(template.name).generate(values)
        )


def format_number(number: int) -> str:
    """Format a number with thousands separators: 12,345."""
    return f"{number:,}"


def script_json(value: object) -> "Markup":
    """Encode JSON for a script element."""
    from markupsafe import Markup

    text = json.dumps(
        printable_values(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )
    for character, escaped in JSON_ESCAPES.items():
        text = text.replace(character, escaped)
    return Markup(text)


def _sha256(script: str) -> str:
    """The hash of a script in a Content-Security-Policy (W3C, "hash-source")."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
