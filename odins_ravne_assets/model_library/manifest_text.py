"""The manifest of an installed model, as TOML."""

import json
from collections.abc import Iterator
from typing import Any

from gpu_kernels.models.catalogue.entry import CatalogueEntry
from odins_ravne_assets.model_library.model_layout import ModelLayout
from resources.storage.layout import MODEL_LABELS_FILE, MODEL_NETWORK_FILE


def manifest_text(
    entry: CatalogueEntry, layout: ModelLayout, sha256: str, labels_sha256: str | None
) -> str:
    """Return the text of a model's manifest."""
    sections = {name: dict(value) for name, value in layout.sections.items()}
    if labels_sha256 is not None:
        sections["output"] |= {"labels": MODEL_LABELS_FILE, "labels_sha256": labels_sha256}
    top = {
        "name": entry.name,
        "task": entry.task,
        "file": MODEL_NETWORK_FILE,
        "sha256": sha256,
        "description": f"{entry.description} {entry.limitations}",
        "licence": entry.licence,
        "source": f"{entry.download.url}; written by munin models add",
        "home": entry.home,
        "citation": entry.citation,
    }
    lines = [f"{key} = {_value(value)}" for key, value in top.items()]
    for name, section in sections.items():
        lines += ["", f"[{name}]", *_lines(section)]
    return "\n".join(lines) + "\n"


def _lines(section: dict[str, Any]) -> Iterator[str]:
    for key, value in section.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield f"{key} = ["
            yield from (f"    {_value(each)}," for each in value)
            yield "]"
        else:
            yield f"{key} = {_value(value)}"


def _value(value: Any) -> str:
    """Return a value in TOML; its strings are those of JSON but for the character DEL."""
    if isinstance(value, dict):
        pairs = ", ".join(f"{key} = {_value(each)}" for key, each in value.items())
        return f"{{ {pairs} }}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
