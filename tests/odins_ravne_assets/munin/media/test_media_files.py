"""Names in a listing: media, and what systems, disks and recycle bins leave beside them."""

import pytest

from odins_ravne_assets.munin.media.media_files import (
    is_hidden,
    is_medium,
    kind_by_name,
    path_in_table,
)


@pytest.mark.parametrize(
    "folder",
    [
        "#recycle",
        "@Recycle",
        "$RECYCLE.BIN",
        "$Recycle.Bin",
        "RECYCLER",
        "RECYCLER/S-1-5-21",
        "Recycled",
        "Recycle Bin",
        "trashbox",
        "Network Trash Folder",
        ".Trash-1000/files",
        ".Trashes/501",
        "FOUND.000",
        "FOUND.001/DIR0000.CHK",
        "found.999",
        "LOST.DIR",
        "lost+found",
        ".dropbox.cache",
        "@Recently-Snapshot/GMT+02_2026-05-01",
        "#snapshot/2026",
        ".snapshot/hourly.0",
        "~snapshot",
        "@eaDir/IMG_0001.JPG",
        "@tmp",
        "System Volume Information",
        ".Spotlight-V100",
        ".fseventsd",
        ".thumbnails",
        "__MACOSX",
    ],
)
def test_recycle_bins_and_folders_of_systems_are_no_footage(folder: str) -> None:
    for key in (f"{folder}/IMG_0001.JPG", f"north/DCIM/{folder.swapcase()}/IMG_0001.JPG"):
        assert is_hidden(key)
        assert not is_medium(key)


@pytest.mark.parametrize(
    "folder",
    [
        "recycling centre",
        "Recyclers",
        "found",
        "FOUND.12",
        "foundry.001",
        "lost",
        "MISC",
        "trash 4",
    ],
)
def test_folders_with_similar_names_are_footage(folder: str) -> None:
    assert is_medium(f"{folder}/IMG_0001.JPG")


@pytest.mark.parametrize(
    "key", ["a//1.jpg", "/1.jpg", "./1.jpg", "../1.jpg", "a/../1.jpg", "1.jpg/"]
)
def test_a_name_that_no_file_can_have_is_no_medium_and_not_hidden(key: str) -> None:
    assert not is_medium(key)
    assert not is_hidden(key)


def test_the_extension_is_of_the_files_own_name() -> None:
    assert kind_by_name("clips.mp4/notes") is None
    assert kind_by_name("clips.mp4/") is None
    assert kind_by_name("notes.txt/a.JPG") == "image"


def test_bytes_that_are_no_utf8_are_escaped_in_the_table() -> None:
    assert path_in_table("a/\udcff.jpg") == "a/\\xff.jpg"
    assert path_in_table("a/é.jpg") == "a/é.jpg"
