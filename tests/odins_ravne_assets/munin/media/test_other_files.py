"""Files that are not media are counted by kind, and named."""

from pathlib import Path

import pytest

from odins_ravne_assets.munin.media.other_files import (
    OtherFiles,
    describe_other_files,
    kind_of_other,
)
from odins_ravne_assets.munin.media.other_files_table import read_other_files, write_other_files
from resources.storage.layout import OTHER_FILES_TABLE
from resources.storage.local_store import LocalStore


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("DCIM/IMG_0001.XMP", "sidecar file"),
        ("VID_1.THM", "sidecar file"),
        ("rec.WAV", "sound file"),
        ("deployments.xlsx", "table"),
        ("notes.txt", "document"),
        ("old.zip", "archive"),
        ("a.b.xyz", "other file (.xyz)"),
        ("README", "other file"),
    ],
)
def test_the_extension_gives_the_kind(key: str, kind: str) -> None:
    assert kind_of_other(key) == kind


def test_each_kind_is_counted_with_its_first_files(tmp_path: Path) -> None:
    other = OtherFiles()
    for number in range(5):
        other.add(f"{number}.wav")
    other.add("notes.txt")
    other.add("1.CR2", "raw file beside its JPEG")
    store = LocalStore(tmp_path)
    write_other_files(other, store)
    rows = read_other_files(store)
    assert [(row["kind"], row["files"]) for row in rows] == [
        ("sound file", 5),
        ("document", 1),
        ("raw file beside its JPEG", 1),
    ]
    assert describe_other_files(rows) == (
        "5 sound files (0.wav, 1.wav, 2.wav, …); 1 document (notes.txt); "
        "1 raw file beside its JPEG (1.CR2)"
    )
    assert other.total == 7


@pytest.mark.parametrize("content", [None, b"", b"PAR1junk"])
def test_results_without_the_table_or_with_a_damaged_one_have_none(
    content: bytes | None, tmp_path: Path
) -> None:
    store = LocalStore(tmp_path)
    if content is not None:
        store.write_bytes(OTHER_FILES_TABLE, content)
    assert read_other_files(store) == []
    assert describe_other_files([]) is None
