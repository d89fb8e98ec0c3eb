"""Labels of classifiers that name no animal: people, vehicles, and pictures without an animal.

A classifier labels the crops that a detector takes for animals, so it may know better: SpeciesNet
has the labels human, vehicle, blank and "no cv result", and other models have similar ones, in
English or in the language of their authors.
"""

from enum import StrEnum


class LabelKind(StrEnum):
    """What a label names that is no animal; people and vehicles have the name of their category."""

    PERSON = "person"
    VEHICLE = "vehicle"
    NOTHING = "nothing"


# The scientific name that stands for a kind among the guesses of a classifier.
KIND_TAXA = {LabelKind.PERSON: "Homo sapiens", LabelKind.VEHICLE: "vehicle"}
PEOPLE_TAXA = frozenset({"homo", "homo sapiens", "homo sapiens sapiens"})
# In lower case, with spaces between words; see `folded`.
PERSON_LABELS = frozenset(
    {"person", "persons", "people", "human", "humans", "human being", "homo sapiens", "homo"}
    | {"man", "woman", "hiker", "pedestrian", "cyclist", "homme", "humain", "mensch", "persona"}
    | {"team"}
)
VEHICLE_LABELS = frozenset(
    {"vehicle", "vehicles", "car", "truck", "bus", "bicycle", "motorcycle", "motorbike", "tractor"}
    | {"vehicule", "véhicule", "fahrzeug"}
)
# Labels of pictures without an animal, or of one that the classifier cannot name.
NOTHING_LABELS = frozenset(
    {"blank", "empty", "false trigger", "ignore", "misfire", "no animal", "no cv result", "none"}
    | {"no species", "nothing", "other", "others", "setup", "unidentifiable", "unidentified"}
    | {"unknown", "vide", "background", "animal", "unknown animal"}
)
KIND_LABELS = {
    LabelKind.PERSON: PERSON_LABELS,
    LabelKind.VEHICLE: VEHICLE_LABELS,
    LabelKind.NOTHING: NOTHING_LABELS,
}


def label_kind(label: str | None, scientific_name: str | None) -> LabelKind | None:
    """Return what a label names; None if it is an animal.

    With a scientific name, only that decides.
    """
    if scientific_name:
        is_person = folded(scientific_name) in PEOPLE_TAXA
        return LabelKind.PERSON if is_person else None
    text = folded(label or "")
    return next((kind for kind, labels in KIND_LABELS.items() if text in labels), None)


def folded(label: str) -> str:
    """Return a label in lower case, with spaces in place of underscores and hyphens."""
    return " ".join(label.casefold().replace("_", " ").replace("-", " ").split())
