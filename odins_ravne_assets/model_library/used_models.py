"""The models that a profile uses; for users of the defaults, a line that names the catalogue."""

from collections.abc import Sequence

from gpu_kernels.models.catalogue.entry import CatalogueEntry, classifiers_at, find_entry
from gpu_kernels.models.ensemble import AUTO, load_detector
from gpu_kernels.models.manifest import ModelManifest, load_manifest
from resources.settings.profile import Models

WORLD_CLASSIFIER = "speciesnet-crop"
ROLES = {
    "detector": "detector",
    "category_detector": "category detector",
    "classifier": "classifier",
}


def used_models(models: Models) -> dict[str, str]:
    """Return the names of a profile's models by their keys."""
    return {key: name for key in ROLES if (name := getattr(models, key)) not in {None, AUTO}}


def used_manifests(models: Models) -> list[ModelManifest]:
    """Return the manifest of every model file that a profile uses, also those of an ensemble.

    Raises:
        ModelError: one is missing or invalid.
    """
    detector = load_detector(models.detector, models.category_detector, models.folder)
    found = list(detector.manifests)
    if not models.classifier.endswith(".json"):  # SpeciesNet's predictions
        found.append(load_manifest(models.classifier, models.folder))
    return list({manifest.path: manifest for manifest in found}.values())


def used_models_line(models: Models) -> str:
    """Return the names of a profile's models in one line.

    Raises:
        ModelError: see `used_manifests`.
    """
    detector = load_detector(models.detector, models.category_detector, models.folder)
    named = {"detector": detector.name, "classifier": models.classifier}
    if detector.category_detector:
        named["category_detector"] = detector.category_detector.name
    return "models: " + ", ".join(f"{ROLES[key]} {named[key]}" for key in ROLES if key in named)


def catalogue_line(models: Models, places: Sequence[tuple[float, float]]) -> str | None:
    """Return a line that names the catalogue, if a profile uses the default models.

    Args:
        places: latitude and longitude of the deployments, in degrees; empty: unknown.
    """
    if used_models(models) != used_models(Models()):
        return None
    line = "These are demonstration models. For better ones: munin models catalogue"
    if not places:
        return line
    regional = classifiers_at(list(places))
    entry = regional[0] if regional else find_entry(WORLD_CLASSIFIER)
    where = "of the region of these cameras" if regional else "for these cameras"
    return f"{line}; the classifier {where}: {add_command(entry)} ({entry.region})"


def add_command(entry: CatalogueEntry, given: str | None = None) -> str:
    """Return the command that installs a model of the catalogue.

    Args:
        given: the entry's path, if it is not one of the shipped catalogue.
    """
    accept = f" --accept {shell_word(entry.licence)}" if entry.binds else ""
    return f"munin models add {shell_word(given or entry.name)}{accept}"


def shell_word(text: str) -> str:
    """Return a text as one word of a command."""
    return f'"{text}"' if " " in text else text
