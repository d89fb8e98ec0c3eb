"""The labels that reviewers write: names of the taxonomy, and words with a meaning of their own."""

import difflib
from dataclasses import dataclass

from odins_ravne_assets.hugin.identification.identifications import CATEGORY_NAMES, UNKNOWN_ANIMAL
from odins_ravne_assets.hugin.identification.taxonomy import Taxonomy
from odins_ravne_assets.hugin.review.staff import STAFF_LABELS, STAFF_SCIENTIFIC_NAME

EMPTY_LABELS = {"nothing", "empty", "blank", "none"}
SPECIAL_LABELS = {
    "person": ("person", *CATEGORY_NAMES["person"]),
    "human": ("person", *CATEGORY_NAMES["person"]),
    "vehicle": ("vehicle", *CATEGORY_NAMES["vehicle"]),
    "unknown": ("animal", UNKNOWN_ANIMAL, None),
    UNKNOWN_ANIMAL: ("animal", UNKNOWN_ANIMAL, None),
    # People at work on the camera: never a visit, see `staff`.
    **{word: ("person", word, STAFF_SCIENTIFIC_NAME) for word in STAFF_LABELS},
}
# Withdraws the labels of reviewers, so that the models' label is in effect.
WITHDRAWAL = "machine"
# Those of the words that are offered to choose from.
OFFERED_LABELS = ("nothing", "unknown", "person", "vehicle", *STAFF_LABELS, WITHDRAWAL)


@dataclass(frozen=True)
class Label:
    """A label; without a category it is "nothing", or a withdrawal."""

    category: str | None
    species: str | None
    scientific_name: str | None
    withdraws: bool = False

    @property
    def name(self) -> str:
        """The label as a person writes it."""
        return WITHDRAWAL if self.withdraws else self.species or "nothing"


def parse_label(text: str, taxonomy: Taxonomy) -> Label:
    """Parse a label.

    Raises:
        ValueError: the taxonomy does not know the name; the message has the nearest known one.
    """
    word = text.casefold()
    if word in EMPTY_LABELS:
        return Label(None, None, None)
    if word == WITHDRAWAL:
        return Label(None, None, None, withdraws=True)
    if word in SPECIAL_LABELS:
        return Label(*SPECIAL_LABELS[word])
    taxon = taxonomy.find(text)
    if taxon is None:
        known = [*taxonomy.common_names(), *SPECIAL_LABELS, *EMPTY_LABELS, WITHDRAWAL]
        close = difflib.get_close_matches(word, known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ValueError(
            f"{text!r} is unknown; {hint}Use a name of the taxonomy or of project.species"
        )
    return Label("animal", taxon.common_name or taxon.scientific_name, taxon.scientific_name)
