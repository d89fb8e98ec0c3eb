"""SpeciesNet's labels: `uuid;class;order;family;genus;species;common name`, in small letters.

Source: speciesnet 5.0.6, `speciesnet/constants.py` and `speciesnet/taxonomy_utils.py`.
"""

from typing import NamedTuple

FIELD_COUNT = 7
RANKS = ("class", "order", "family", "genus")
# Labels of things that are no animals, by their common names.
NON_ANIMAL_LABELS = {"blank", "human", "vehicle", "no cv result"}


class SpeciesNetLabel(NamedTuple):
    """A label with the names of its ranks; None where it has none.

    Attributes:
        common_name: as the label has it, or the scientific name.
        scientific_name: of the lowest rank that is named; None: a thing, or "animal".
        rank: of that name: species, genus, family, order or class.
        is_animal: whether it names a taxon of animals.
    """

    common_name: str
    scientific_name: str | None
    rank: str | None
    class_: str | None
    order: str | None
    family: str | None
    genus: str | None
    is_animal: bool


def parse_label(text: str) -> SpeciesNetLabel | None:
    """The label that a text is; None when it is none of SpeciesNet's."""
    fields = [field.strip() for field in text.strip().split(";")]
    if len(fields) != FIELD_COUNT:
        return None
    *ranks, species, common = fields[1:]
    class_, order, family, genus = (rank.capitalize() or None for rank in ranks)
    by_rank = zip((class_, order, family, genus), RANKS, strict=True)
    named: list[tuple[str, str]] = [(name, rank) for name, rank in by_rank if name]
    if genus and species:
        named.append((f"{genus} {species}", "species"))
    scientific_name, rank = named[-1] if named else (None, None)
    is_thing = common.casefold() in NON_ANIMAL_LABELS or scientific_name == "Homo sapiens"
    return SpeciesNetLabel(
        common or scientific_name or "animal",
        scientific_name,
        rank,
        class_,
        order,
        family,
        genus,
        scientific_name is not None and not is_thing,
    )
