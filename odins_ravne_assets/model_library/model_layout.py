"""The input, output and labels of a downloaded model: from the catalogue and from its package."""

from dataclasses import dataclass, field
from typing import Any

from gpu_kernels.models.catalogue.entry import CatalogueEntry
from odins_ravne_assets.model_library.archive import Archive
from odins_ravne_assets.model_library.label_table import label_file, table_labels
from odins_ravne_assets.model_library.sparrow_package import (
    SparrowManifest,
    read_labels,
    read_manifest,
)
from resources.errors import ModelError

# Values that the package rounds otherwise than the catalogue are equal.
TOLERANCE = 1e-4
PACKAGE_MANIFEST = "manifest.toml"
SHOWN_LABELS = 5


@dataclass
class ModelLayout:
    """Sections of a model's manifest, the content of its file of labels, the package's checksum."""

    sections: dict[str, Any]
    labels: str | None = None
    network_sha256: str | None = None
    notes: list[str] = field(default_factory=list)


def layout_of(entry: CatalogueEntry, archive: Archive | None, name: str) -> ModelLayout:
    """Return the layout of a model.

    What the package says has precedence over the catalogue, since it describes the very file; a
    difference is noted.

    Args:
        archive: None for a network that came without its archive.
        name: names the file in errors.

    Raises:
        ModelError: the package is damaged or not supported, or the layout is not known without it.
    """
    layout = ModelLayout({key: dict(value) for key, value in entry.manifest.items()})
    package = _package(entry, archive, name)
    if package is not None:
        layout.network_sha256 = package.network_sha256
        labels = _package_labels(entry, archive, package, name)
        _overlay(layout, "input", package.input_section())
        output = package.output_section(labels)
        if "classes" in layout.sections.get("output", {}):
            # The catalogue's names and categories of classes are ours.
            output.pop("classes", None)
        _overlay(layout, "output", output)
    else:
        labels = []
    for section in ("input", "output"):
        if section not in layout.sections:
            raise ModelError(
                f"{name}: how this network is fed is written in its package only; pass the archive "
                f"{entry.download.file_name}"
            )
    if entry.labels:
        if not labels and entry.labels.table is None:
            raise ModelError(
                f"{name}: the labels are in the package only; pass the archive "
                f"{entry.download.file_name}"
            )
        labels = labels or table_labels(entry.labels.table or "")
        layout.labels, unnamed = label_file(labels, entry.labels.table, name)
        if unnamed:
            layout.notes.append(
                f"{len(unnamed)} of {len(labels)} labels have no known scientific name: "
                + ", ".join(unnamed[:SHOWN_LABELS])
                + (" ..." if len(unnamed) > SHOWN_LABELS else "")
            )
    return layout


def _package(entry: CatalogueEntry, archive: Archive | None, name: str) -> SparrowManifest | None:
    """Return the package's manifest, if there is a package."""
    if archive is None or entry.download.package is None:
        return None
    return read_manifest(archive.text(_beside(entry, PACKAGE_MANIFEST)), name)


def _package_labels(
    entry: CatalogueEntry, archive: Archive | None, package: SparrowManifest, name: str
) -> list[str]:
    if archive is None or package.labels is None:
        return []
    member = entry.labels.member if entry.labels else None
    member = member or _beside(entry, package.labels.file)
    return read_labels(archive.text(member), package.labels.format, name)


def _beside(entry: CatalogueEntry, file: str) -> str:
    """Return the path of a file in the package's top folder."""
    return f"{(entry.download.member or '').partition('/')[0]}/{file}"


def _overlay(layout: ModelLayout, section: str, package: dict[str, Any]) -> None:
    """Lay what the package says over a section, and note what differs."""
    ours = layout.sections.get(section)
    if ours is None:
        layout.sections[section] = package
        return
    for key, value in package.items():
        if key in ours and not _same(ours[key], value):
            layout.notes.append(
                f"{section}.{key} is {value!r} by the package, {ours[key]!r} by the catalogue; the "
                "package's is used"
            )
        if key not in ours or not _same(ours[key], value):
            ours[key] = value
    if package.get("fit") == "stretch":
        ours.pop("pad", None)


def _same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, (list, tuple)) and isinstance(theirs, (list, tuple)):
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    if isinstance(ours, float | int) and isinstance(theirs, float | int):
        return abs(ours - theirs) <= TOLERANCE
    return bool(ours == theirs)
