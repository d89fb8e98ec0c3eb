"""The labels of classifiers, as a table or in SpeciesNet's format."""

from pathlib import Path

import pytest
from model_files import CLASSIFIER, copy_model, speciesnet_manifest

from gpu_kernels.models.labels import Label, load_labels
from gpu_kernels.models.manifest import load_manifest
from resources.errors import ModelError


def test_the_shipped_classifier_has_1000_labels_396_of_them_animals() -> None:
    labels = load_labels(load_manifest(CLASSIFIER))
    assert len(labels) == 1000
    assert sum(label.is_animal for label in labels) == 396
    assert labels[277] == Label("red fox", "Vulpes vulpes", True)
    assert labels[281] == Label("tabby cat", "Felis catus", True)
    assert labels[51] == Label("triceratops", "Triceratops", False)
    assert labels[23] == Label("vulture", None, True)  # vultures are not a single taxon
    assert labels[673] == Label("computer mouse", None, False)
    assert {label.scientific_name for label in labels[151:269]} == {"Canis familiaris"}
    assert len({label.label for label in labels}) == 1000


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1\tfox\tVulpes\t1", "must be index 0"),
        ("0\tfox\tVulpes\tyes", "must be index 0"),
        ("0\tfox\tVulpes", "must be index 0"),
        ("0\t\tVulpes\t1", "must be index 0"),
    ],
)
def test_an_invalid_label_is_reported_with_its_line(tmp_path: Path, row: str, message: str) -> None:
    path = copy_model(tmp_path, CLASSIFIER)
    labels = tmp_path / "efficientnet_lite3_labels.tsv"
    labels.write_text(f"index\tlabel\tscientific_name\tis_animal\n{row}\n")
    with pytest.raises(ModelError, match=f"line 2.*{message}"):
        load_labels(load_manifest(str(path)))


def test_labels_without_a_header_are_refused(tmp_path: Path) -> None:
    path = copy_model(tmp_path, CLASSIFIER)
    (tmp_path / "efficientnet_lite3_labels.tsv").write_text("0\tfox\tVulpes\t1\n")
    with pytest.raises(ModelError, match="first row must be index label"):
        load_labels(load_manifest(str(path)))


def test_labels_in_speciesnet_s_format_have_taxonomic_ranks(
    tmp_path: Path,
) -> None:
    blank, fox, canid = load_labels(speciesnet_manifest(tmp_path, "nhwc"))
    assert (blank.is_animal, fox.label, fox.scientific_name) == (False, "red fox", "Vulpes vulpes")
    assert canid.ranks is not None
    assert canid.ranks.family == "Canidae"
