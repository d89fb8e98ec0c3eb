"""The place of a sensitive species is in nothing that is shared.

Shared are all files of `stage3/`, merged exports and pages, and the metadata of assets. The tables
and the journal are private, and stay exact.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from camera_tables import NIGHT
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from report_rig import CameraOutput, LabelledBox, stage3
from shared_files import coordinate_pattern, leaks

from odins_ravne_assets.hugin.exports.export import export_camera, export_project
from odins_ravne_assets.results.download import write_report_pages
from odins_ravne_assets.worker.asset_metadata import deployment_metadata
from resources.errors import UsageError
from resources.settings.profile import Privacy
from resources.settings.project import Project
from resources.storage.local_store import LocalStore

LYNX = LabelledBox("Eurasian lynx", "Lynx lynx")
CAT_FAMILY = LabelledBox("cat family", "Felidae")
FOX = LabelledBox("red fox", "Vulpes vulpes")
PLACE = "Wolf ridge"
EXIF = (61.234567, 12.765432)
CARD = (61.345678, 12.876543)  # of deployments.csv
NAMES = ("Lynx lynx", "lynx lynx", "EURASIAN LYNX", "Lynx", "Felidae", "felidae", "Carnivora")


def project(place: tuple[float, float], *camera_ids: str) -> Project:
    rows = [
        {
            "cameraID": each,
            "latitude": place[0],
            "longitude": place[1],
            "deploymentID": f"{PLACE}-{each}",
            "locationID": PLACE,
            "locationName": PLACE,
            "deploymentGroups": PLACE,
            "deploymentTags": PLACE,
            "deploymentComments": f"below {PLACE}",
            "habitat": "forest",
            "cameraModel": f"X1 at {place[0]}",
        }
        for each in camera_ids
    ]
    return Project(utc_offset="+01:00", deployments=tuple(rows))  # type: ignore[arg-type]


def share(
    folder: Path,
    box: LabelledBox,
    privacy: Privacy,
    exif: tuple[float, float] = EXIF,
    card: tuple[float, float] = CARD,
    camera_id: str = "ridge7",
) -> tuple[LocalStore, dict[str, Any]]:
    """Write everything of a camera that is shared; return its store and its metadata."""
    shoot = CameraOutput(folder / camera_id, camera_id)
    store = shoot.still("1.jpg", NIGHT, box, position=exif).write()
    stage3(store, privacy)
    study = project(card, camera_id)
    assert export_camera(store, camera_id, study, privacy).camtrap_dp
    write_report_pages([folder / camera_id], folder)
    return store, deployment_metadata(study.deployments, datetime(2026, 6, 1), privacy)


def secrets(*places: tuple[float, float]) -> list[Any]:
    return [PLACE, *(coordinate_pattern(degrees) for place in places for degrees in place)]


latitudes = st.floats(-89, 89).map(lambda degrees: round(degrees, 1) + 0.023457)
longitudes = st.floats(-179, 179).map(lambda degrees: round(degrees, 1) - 0.034568)


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    exif=st.tuples(latitudes, longitudes),
    card=st.tuples(latitudes, longitudes),
    name=st.sampled_from(NAMES),
    box=st.sampled_from([LYNX, CAT_FAMILY]),
    decimals=st.integers(0, 2),
)
def test_nothing_that_is_shared_has_the_exact_place(
    exif: tuple[float, float],
    card: tuple[float, float],
    name: str,
    box: LabelledBox,
    decimals: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("shared")
    privacy = Privacy(sensitive_species=(name,), sensitive_decimals=decimals)
    store, metadata = share(folder, box, privacy, exif, card)
    assert leaks(folder / "ridge7" / "stage3", metadata, secrets(exif, card)) == []
    with store.reading("tables/media.parquet") as path:
        private = pl.read_parquet(path)
    assert private["latitude"].item() == exif[0]  # the tables stay exact


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("report.html", "<p>61.23457, 12.7"),
        ("camtrap-dp/deployments.csv", "ridge7,,,61.345678,12.9"),
        ("report.json", '{"place": "Wolf ridge"}'),
        ("notes.txt", "61,2345"),
    ],
)
def test_the_search_finds_a_planted_leak(file: str, text: str, tmp_path: Path) -> None:
    _, metadata = share(tmp_path, LYNX, Privacy(sensitive_species=("Lynx lynx",)))
    shared = tmp_path / "ridge7" / "stage3"
    assert leaks(shared, metadata, secrets(EXIF, CARD)) == []
    with (shared / file).open("a", encoding="utf-8") as stream:
        stream.write(text)
    (found,) = leaks(shared, metadata, secrets(EXIF, CARD))
    assert found.startswith(f"{file}: ")


def test_the_search_finds_a_leak_in_a_table_a_picture_and_metadata(tmp_path: Path) -> None:
    _, metadata = share(tmp_path, LYNX, Privacy(sensitive_species=("Lynx lynx",)))
    shared = tmp_path / "ridge7" / "stage3"
    pl.DataFrame({"latitude": [EXIF[0]]}).write_parquet(shared / "more.parquet")
    thumbnails = pl.read_parquet(shared / "thumbnails.parquet")
    tagged = thumbnails.with_columns(webp=pl.col("webp") + b"GPS 12.765432")
    tagged.write_parquet(shared / "thumbnails.parquet")
    found = leaks(shared, {**metadata, "place": CARD}, secrets(EXIF, CARD))
    assert {each.partition(":")[0] for each in found} == {
        "more.parquet",
        "thumbnails.parquet",
        "place",
    }


def test_the_search_finds_the_exact_place_of_a_camera_that_is_not_covered(tmp_path: Path) -> None:
    _, metadata = share(tmp_path, FOX, Privacy(sensitive_species=("Lynx lynx",)))
    found = leaks(tmp_path / "ridge7" / "stage3", metadata, secrets(EXIF, CARD))
    files = {each.partition(":")[0] for each in found}
    assert files == {"report.html", "camtrap-dp/deployments.csv", "camtrap-dp/datapackage.json"} | {
        "camtrap-dp/observations.csv",
        "camtrap-dp/media.csv",  # the project's ids of deployments
    }


@pytest.mark.parametrize("name", ["Felidae", "lynx lynx", "Eurasian lynx"])
def test_page_and_package_agree(name: str, tmp_path: Path) -> None:
    share(tmp_path, LYNX, Privacy(sensitive_species=(name,)))
    shared = tmp_path / "ridge7" / "stage3"
    assert "61.2, 12.8 (rounded)" in (shared / "report.html").read_text()
    deployments = pl.read_csv(shared / "camtrap-dp" / "deployments.csv", glob=False)
    assert deployments.select("latitude", "longitude").row(0) == (61.3, 12.9)
    assert deployments["deploymentID"].item() == "ridge7"
    assert deployments["habitat"].item() == "forest"
    package = json.loads((shared / "camtrap-dp" / "datapackage.json").read_text())
    assert package["spatial"]["coordinates"] == [[12.9, 61.3]]


def test_merged_exports_and_pages_cover_the_camera_of_the_sensitive_species_only(
    tmp_path: Path,
) -> None:
    privacy = Privacy(sensitive_species=("felidae",))
    one, _ = share(tmp_path, CAT_FAMILY, privacy, (61.234567, 12.5), camera_id="one")
    two, _ = share(tmp_path, FOX, privacy, (48.123456, 11.5), camera_id="two")
    far = (48.345678, 11.654321)
    rows = (*project(CARD, "one").deployments, *project(far, "two").deployments)
    study = Project(utc_offset="+01:00", deployments=rows)
    export_project([("one", one), ("two", two)], tmp_path / "all", study, privacy)
    write_report_pages([tmp_path / "one", tmp_path / "two"], tmp_path / "all")
    deployments = pl.read_csv(tmp_path / "all" / "camtrap-dp" / "deployments.csv", glob=False)
    assert dict(deployments.select("cameraID", "latitude").rows()) == {"one": 61.3, "two": far[0]}
    page = (tmp_path / "all" / "report.html").read_text()
    assert "61.234" not in page
    assert "48.12346" in page


@settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # shrinking takes minutes
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    station=st.tuples(latitudes, longitudes),
    metres=st.tuples(st.integers(-30, 30), st.integers(-30, 30)),
    listed=st.booleans(),
)
def test_another_camera_of_the_station_does_not_reveal_the_place(
    station: tuple[float, float],
    metres: tuple[int, int],
    listed: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("shared")
    privacy = Privacy(sensitive_species=("Lynx lynx",))
    beside = (station[0] + metres[0] / 111_000, station[1] + metres[1] / 111_000)
    one, _ = share(folder, LYNX, privacy, station, station, camera_id="one")
    two, _ = share(folder, FOX, privacy, beside, beside, camera_id="two")
    study = project(station, "one", "two") if listed else Project(utc_offset="+01:00")
    export_project([("one", one), ("two", two)], folder / "all", study, privacy)
    write_report_pages([folder / "one", folder / "two"], folder / "all")
    assert leaks(folder / "all", {}, secrets(station, beside)) == []


def test_metadata_of_the_footage_covers_the_place_while_the_visits_are_unknown() -> None:
    rows = project(CARD, "ridge7").deployments
    privacy = Privacy(sensitive_species=("Lynx lynx",))
    facts = deployment_metadata(rows, datetime(2026, 6, 1), privacy)
    assert facts["deployment/place"] == "ridge7"
    assert facts["deployment/coordinates"] == "61.3, 12.9 (rounded)"
    moved = deployment_metadata([*rows, *rows], datetime(2026, 6, 1), privacy)
    assert leaks_of(moved) == []
    assert deployment_metadata(rows, datetime(2026, 6, 1))["deployment/place"] == PLACE


def leaks_of(metadata: dict[str, Any]) -> list[str]:
    return [text for text in map(str, metadata.values()) if PLACE in text or "61.34" in text]


def test_an_unknown_name_stops_stage_3_before_anything_is_written(tmp_path: Path) -> None:
    store = CameraOutput(tmp_path).still("1.jpg", NIGHT, LYNX, position=EXIF).write()
    with pytest.raises(
        UsageError, match=r"^privacy.sensitive_species: 'Linx lynx' is unknown; did"
    ):
        stage3(store, Privacy(sensitive_species=("Linx lynx",)))
    assert not (tmp_path / "stage3").exists()
