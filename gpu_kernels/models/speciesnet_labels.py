"""SpeciesNet's labels: `uuid;class;order;family;genus;species;common name`, in lower case.

Source: speciesnet 5.0.6, `speciesnet/constants.py` and `speciesnet/taxonomy_utils.py`.
"""

from typing import NamedTuple

FIELD_COUNT = 7
RANKS = ("class", "order", "family", "genus")
# Common names of labels that are not animals.
NON_ANIMAL_LABELS = {"blank", "human", "vehicle", "no cv result"}


class SpeciesNetLabel(NamedTuple):
    """A label with the names of its taxonomic ranks; None for ranks it does not name.

    Attributes:
        common_name: the label's, or else the scientific name.
        scientific_name: of the lowest named rank; None for things, and for "animal".
        rank: of that name: species, genus, family, order or class.
        is_animal: True if it names a taxon of animals.
    """

    common_name: str
    scientific_name: str | None
    rank: str | None
    class_: str | None
    order: str | None
    family: str | None
    genus: str | None
    is_animal: bool

    @property
    def taxon(
        self,
    ) -> tuple[str | None, str, str | None, str | None, str | None, str | None, str | None]:
        """Scientific name, common name, rank, class, order, family, genus: columns of the taxa."""
        return (
            self.scientific_name,
            self.common_name,
            self.rank,
            self.class_,
            self.order,
            self.family,
            self.genus,
        )


def parse_label(text: str) -> SpeciesNetLabel | None:
    """Parse a label; None if it does not have SpeciesNet's format."""
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
