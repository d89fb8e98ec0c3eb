"""SpeciesNet's labels: the lowest taxon that each names."""

import pytest
from model_files import ANIMAL, BLANK, CANID, FOX, HUMAN

from gpu_kernels.models.speciesnet_labels import parse_label


@pytest.mark.parametrize(
    ("text", "name", "rank", "is_animal"),
    [
        (FOX, "Vulpes vulpes", "species", True),
        (CANID, "Canidae", "family", True),
        ("u;aves;;;;;bird", "Aves", "class", True),
        (ANIMAL, None, None, False),
        (BLANK, None, None, False),
        (HUMAN, "Homo sapiens", "species", False),
    ],
)
def test_a_label_has_the_name_of_its_lowest_taxon(
    text: str, name: str | None, rank: str | None, is_animal: bool
) -> None:
    label = parse_label(text)
    assert label is not None
    assert (label.scientific_name, label.rank, label.is_animal) == (name, rank, is_animal)
