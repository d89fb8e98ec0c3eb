"""Keys of uploads: media, files of no camera, and names that no file can have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odins_ravne_assets.arrivals.routing import CameraMedium, QuarantinedUpload, camera_of_key
from odins_ravne_assets.munin.media.media_files import is_medium

PATTERN = "(?P<camera>[^/]+)/"


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("north-1//IMG_0001.JPG", "north-1//"),
        ("north-1///IMG_0001.JPG", "north-1//"),
        ("/north-1/IMG_0001.JPG", "/"),
        ("//IMG_0001.JPG", "/"),
        ("north-1/./IMG_0001.JPG", "north-1/./"),
        ("north-1/../south/IMG_0001.JPG", "north-1/../"),
        ("./north-1/IMG_0001.JPG", "./"),
        ("north-1/DCIM//100RECNX/a.mp4", "north-1/DCIM//"),
        ("north-1/a\0b.jpg", "north-1/a\0b.jpg/"),
        ("north-1/IMG_0001.JPG/", "north-1/IMG_0001.JPG/"),
    ],
)
def test_a_medium_under_a_name_that_no_file_can_have_is_in_quarantine(key: str, path: str) -> None:
    refused = camera_of_key(key, PATTERN)
    assert isinstance(refused, QuarantinedUpload)
    assert refused.path == path
    assert "rename the object" in refused.reason
    assert not is_medium(key)


@pytest.mark.parametrize("key", ["north-1/", "north-1/clips.mp4/", "clips.mp4/", "north-1//"])
def test_an_empty_object_that_stands_for_a_folder_is_no_upload(key: str) -> None:
    assert camera_of_key(key, PATTERN, size=0) is None


@pytest.mark.parametrize(
    "key",
    [
        "north-1/line\nbreak.jpg",
        "north-1/bell\a.jpg",
        "north-1/" + "x" * 300 + ".jpg",
        "north-1/a.jpg",
        "north-1/A.JPG",
        "north-1/a.jpg/b.jpg",
        "north-1/e\u0301.jpg",
        "north-1/ .jpg",
        "north-1/…/a.jpg",
    ],
)
def test_odd_names_that_a_run_can_take_are_media_of_their_camera(key: str) -> None:
    assert camera_of_key(key, PATTERN) == CameraMedium("north-1", "north-1")


@pytest.mark.parametrize(
    ("pattern", "key"),
    [
        (r"(?P<camera>[a-z]+)-\d+/", "north-1/IMG_0001.JPG"),
        (r"(?P<camera>[a-z]+)_", "north_0001.jpg"),
        (r"site/(?P<camera>[a-z])", "site/cam/IMG_0001.JPG"),
    ],
)
def test_an_id_that_ends_inside_of_a_folders_name_is_refused(pattern: str, key: str) -> None:
    # The footage would be sought in a folder that does not exist.
    refused = camera_of_key(key, pattern)
    assert isinstance(refused, QuarantinedUpload)
    assert "uploads.camera_pattern must end" in refused.reason


def test_a_pattern_whose_group_takes_no_part_matches_no_camera() -> None:
    refused = camera_of_key("loose.jpg", "(?:site/(?P<camera>[^/]+)/)?")
    assert isinstance(refused, QuarantinedUpload)


@given(st.lists(st.sampled_from(["", ".", "..", "a", "#recycle", "é", "b.jpg"]), max_size=5))
def test_what_is_routed_to_a_camera_is_a_medium_of_its_run(names: list[str]) -> None:
    key = "/".join(names)
    owner = camera_of_key(key, PATTERN)
    taken = isinstance(owner, CameraMedium)
    assert taken == (is_medium(key) and names[0] == "a" and len(names) > 1)


@pytest.mark.parametrize("folder", ["DCIM", "dcim"])
def test_a_card_that_is_uploaded_without_a_folder_of_its_camera_is_refused(folder: str) -> None:
    refused = camera_of_key(f"{folder}/100RECNX/IMG_0001.JPG", PATTERN)
    assert isinstance(refused, QuarantinedUpload)
    assert (refused.path, "its camera's name" in refused.reason) == (folder, True)
