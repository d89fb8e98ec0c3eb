"""Pages: one file each, which asks for nothing from anywhere and opens from a memory stick.

A template is a file that begins with `{% extends "base.html" %}` and fills its blocks: `title`,
`content`, and where needed `style` (CSS) and `script` (one script, which runs at the end). The
frame forbids the browser everything else: no network, no other script. Values are escaped.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup

BASE_TEMPLATE_FOLDER = Path(__file__).parent
# Characters that could end a script element, or are no JavaScript, within JSON: all of them are
# only ever parts of its strings.
JSON_ESCAPES = {character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def write_page(path: Path, template: Path, values: Mapping[str, Any]) -> None:
    """Fill a template and write the page, piece by piece: generators in `values` stay lazy.

    Templates have these filters on top of Jinja's: `format_count` (12,345), `json` (for a script element
    of type application/json).

    Args:
        path: the file to write.
        template: a file beside which others that it includes may lie.
        values: by the names that the template has for them; a name without a value is an error.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    jinja = Environment(
        loader=FileSystemLoader([template.parent, BASE_TEMPLATE_FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters |= {"count": format_count, "json": script_json, "sha256": _sha256}
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(jinja.get_template(template.name).generate(values))


def format_count(number: int) -> str:
    """A number of things, as 12,345."""
    return f"{number:,}"


def script_json(value: object) -> "Markup":
    """JSON that can stand in a script element."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character, escaped in JSON_ESCAPES.items():
        text = text.replace(character, escaped)
    return Markup(text)


def _sha256(script: str) -> str:
    """As a Content-Security-Policy names a script (W3C, "hash-source")."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
