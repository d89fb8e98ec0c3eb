"""Which visits a sensitive species covers."""

from typing import Any

import polars as pl
import pytest

from odins_ravne_assets.hugin.identification.taxonomy import Taxon, Taxonomy, project_taxonomy
from odins_ravne_assets.hugin.privacy.sensitive_taxa import TAXON_COLUMNS, sensitive_taxa
from resources.errors import UsageError
from resources.settings.project import ListedSpecies

TAXONOMY = project_taxonomy(())


def visit(scientific_name: str | None, species: str = "", category: str = "animal") -> pl.DataFrame:
    taxon = TAXONOMY.find(scientific_name or "")
    ranks: Any = taxon[3:] if taxon else (None,) * 4
    values = (species or scientific_name, scientific_name, *ranks)
    schema = dict.fromkeys((*TAXON_COLUMNS, "category"), pl.String)
    return pl.DataFrame([(*values, category)], schema=schema, orient="row")


def covered(setting: str, *visit_of: Any, taxonomy: Taxonomy = TAXONOMY) -> bool:
    return sensitive_taxa([setting], [taxonomy]).cover_any(visit(*visit_of))


@pytest.mark.parametrize(
    "setting",
    [
        "Lynx lynx",
        "lynx lynx",
        "LYNX LYNX",
        "  Lynx   lynx ",
        "Eurasian lynx",
        "eurasian LYNX",
        "Lynx",  # genus
        "lynx",
        "Felidae",
        "felidae",
        "cat family",
        "Carnivora",
        "mammalia",
    ],
)
def test_a_name_of_any_rank_case_and_language_covers_a_lynx(setting: str) -> None:
    assert covered(setting, "Lynx lynx", "Eurasian lynx")


@pytest.mark.parametrize("seen", ["Lynx", "Felidae", "Carnivora", "Mammalia"])
def test_a_visit_rolled_up_to_a_taxon_that_may_be_a_lynx_is_covered(seen: str) -> None:
    assert covered("Lynx lynx", seen)


def test_a_subspecies_is_covered_as_its_species_is() -> None:
    assert covered("Lynx lynx", "Lynx lynx carpathicus")
    assert covered("Felidae", "Lynx lynx carpathicus")


@pytest.mark.parametrize(
    "seen",
    [
        ("Vulpes vulpes", "red fox"),
        ("Lynx rufus", "bobcat"),
        ("Canidae",),
        ("Aves",),
        (None, "unknown animal"),
        ("Animalia", "animal"),
        ("Homo sapiens", "person", "person"),
        (None, "vehicle", "vehicle"),
    ],
)
def test_another_taxon_and_an_unknown_animal_are_not_covered(seen: tuple[Any, ...]) -> None:
    assert not covered("Lynx lynx", *seen)


def test_a_visit_named_only_by_its_common_name_is_covered() -> None:
    assert covered("Lynx lynx", None, "Eurasian Lynx")
    assert covered("Felidae", None, "eurasian lynx")
    assert not covered("Felidae", None, "red fox")


def test_a_taxon_of_the_project_knows_the_ranks_above_those_of_its_row() -> None:
    own = ListedSpecies(
        scientific_name="Lynx issiodorensis", common_name="Issoire lynx", genus="Lynx"
    )
    taxonomy = project_taxonomy([own])
    assert covered("issoire lynx", "Lynx issiodorensis", taxonomy=taxonomy)
    assert covered("Felidae", "Lynx issiodorensis", taxonomy=taxonomy)
    assert covered("Lynx issiodorensis", "Felidae", taxonomy=taxonomy)


def test_a_taxon_of_a_classifier_is_a_known_name() -> None:
    tapir = Taxon("Tapirus indicus", "Malayan tapir", "species", None, None, "Tapiridae", "Tapirus")
    taxonomy = project_taxonomy((), {tapir.scientific_name: tapir})
    assert covered("tapiridae", "Tapirus indicus", taxonomy=taxonomy)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("Linx lynx", "'Linx lynx' is unknown; did you mean Lynx lynx?"),
        ("felida", "'felida' is unknown; did you mean Felidae?"),
        ("", "'' is unknown; use a common or scientific name"),
        ("unknown animal", "'unknown animal' is unknown"),
        ("Nosuchia", "'Nosuchia' is unknown"),
    ],
)
def test_an_unknown_name_is_refused_in_one_line_that_names_the_setting(
    setting: str, said: str
) -> None:
    with pytest.raises(UsageError) as refused:
        sensitive_taxa(["Lynx lynx", setting], [TAXONOMY])
    assert str(refused.value).startswith(f"privacy.sensitive_species: {said}")
    assert "\n" not in str(refused.value)
    assert "project.species" in str(refused.value)


def test_without_sensitive_species_nothing_is_covered() -> None:
    assert not sensitive_taxa([], [TAXONOMY]).cover_any(visit("Lynx lynx"))
