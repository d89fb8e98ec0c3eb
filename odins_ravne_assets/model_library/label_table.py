"""Labels of a classifier as the table that our manifests name."""

import csv
import io
from pathlib import Path

from gpu_kernels.models.catalogue.entry import LABEL_TABLES
from gpu_kernels.models.labels import LABEL_COLUMNS
from gpu_kernels.models.speciesnet_labels import parse_label
from resources.errors import ModelError

# Labels that are no animal, in the languages of the catalogue's packages.
NOT_ANIMALS = frozenset(
    "blank bicycle car dirt bike empty false trigger human humans ignore misfire motorcycle nothing "
    "no-species no species no animal none other others person people setup start team truck "
    "unidentified unidentifiable unknown vehicle vehicles vide homme vehicule".split()
) | {"false trigger", "no species", "no animal", "dirt bike", "no cv result", "setup / pickup"}


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
    are, since they have the names. A label such as `Vulpes vulpes` is its own scientific name.

    Raises:
        ModelError: there are no labels, or one cannot be a field of the table.
    """
    if not labels:
        raise ModelError(f"{name}: has no labels")
    if all(parse_label(label) for label in labels):
        return "".join(f"{label}\n" for label in labels), []
    names, unnamed = known_names(table), []
    text = io.StringIO()
    text.write("\t".join(LABEL_COLUMNS) + "\n")
    for number, label in enumerate(labels):
        if any(ord(character) < ord(" ") for character in label):
            raise ModelError(f"{name}: label {label!r} has a control character")
        shown = label or f"class {number}"
        scientific, is_animal = names.get(_folded(label), ("", True))
        if _folded(label) not in names:
            is_animal = bool(label) and _folded(label) not in NOT_ANIMALS
            scientific = label if is_animal and _is_binomial(label) else ""
            if is_animal and not scientific:
                unnamed.append(shown)
        text.write(f"{number}\t{shown}\t{scientific}\t{int(is_animal)}\n")
    return text.getvalue(), unnamed


def write_label_file(text: str, path: Path) -> None:
    """Write a file of labels."""
    path.write_text(text, encoding="utf-8", newline="\n")


def _folded(label: str) -> str:
    return label.strip().casefold().replace("_", " ")


def _is_binomial(label: str) -> bool:
    """Return True for two words of which only the first has a capital: Vulpes vulpes."""
    words = label.replace("_", " ").split()
    return (
        len(words) == 2
        and all(word.isalpha() for word in words)
        and words[0].istitle()
        and words[1].islower()
        and len(words[1]) > 2
    )
