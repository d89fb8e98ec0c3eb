"""Labels of a review file for one camera: counts of animals, paths of Timelapse, other cameras."""

import unicodedata
from datetime import date, datetime
from pathlib import Path, PurePosixPath

import polars as pl
import pytest

from odins_ravne_assets.hugin.identification.taxonomy import project_taxonomy
from odins_ravne_assets.hugin.review.camera_labels import (
    CameraLabels,
    Review,
    ReviewTables,
    parse_camera_labels,
)
from odins_ravne_assets.hugin.review.corrections import NO_CORRECTIONS
from odins_ravne_assets.hugin.review.media_paths import CameraNames
from odins_ravne_assets.hugin.review.review_files import read_review_file
from odins_ravne_assets.munin.tables import schemas

FOX = PurePosixPath("/study/Räv 7 (north)")
MEDIA = ("DCIM/100RECNX/RCNX0001.JPG", "DCIM/100RECNX/RCNX0002.JPG")
NFD = unicodedata.normalize("NFD", "Räv 7 (north)")


def labels(
    folder: Path,
    text: str,
    media: dict[str, str | None] | None = None,
    place: PurePosixPath = FOX,
    others: tuple[str, ...] = ("lake",),
) -> CameraLabels:
    """What a file says about camera Rav-7-north.

    Args:
        media: the source of each path.
    """
    file = folder / "labels.csv"
    file.write_text(text, encoding="utf-8")
    sources = media or dict.fromkeys(MEDIA)
    columns = {"path": list(sources), "content_hash": list(sources), "source": [*sources.values()]}
    tables = ReviewTables(
        CameraNames("Rav-7-north", [place]),
        pl.DataFrame(columns, schema={"path": pl.String, "content_hash": pl.String} | SOURCE),
        schemas.DETECTIONS.to_frame(),
        schemas.OBSERVATIONS.to_frame(),
        NO_CORRECTIONS,
        tuple(CameraNames(each, [PurePosixPath("/study", each)]) for each in others),
    )
    review = Review("Anna", date(2026, 6, 1), False, datetime(2026, 6, 1, 12))
    return parse_camera_labels(read_review_file(file), tables, project_taxonomy(()), review)


SOURCE = {"source": pl.String}


def labelled(found: CameraLabels) -> list[str]:
    """The paths that have a label, which are their content in these tests."""
    return [row["content_hash"] for rows in found.rows.values() for row in rows]


@pytest.mark.parametrize("count", ["9" * 5000, "100001", "-1", "²", "1e3", "two"])
def test_a_count_that_is_no_number_of_animals_is_one_line(count: str, tmp_path: Path) -> None:
    found = labels(tmp_path, f"path,species,count\n{MEDIA[0]},red fox,{count}\n")
    assert list(found.failed) == [2]
    assert found.failed[2].startswith("count '")
    assert "is not a number of animals" in found.failed[2] and len(found.failed[2]) < 250


@pytest.mark.parametrize(
    ("root", "folder"),
    [
        ("study", "Räv 7 (north)\\DCIM\\100RECNX"),  # Timelapse on the project
        ("", "Räv 7 (north)/DCIM/100RECNX"),
        ("study", f"{NFD}\\DCIM\\100RECNX"),  # from a Mac
        ("study", "Rav-7-north/DCIM/100RECNX"),  # exports of version 0.1
        ("disk", "study\\Räv 7 (north)\\DCIM\\100RECNX"),  # on a folder above
        ("Räv 7 (north)", "DCIM\\100RECNX"),  # on the camera
        (NFD, ".\\DCIM\\100RECNX\\"),
        ("", "DCIM/100RECNX"),
        ("DCIM", "100RECNX"),  # on a folder of the card
    ],
)
def test_a_file_is_found_by_its_path_on_disk_or_below_the_camera_s_id(
    root: str, folder: str, tmp_path: Path
) -> None:
    text = f"RootFolder,File,RelativePath,Species\n{root},RCNX0001.JPG,{folder},red fox\n"
    assert labelled(labels(tmp_path, text)) == [MEDIA[0]]


def test_a_file_is_found_without_the_column_of_the_root_folder(tmp_path: Path) -> None:
    text = "File,RelativePath,Species\nRCNX0002.JPG,räv 7 (north)\\DCIM\\100RECNX,red fox\n"
    assert labelled(labels(tmp_path, text)) == [MEDIA[1]]


def test_footage_elsewhere_and_an_id_of_its_own_are_found_by_the_folder(tmp_path: Path) -> None:
    text = "File,RelativePath,Species\nRCNX0002.JPG,cam A\\DCIM\\100RECNX,red fox\n"
    assert labelled(labels(tmp_path, text, place=PurePosixPath("/mnt/x/cam A"))) == [MEDIA[1]]
    inside = PurePosixPath("/mnt/cam A/DCIM/100RECNX")
    bare: dict[str, str | None] = {"RCNX0002.JPG": None}
    assert labelled(labels(tmp_path, text, bare, inside)) == ["RCNX0002.JPG"]


def test_rows_of_other_cameras_are_left_to_them(tmp_path: Path) -> None:
    """Also of cameras that this machine does not know, if the file is one of a project."""
    text = (
        "RootFolder,File,RelativePath,Species\n"
        "study,RCNX0001.JPG,Räv 7 (north)/DCIM/100RECNX,red fox\n"
        "study,RCNX0001.JPG,lake/DCIM/100RECNX,red fox\n"
        "study,RCNX0001.JPG,Älg 2/DCIM/100RECNX,moose\n"
        "study,RCNX0002.JPG,Älg 2/DCIM/100RECNX,\n"
        "study,RCNX0009.JPG,Räv 7 (north)/DCIM/100RECNX,red fox\n"
    )
    found = labels(tmp_path, text)
    assert labelled(found) == [MEDIA[0]]
    assert found.others == {3: "lake", 4: "Älg 2"}
    missing = "Räv 7 (north)/DCIM/100RECNX/RCNX0009.JPG"
    assert found.failed == {6: f"camera Rav-7-north has no medium {missing}"}


def test_the_root_folder_of_another_camera_is_not_this_one_s(tmp_path: Path) -> None:
    text = "RootFolder,File,RelativePath,Species\nlake,RCNX0001.JPG,DCIM/100RECNX,red fox\n"
    assert labels(tmp_path, text).others == {2: "lake"}


def test_the_column_camera_id_may_have_the_name_of_the_folder(tmp_path: Path) -> None:
    rows = "".join(
        f"{camera},{MEDIA[0]},red fox\n" for camera in ("Räv 7 (north)", "RAV-7-north", "elsewhere")
    )
    found = labels(tmp_path, f"camera_id,path,species\n{rows}")
    assert (sorted(found.rows), found.others) == ([2, 3], {4: "elsewhere"})


def test_a_path_of_before_the_second_card_is_found_if_it_is_of_one_card(tmp_path: Path) -> None:
    media: dict[str, str | None] = {"may/1.jpg": "may", "may/2.jpg": "may", "june/2.jpg": "june"}
    found = labels(tmp_path, "path,species\n1.jpg,moose\n2.jpg,moose\njune/2.jpg,moose\n", media)
    assert labelled(found) == ["may/1.jpg", "june/2.jpg"]
    assert list(found.failed) == [3]
