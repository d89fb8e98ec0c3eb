"""The entries of the catalogue: every one is valid, sourced, and gives a valid manifest."""

import csv
from pathlib import Path

import pytest
from paths import ROOT

from gpu_kernels.models.catalogue.entry import (
    LABEL_TABLES,
    CatalogueEntry,
    catalogue,
    classifiers_at,
    entries_for,
    find_entry,
    load_entry,
)
from gpu_kernels.models.catalogue.regions import (
    ALL_COUNTRIES,
    CONTINENTS,
    countries_of,
    regions_of,
)
from gpu_kernels.models.licences import LICENCES, licence_of
from gpu_kernels.models.manifest import load_manifest
from odins_ravne_assets.hugin.identification.taxonomy import shipped_taxa
from odins_ravne_assets.model_library.manifest_text import manifest_text
from odins_ravne_assets.model_library.model_layout import ModelLayout, layout_of
from resources.errors import ModelError, UsageError

EXPECTED = {
    *(f"megadetector-v6-{each}" for each in ("mit-yolov9-c", "mit-yolov9-e")),
    *(f"megadetector-v6-{each}" for each in ("apa-rtdetr-c", "apa-rtdetr-e")),
    *(f"megadetector-v1000-{each}" for each in ("redwood", "cedar", "larch", "sorrel", "spruce")),
    "megadetector-v5a",
    "speciesnet-crop",
    "deepfaune-europe",
    "deepfaune-new-england",
}
CATALOGUE_FOLDER = LABEL_TABLES.parent / "entries"
ENTRIES = list(catalogue().values())


def test_the_models_of_the_field_are_there() -> None:
    assert catalogue().keys() >= EXPECTED
    regional = [entry for entry in ENTRIES if entry.is_regional and entry.task == "classifier"]
    assert len(regional) >= 24


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_an_entry_is_complete(entry: CatalogueEntry) -> None:
    path = next(each for each in catalogue_files() if each.stem == entry.name)
    assert load_entry(path) == entry
    assert entry.download.url.startswith("https://")
    assert all(fact.source.startswith("https://") for fact in entry.facts)
    assert entry.is_regional == bool(entry.areas)
    assert "example" not in path.read_text(encoding="utf-8")


def catalogue_files() -> list[Path]:
    return sorted(CATALOGUE_FOLDER.glob("*.toml"))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_manifest_of_an_entry_is_valid(entry: CatalogueEntry, tmp_path: Path) -> None:
    """What only the package says is filled in as a package would."""
    sections = {key: dict(value) for key, value in entry.manifest.items()}
    complete = set(sections) >= {"input", "output"}
    if complete and (entry.labels is None or entry.labels.table):
        layout = layout_of(entry, None, entry.name)
    else:
        assert entry.download.package, "the layout is neither in the entry nor in a package"
        sections.setdefault("input", find_entry("speciesnet-crop").manifest["input"])
        sections.setdefault("output", {"decoding": "logits"})
        layout = ModelLayout(sections)
    labels = "0" * 64 if entry.task == "classifier" else None
    path = tmp_path / f"{entry.name}.toml"
    path.write_text(manifest_text(entry, layout, "1" * 64, labels), encoding="utf-8")
    manifest = load_manifest(str(path))
    assert manifest.name == entry.name
    assert manifest.licence == entry.licence
    if entry.task == "detector":
        categories = [each.category for each in manifest.detector_output.classes]
        assert categories == ["animal", "person", "vehicle"]


@pytest.mark.parametrize("table", sorted(LABEL_TABLES.glob("*.tsv")), ids=lambda path: path.stem)
def test_a_table_of_labels_is_used_and_has_no_label_twice(table: Path) -> None:
    assert any(entry.labels and entry.labels.table == table.name for entry in ENTRIES)
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream, delimiter="\t"))
    assert rows[0] == ["label", "scientific_name", "is_animal"]
    assert {len(row) for row in rows} == {3}
    assert {row[2] for row in rows[1:]} <= {"0", "1"}
    assert len({row[0].casefold() for row in rows}) == len(rows)
    unknown = {row[1] for row in rows[1:] if row[1]} - shipped_taxa().keys() - {"Homo sapiens"}
    assert not unknown, "labels roll up along the taxonomy"


def test_the_readme_counts_the_models() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("\n", " ")
    assert f"`munin models catalogue` lists {len(ENTRIES)} of them" in text


def test_the_number_of_labels_is_the_published_one() -> None:
    for name, count in {
        "deepfaune-europe": 34,
        "deepfaune-new-england": 24,
        "ai4g-amazon-v2": 36,
        "ai4g-serengeti": 10,
    }.items():
        entry = find_entry(name)
        assert entry.labels and entry.labels.table
        lines = (LABEL_TABLES / entry.labels.table).read_text(encoding="utf-8").splitlines()
        assert len(lines) == count + 1
        assert str(count) in entry.finds


@pytest.mark.parametrize("name", ["AGPL-3.0", "CC-BY-NC-SA-4.0", "CC-BY-SA-4.0", "GPL-3.0"])
def test_licences_that_bind(name: str) -> None:
    assert licence_of(name).binds
    assert not any(LICENCES[each].binds for each in ("MIT", "Apache-2.0", "CC0-1.0", "CC-BY-4.0"))
    with pytest.raises(ModelError, match="unknown"):
        licence_of("none")


def test_a_country_lists_its_models_and_those_for_the_world() -> None:
    names = [entry.name for entry in entries_for(country="nz")]
    assert {"nz-species", "nz-invasives", "speciesnet-crop"} <= set(names)
    assert "deepfaune-europe" not in names
    assert "awc135" in [entry.name for entry in entries_for(region="australia")]


@pytest.mark.parametrize(
    ("region", "expected", "others"),
    [
        ("Africa", {"namibian", "ai4g-serengeti", "deep-forest-vision"}, {"iran"}),
        ("south america", {"peruvian-andes", "tropicam-ai", "ai4g-amazon-v2"}, {"sw-borderlands"}),
        ("Asia", {"central-india", "terai-nepal", "gifu-japan", "iran"}, {"awc135", "namibian"}),
        ("North America", {"ahdrift", "sw-borderlands", "tropicam-ai"}, {"peruvian-andes"}),
        ("Oceania", {"awc135", "nz-species", "tasmanian-vertebrates"}, {"gifu-japan"}),
        ("Europe", {"deepfaune-europe"}, {"deepfaune-new-england"}),
        ("East Africa", {"ai4g-serengeti", "sub-saharan-drylands"}, {"deep-forest-vision"}),
        ("south-eastern asia", set(), {"terai-nepal"}),
        ("Tasmania", {"tasmanian-vertebrates"}, {"awc135"}),
        ("world", set(), {"awc135", "deepfaune-europe"}),
    ],
)
def test_a_region_lists_the_models_of_its_countries(
    region: str, expected: set[str], others: set[str]
) -> None:
    names = {entry.name for entry in entries_for(region)}
    assert names >= expected | {"speciesnet-crop"}
    assert not names & others


@pytest.mark.parametrize("region", ["Atlantis", " ", "Asien"])
def test_an_unknown_region_is_answered_with_the_known_ones(region: str) -> None:
    with pytest.raises(UsageError, match=r"use one of Africa, Asia, .*South America.* --country"):
        entries_for(region)


def test_every_country_is_on_one_continent() -> None:
    continents = [countries_of(name) or frozenset() for name in CONTINENTS]
    assert sum(map(len, continents)) == len(ALL_COUNTRIES) == 250
    assert regions_of(frozenset({"SE", "PE"})) == [
        "Europe", "Northern Europe", "South America"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([(59.3, 17.1), (48.1, 2.3)], "deepfaune-europe"),
        ([(37.5, 14.0)], "deepfaune-europe"),  # Sicily
        ([(-42.0, 147.0)], "tasmanian-vertebrates"),
        ([(-42.0, 147.0), (-25.0, 133.0)], "awc135"),
        ([(-2.3, 34.8)], "ai4g-serengeti"),
        ([(44.0, -71.5)], "deepfaune-new-england"),
        ([(19.6, -155.5)], "hawaii-puaa"),
        ([(36.75, 3.06)], None),  # Algiers
        ([(36.8, 10.2)], None),  # Tunis
        ([(39.96, -83.0)], None),  # Ohio: that model is for drift fences only
        ([(59.3, 17.1), (-42.0, 147.0)], None),
        ([], None),
    ],
)
def test_the_classifier_of_a_place(places: list[tuple[float, float]], expected: str | None) -> None:
    found = classifiers_at(places)
    assert (found[0].name if found else None) == expected


def test_an_unknown_name_is_answered_with_a_close_one() -> None:
    with pytest.raises(UsageError, match="did you mean megadetector-v5a"):
        find_entry("megadetector-v5b")
    with pytest.raises(UsageError, match=r"not in the catalogue; `munin"):
        find_entry("nonsense")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('name = "megadetector-v5a"', 'name = "../x"', "is not a name"),
        ('licence = "AGPL-3.0"', 'licence = "my own"', "is not one of the known licences: MIT, "),
        ('member = "MDV5a/1/', 'member = "../1/', "relative path"),
        (
            'region = "world"',
            'region = "UK"\ncountries = ["UK"]',
            "UK: not two letters of ISO",
        ),
        ("max_mb = 1200", "max_mb = 0", "max_mb"),
        ('url = "https', 'url = "file', "url"),
        ('task = "detector"', 'task = "classifier"', "needs a .labels. section"),
        ("[download]", 'unknown = "key"\n[download]', "unknown"),
        ("date = 2026-08-20", 'date = "soon"', "date"),
        ("[download]", "[download", "cannot be read"),
    ],
)
def test_an_invalid_entry_is_refused(tmp_path: Path, before: str, after: str, message: str) -> None:
    text = next(p for p in catalogue_files() if p.stem == "megadetector-v5a").read_text("utf-8")
    assert before in text
    path = tmp_path / "entry.toml"
    path.write_text(text.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        load_entry(path)
