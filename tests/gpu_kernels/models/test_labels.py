"""The labels of classifiers, as a table or in SpeciesNet's format."""

import os
from pathlib import Path

import pytest
from model_files import CLASSIFIER, copy_model, speciesnet_manifest

from gpu_kernels.models.labels import Label, load_labels, read_labels
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


HEADER = "index\tlabel\tscientific_name\tis_animal\n"
UUID = "00000000-0000-4000-8000-000000000000"
SPECIESNET = f"{UUID};mammalia;carnivora;canidae;vulpes;vulpes;red fox\n"


@pytest.mark.parametrize("content", [HEADER + "0\tred fox\tVulpes vulpes\t1\n", SPECIESNET])
@pytest.mark.parametrize("end", ["", "\n", "\r\n \t\n\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_and_blank_lines_at_the_end_are_ignored(
    tmp_path: Path, content: str, end: str, encoding: str
) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes((content + end).encode(encoding))
    (label,) = read_labels(path)
    assert (label.label, label.is_animal) == ("red fox", True)


def test_a_blank_line_between_labels_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(HEADER + "0\tfox\t\t1\n\n1\tcat\t\t1\n")
    with pytest.raises(ModelError, match="line 3"):
        read_labels(path)


@pytest.mark.parametrize(
    "content",
    [b"x" * 200_000, b"\xff\xfe", b"a\x00b\rc", b"", b"\n\n", b"x\n" * (9 * 2**20)],
    ids=["a long field", "not UTF-8", "control characters", "empty", "blank", "large"],
)
def test_files_that_are_no_labels_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"^labels .*labels\.txt: "):
        read_labels(path)


def test_a_pipe_is_no_file_of_labels(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "labels.txt")
    with pytest.raises(ModelError, match="is not a file"):
        read_labels(tmp_path / "labels.txt")


def test_labels_in_speciesnet_s_format_have_taxonomic_ranks(
    tmp_path: Path,
) -> None:
    blank, fox, canid = load_labels(speciesnet_manifest(tmp_path, "nhwc"))
    assert (blank.is_animal, fox.label, fox.scientific_name) == (False, "red fox", "Vulpes vulpes")
    assert canid.ranks is not None
    assert canid.ranks.family == "Canidae"
