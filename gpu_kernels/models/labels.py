"""The labels of a classifier: a table with a row per class, in the order of its outputs."""

import csv
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from gpu_kernels.models.manifest import ModelManifest
from gpu_kernels.models.speciesnet_labels import SpeciesNetLabel, parse_label
from resources.errors import ModelError

MAX_BYTES = 16 * 2**20
LABEL_COLUMNS = ["index", "label", "scientific_name", "is_animal"]


class Label(NamedTuple):
    """The label of one class."""

    label: str  # a common name
    scientific_name: str | None  # of the species, genus, family ...; None: not a single taxon
    is_animal: bool  # a living animal: not a thing, a plant, a person or an extinct animal
    ranks: SpeciesNetLabel | None = None  # for labels with taxonomic ranks


def load_labels(manifest: ModelManifest) -> tuple[Label, ...]:
    """Read the labels of a classifier.

    The file is UTF-8 text, columns separated by tabs, with the header `index label scientific_name
    is_animal`; index counts from 0 without gaps, an unknown scientific name is empty, is_animal
    is 1 or 0. Or it is SpeciesNet's: one label per line, see
    `gpu_kernels.models.speciesnet_labels`. A byte order mark and blank lines at the end are
    ignored.

    Raises:
        ModelError: the manifest is a detector's, or the file cannot be read or is invalid.
    """
    return read_labels(manifest.resolve(manifest.classifier_output.labels))


@lru_cache(maxsize=8)
def read_labels(path: Path) -> tuple[Label, ...]:
    """Read a file of labels of at most MAX_BYTES; see `load_labels`.

    Raises:
        ModelError: it cannot be read or is invalid.
    """
    try:
        if path.exists() and not path.is_file():
            raise ModelError(f"labels {path}: is not a file; name a table of labels")
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"labels {path}: is larger than {MAX_BYTES:,} bytes")
        # utf-8-sig: editors of Windows write a byte order mark.
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, ValueError, csv.Error) as error:
        raise ModelError(f"labels {path}: cannot be read: {error}") from None
    while rows and not "".join(rows[-1]).strip():
        rows.pop()
    if rows and len(rows[0]) == 1 and parse_label(rows[0][0]):
        return tuple(_speciesnet_label(path, number, row) for number, row in enumerate(rows, 1))
    if not rows or rows[0] != LABEL_COLUMNS:
        raise ModelError(
            f"labels {path}: first row must be {' '.join(LABEL_COLUMNS)}, separated by tabs"
        )
    return tuple(_label(path, number, row) for number, row in enumerate(rows[1:]))


def _speciesnet_label(path: Path, line: int, row: list[str]) -> Label:
    label = parse_label(row[0]) if len(row) == 1 else None
    if label is None:
        raise ModelError(
            f"labels {path}, line {line}: {row} is not allowed: must be seven names, separated by "
            "semicolons, as in SpeciesNet's labels"
        )
    return Label(label.common_name, label.scientific_name, label.is_animal, label)


def _label(path: Path, number: int, row: list[str]) -> Label:
    if (
        len(row) != len(LABEL_COLUMNS)
        or row[0] != str(number)
        or not row[1]
        or row[3] not in {"0", "1"}
    ):
        raise ModelError(
            f"labels {path}, line {number + 2}: {row} is not allowed: must be index {number}, a "
            "label, a scientific name or an empty field, and 1 or 0, separated by tabs"
        )
    return Label(row[1], row[2] or None, row[3] == "1")
