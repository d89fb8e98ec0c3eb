"""Raw files beside their JPEGs are copies of them."""

import pytest

from odins_ravne_assets.munin.media.raw_pairs import MAX_HELD, without_raw_copies


def split(*keys: str) -> tuple[list[str], list[str]]:
    """Return the keys that are media, and the copies."""
    copies: list[str] = []
    return list(without_raw_copies(keys, str, copies.append)), copies


@pytest.mark.parametrize(
    ("keys", "media"),
    [
        (["a/1.CR2", "a/1.JPG"], ["a/1.JPG"]),
        (["a/1.JPG", "a/1.NEF"], ["a/1.JPG"]),
        (["1.ARW", "1.jpeg", "1.xmp"], ["1.jpeg", "1.xmp"]),
        (["1.DNG", "2.JPG"], ["1.DNG", "2.JPG"]),
        (["a/1.DNG", "b/1.JPG"], ["a/1.DNG", "b/1.JPG"]),
        (["1.DNG", "1.MOV"], ["1.DNG", "1.MOV"]),
        (["1.JPG", "1.png", "1.tif"], ["1.JPG", "1.png", "1.tif"]),
        (["raw", "raw.d/1.CR2"], ["raw", "raw.d/1.CR2"]),
        ([], []),
    ],
)
def test_a_raw_file_is_left_out_if_its_jpeg_is_there(keys: list[str], media: list[str]) -> None:
    found, copies = split(*keys)
    assert found == media
    assert sorted(found + copies) == sorted(keys)


def test_files_of_one_name_are_not_held_back_without_end() -> None:
    held = 0

    def keys() -> list[str]:
        return [f"a.{number:06d}" for number in range(10_000)]

    def listing():  # type: ignore[no-untyped-def]
        nonlocal held
        for key in keys():
            held += 1
            yield key

    for _ in without_raw_copies(listing(), str):
        held -= 1
        assert held <= MAX_HELD
