"""Labels of a classifier as the table that our manifests name."""

import csv
import io
from pathlib import Path

from gpu_kernels.models.catalogue.entry import LABEL_TABLES
from gpu_kernels.models.labels import LABEL_COLUMNS
from gpu_kernels.models.speciesnet_labels import parse_label
from odins_ravne_assets.hugin.identification.label_kinds import label_kind
from odins_ravne_assets.hugin.identification.taxonomy import project_taxonomy
from resources.errors import ModelError


def known_names(table: str | None) -> dict[str, tuple[str, bool]]:
    """Return the scientific name and `is_animal` of each label of a table of the catalogue."""
    if table is None:
        return {}
    with (LABEL_TABLES / table).open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {
            _folded(row["label"]): (row["scientific_name"], row["is_animal"] == "1") for row in rows
        }


def table_labels(table: str) -> list[str]:
    """Return the labels of a table of the catalogue, in the order of its rows."""
    with (LABEL_TABLES / table).open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [row["label"] for row in rows]


def label_file(labels: list[str], table: str | None, name: str) -> tuple[str, list[str]]:
    """Return the content of a manifest's file of labels, and the labels without a known name.

    Labels of SpeciesNet (`uuid;class;order;family;genus;species;common name`) are kept as they
    are, since they have the names. Others are looked up in the catalogue's table, then in the
    shipped taxonomy, by their common or scientific name.

    Raises:
        ModelError: there are no labels, or one cannot be a field of the table.
    """
    if not labels:
        raise ModelError(f"{name}: has no labels")
    if all(parse_label(label) for label in labels):
        return "".join(f"{label}\n" for label in labels), []
    names, unnamed = known_names(table), []
    taxonomy = project_taxonomy(())
    text = io.StringIO()
    text.write("\t".join(LABEL_COLUMNS) + "\n")
    for number, label in enumerate(labels):
        if any(ord(character) < ord(" ") for character in label):
            raise ModelError(f"{name}: label {label!r} has a control character")
        shown = label or f"class {number}"
        if (folded := _folded(label)) in names:
            scientific, is_animal = names[folded]
        elif not folded or label_kind(label, None):
            scientific, is_animal = "", False
        else:
            taxon = taxonomy.find(folded)
            scientific, is_animal = taxon.scientific_name if taxon else "", True
            if taxon is None:
                unnamed.append(shown)
        text.write(f"{number}\t{shown}\t{scientific}\t{int(is_animal)}\n")
    return text.getvalue(), unnamed


def write_label_file(text: str, path: Path) -> None:
    """Write a file of labels."""
    path.write_text(text, encoding="utf-8", newline="\n")


def _folded(label: str) -> str:
    return label.strip().casefold().replace("_", " ")
