"""The models that find boxes: a detector with its category detector, or an ensemble of detectors.

An ensemble is a TOML file with `task = "ensemble"`. It names detectors, its parts, and says which
of their boxes count and how they are joined; see `Ensemble`. A profile names an ensemble where it
names a detector.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from gpu_kernels.models.manifest import (
    ModelManifest,
    describe_error,
    find_manifest,
    load_manifest,
    model_hash,
)
from gpu_kernels.models.manifest_sections import Category, EnsembleRefinement, Fraction, Section
from gpu_kernels.models.toml_file import TomlError, read_toml
from resources.errors import ModelError
from resources.user_path import user_path

# The value of `models.category_detector` that leaves the choice to the detector.
AUTO = "auto"
# The category detector of detectors whose only class is animal.
DEFAULT_CATEGORY_DETECTOR = "ssd-mobilenet-v2-cam16"
# Increased when code changes the boxes of the same ensemble on the same picture.
ENSEMBLE_VERSION = 1
MAX_PARTS = 8


class Part(Section):
    """A detector of an ensemble, and the boxes of it that count.

    Attributes:
        detector: name, or path of a .toml file relative to the ensemble's.
        threshold: minimum confidence; None: the detector's own.
        large_threshold: minimum confidence of boxes that cover more than half of the picture.
        categories: of the boxes that count; None: all.
        support: minimum of a box's confidence plus the best score of the category detector on it.
        contrast: run the detector also on grey pictures with more contrast, see `Contrast`.
    """

    detector: Annotated[str, Field(min_length=1)]
    threshold: Fraction | None = None
    large_threshold: Fraction | None = None
    categories: Annotated[tuple[Category, ...], Field(min_length=1)] | None = None
    support: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    contrast: bool = False


class Contrast(Section):
    """Local contrast (CLAHE, contrast-limited adaptive histogram equalization) of grey pictures.

    Attributes:
        clip_limit: of the histograms, as OpenCV's createCLAHE takes it.
        tiles: rows, and columns, of histograms.
    """

    clip_limit: Annotated[float, Field(gt=0.0, le=40.0)]
    tiles: Annotated[int, Field(ge=1, le=64)]


class EnsembleCategories(EnsembleRefinement):
    """The category detector of an ensemble, and its thresholds in the ensemble."""

    detector: Annotated[str, Field(min_length=1)]


class Ensemble(Section):
    """Several detectors on the same pictures.

    Attributes:
        overlap: minimum overlap of two boxes of the same animal, of which the more confident one
            remains: their intersection, as a share of the smaller box, or of their union if both
            are of the same part.
    """

    name: Annotated[str, Field(min_length=1)]
    task: Literal["ensemble"]
    description: str
    overlap: Annotated[float, Field(gt=0.0, le=1.0)]
    parts: Annotated[tuple[Part, ...], Field(min_length=1, max_length=MAX_PARTS)]
    contrast: Contrast | None = None
    category_detector: EnsembleCategories | None = None

    @model_validator(mode="after")
    def _has_what_parts_need(self) -> Self:
        if self.contrast is None and any(part.contrast for part in self.parts):
            raise ValueError("a part with contrast = true needs a [contrast] section")
        return self


@dataclass(frozen=True)
class DetectorPart:
    """A detector with the boxes of it that count; see `Part`."""

    manifest: ModelManifest
    threshold: float
    large_threshold: float | None = None
    categories: frozenset[Category] | None = None
    support: float | None = None
    contrast: Contrast | None = None


@dataclass(frozen=True)
class DetectorModels:
    """All models of Stage 1: one detector, or the parts of an ensemble, and a category detector.

    Attributes:
        category_detector: with the thresholds that apply here; None: there is none.
        overlap: see `Ensemble`; None: boxes are not joined.
        ensemble: the name of the ensemble, and a hash of all of its settings; None for a detector.
    """

    name: str
    parts: tuple[DetectorPart, ...]
    category_detector: ModelManifest | None
    overlap: float | None = None
    ensemble_hash: str | None = None

    @property
    def manifests(self) -> tuple[ModelManifest, ...]:
        """Every model, in the order of the parts; the category detector is the last one."""
        categories = (self.category_detector,) if self.category_detector else ()
        return (*(part.manifest for part in self.parts), *categories)

    @property
    def hashes(self) -> list[str]:
        """Hashes of all that the boxes depend on: of each model, then of the ensemble."""
        ensemble = [self.ensemble_hash] if self.ensemble_hash else []
        return [model_hash(each) for each in self.manifests] + ensemble

    @property
    def names(self) -> tuple[str, ...]:
        """The names that describe these models to a user."""
        if self.ensemble_hash:
            return (self.name,)
        return tuple(each.name for each in self.manifests)

    @property
    def versions(self) -> dict[str, str]:
        """The name and the first digits of the hash of each model, by role.

        That of an ensemble, the role `detector`, covers its models and its settings.
        """
        if self.ensemble_hash is None:
            found = {"detector": _version(self.parts[0].manifest)}
        else:
            together = hashlib.sha256("".join(self.hashes).encode()).hexdigest()
            found = {"detector": f"{self.name} {together[:12]}"}
            for number, part in enumerate(self.parts, 1):
                found[f"detector_{number}"] = _version(part.manifest)
        if self.category_detector:
            found["category_detector"] = _version(self.category_detector)
        return found


def load_detector(
    detector: str, category_detector: str | None = AUTO, folder: str | None = None
) -> DetectorModels:
    """Read the models of Stage 1.

    Args:
        detector: `models.detector`: the name or the .toml path of a detector or an ensemble.
        category_detector: `models.category_detector`. AUTO is the ensemble's own; for a detector
            whose only category is animal DEFAULT_CATEGORY_DETECTOR, else none.
        folder: `models.folder`.

    Raises:
        ModelError: a file is missing or invalid, or the models do not fit together.
    """
    path = find_manifest(detector, folder)
    if ensemble := _read_ensemble(path):
        models = _of_ensemble(ensemble, path, category_detector, folder)
    else:
        models = _load_single(detector, category_detector, folder)
    if models.category_detector and models.category_detector.category_refinement is None:
        raise ModelError(
            f"model {models.category_detector.name}: cannot distinguish people and vehicles from "
            "animals; add a [category_refinement] section to its manifest, or set "
            "models.category_detector to another model"
        )
    return models


def load_ensemble(name: str, folder: str | None = None) -> Ensemble | None:
    """Read an ensemble by its name or the path of its .toml file; None if it is a model.

    Raises:
        ModelError: there is no such file, or it is invalid.
    """
    return _read_ensemble(find_manifest(name, folder))


def load_all_manifests(name: str, folder: str | None = None) -> tuple[ModelManifest, ...]:
    """Read the manifest of any model, or of all models of an ensemble.

    Raises:
        ModelError: one is missing or invalid.
    """
    if load_ensemble(name, folder):
        return tuple(
            {each.path: each for each in load_detector(name, AUTO, folder).manifests}.values()
        )
    return (load_manifest(name, folder),)


def _load_single(name: str, category_detector: str | None, folder: str | None) -> DetectorModels:
    manifest = load_manifest(name, folder)
    head = manifest.detector_output
    if category_detector == AUTO:
        categories = {each.category for each in head.classes} - {None}
        category_detector = DEFAULT_CATEGORY_DETECTOR if categories == {"animal"} else None
    return DetectorModels(
        manifest.name,
        (DetectorPart(manifest, head.threshold),),
        load_manifest(category_detector, folder) if category_detector else None,
    )


def _of_ensemble(
    ensemble: Ensemble, path: Path, category_detector: str | None, folder: str | None
) -> DetectorModels:
    parts = tuple(_load_part(part, ensemble, path, folder) for part in ensemble.parts)
    if category_detector == AUTO:
        categories = _own_category_detector(ensemble, path, folder)
    else:
        categories = load_manifest(category_detector, folder) if category_detector else None
    if categories is None and any(part.support is not None for part in parts):
        raise ModelError(
            f"ensemble {ensemble.name}: a part with support needs a category detector; set "
            "models.category_detector: auto, or models.detector: a detector that is no ensemble, "
            "as megadetector-lite, or remove support"
        )
    return DetectorModels(ensemble.name, parts, categories, ensemble.overlap, _hash(ensemble))


def _load_part(part: Part, ensemble: Ensemble, path: Path, folder: str | None) -> DetectorPart:
    manifest = _load_named(part.detector, ensemble, path, folder)
    return DetectorPart(
        manifest,
        manifest.detector_output.threshold if part.threshold is None else part.threshold,
        part.large_threshold,
        None if part.categories is None else frozenset(part.categories),
        part.support,
        ensemble.contrast if part.contrast else None,
    )


def _own_category_detector(
    ensemble: Ensemble, path: Path, folder: str | None
) -> ModelManifest | None:
    """Return the ensemble's category detector, with the ensemble's thresholds."""
    own = ensemble.category_detector
    if own is None:
        return None
    manifest = _load_named(own.detector, ensemble, path, folder)
    if manifest.crop is None:
        raise ModelError(
            f"ensemble {ensemble.name}: its category detector {manifest.name} needs a [crop] "
            "section in its manifest"
        )
    refinement = EnsembleRefinement(**own.model_dump(exclude={"detector"}))
    return manifest.model_copy(update={"category_refinement": refinement})


def _load_named(name: str, ensemble: Ensemble, path: Path, folder: str | None) -> ModelManifest:
    if name.endswith(".toml"):
        name = str(path.parent / user_path(name))
    if load_ensemble(name, folder):
        raise ModelError(
            f"ensemble {ensemble.name}: its part {name} is an ensemble, not a detector"
        )
    manifest = load_manifest(name, folder)
    _ = manifest.detector_output  # raises an error for a classifier
    return manifest


def _read_ensemble(path: Path) -> Ensemble | None:
    """Return the ensemble of a file; None if it is none, or not TOML, as the manifest's reader
    reports."""
    try:
        tree = read_toml(path)
    except TomlError:
        return None
    if tree.get("task") != "ensemble":
        return None
    try:
        return Ensemble.model_validate(tree)
    except ValidationError as error:
        raise ModelError(f"ensemble {path}: {describe_error(error)}") from None


def _hash(ensemble: Ensemble) -> str:
    """Return a hash of all settings of an ensemble but its models, which have their own."""

    def settings() -> Iterator[dict[str, Any]]:
        for part in ensemble.parts:
            yield part.model_dump(mode="json", exclude={"detector"})

    fields = {
        "version": ENSEMBLE_VERSION,
        "overlap": ensemble.overlap,
        "parts": list(settings()),
        "contrast": ensemble.contrast and ensemble.contrast.model_dump(mode="json"),
    }
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _version(manifest: ModelManifest) -> str:
    return f"{manifest.name} {model_hash(manifest)[:12]}"
