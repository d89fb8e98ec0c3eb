"""The files of Stage 3: their content, and that a second run writes the same bytes."""

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from camera_tables import NIGHT, SECOND, Camera, example_night

from odins_ravne_assets.hugin import formats
from odins_ravne_assets.hugin.identification.identifications import identify
from odins_ravne_assets.hugin.identification.name_threshold import apply_name_threshold
from odins_ravne_assets.hugin.identification.sequence_vote import vote_by_sequence
from odins_ravne_assets.hugin.identification.taxonomy import Taxonomy, shipped_taxa
from odins_ravne_assets.hugin.review.corrections import without_corrections
from odins_ravne_assets.hugin.visits.observations import compress
from odins_ravne_assets.hugin.visits.observations_json import write_observations_json
from odins_ravne_assets.hugin.visits.species_summary import species_table
from odins_ravne_assets.hugin.visits.stage3 import Stage3Result, run_stage3
from odins_ravne_assets.munin.tables import schemas
from resources.errors import StoreError
from resources.settings.profile import Privacy, Stage3
from resources.storage.local_store import LocalStore

Row = dict[str, Any]

MODELS = {"detector": "megadetector-lite 1", "classifier": "efficientnet-lite3 1"}
FILES = (
    "observations.parquet",
    "left_out_detections.parquet",
    "compressed_observations.json",
    "report.json",
)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return example_night().store(tmp_path / "camera7")


def run(store: LocalStore, settings: Stage3 | None = None) -> Stage3Result:
    return run_stage3(store, settings or Stage3(), MODELS, Privacy())


def read(store: LocalStore, name: str) -> Any:
    return json.loads(store.read_bytes(f"stage3/{name}"))


# Files


def test_stage_3_writes_three_files_and_returns_their_counts(store: LocalStore) -> None:
    result = asdict(run(store))
    assert sorted(found.key for found in store.list("stage3")) == sorted(
        f"stage3/{name}" for name in FILES
    )
    assert result.pop("species_table").count("\n") == 2 + 3
    assert result == {
        "observations": 4,
        "needs_review": 2,
        "rows_in": 9,
        "rows_rejected": 0,
        "rows_left_out": {
            "in_camera_strip": 0,
            "near_person": 0,
            "camera_setup": 0,
            "camera_calibration": 0,
        },
        "rows_below_confidence": 1,
        "rows_lowered": 0,
        "rows_without_time": 1,
        "rows_too_short": 1,
        "rows_in_observations": 7,
        "observations_too_short": 1,
        "labels_without_effect": None,
    }


def test_the_parquet_file_has_the_schema_of_observations(store: LocalStore) -> None:
    run(store)
    with store.reading("stage3/observations.parquet") as path:
        found = pl.read_parquet(path)
    assert found.schema == schemas.OBSERVATIONS
    assert found["species"].to_list() == ["red fox", "red fox", "person", "unknown animal"]


def test_an_observation_in_json_has_the_camera_s_times_and_four_digits(store: LocalStore) -> None:
    run(store)
    fox, *_ = read(store, "compressed_observations.json")
    timeline = fox.pop("detection_timeline")
    assert list(fox.items()) == [
        ("observation_id", fox["observation_id"]),
        ("camera_id", "camera7"),
        ("category", "animal"),
        ("species", "red fox"),
        ("scientific_name", "Vulpes vulpes"),
        ("taxon_rank", "species"),
        ("class", "Mammalia"),
        ("order", "Carnivora"),
        ("family", "Canidae"),
        ("genus", "Vulpes"),
        ("count", 2),
        ("start_time", "2026-05-01T02:14:00.000+02:00"),
        ("end_time", "2026-05-01T02:14:12.000+02:00"),
        ("duration_seconds", 12.0),
        ("max_confidence", 0.9),
        ("avg_confidence", 0.85),
        ("frame_count", 3),
        ("detection_count", 4),
        ("media_count", 2),
        ("source_video", "DCIM/1.jpg"),
        ("vote_share", None),
        ("relabelled", 0),
        ("label_source", "machine"),
        ("machine_species", None),
        ("reviewed_by", None),
        ("reviewed_on", None),
        ("flags", []),
        ("needs_review", False),
    ]
    assert len(timeline) == 4
    assert list(timeline[3].items()) == [
        ("time", "2026-05-01T02:14:12.000+02:00"),
        ("path", "DCIM/2.mp4"),
        ("frame_number", 2),
        ("box_number", 0),
        ("time_offset_seconds", 7.0),
        ("confidence", 0.9),
    ]


def test_an_observation_without_a_time_has_null_times(store: LocalStore) -> None:
    run(store)
    unknown = read(store, "compressed_observations.json")[-1]
    assert (unknown["start_time"], unknown["end_time"]) == (None, None)
    assert unknown["detection_timeline"][0]["time"] is None
    assert unknown["needs_review"]


@pytest.mark.parametrize(
    ("offset", "text"),
    [
        (None, "2026-05-01T02:14:00.250"),
        (0, "2026-05-01T02:14:00.250+00:00"),
        (120, "2026-05-01T02:14:00.250+02:00"),
        (345, "2026-05-01T02:14:00.250+05:45"),
        (-210, "2026-05-01T02:14:00.250-03:30"),
    ],
)
def test_times_have_the_offset_if_it_is_known(
    offset: int | None, text: str, tmp_path: Path
) -> None:
    camera = Camera()
    camera.medium("1.jpg", NIGHT + SECOND / 4, [{}], offset=offset)
    store = camera.store(tmp_path)
    run(store)
    (observation,) = read(store, "compressed_observations.json")
    assert observation["start_time"] == text
    if offset is not None:
        assert datetime.fromisoformat(text).utcoffset() == timedelta(minutes=offset)


def test_names_with_quotes_line_breaks_and_any_script_survive(tmp_path: Path) -> None:
    name = 'ä"\\\n\t\x01 木🦊,\n/räv.jpg'
    camera = Camera("kamera ö")
    camera.medium(name, NIGHT, [{"label": 'räv "röd"\n', "scientific_name": None}])
    camera.medium("2.jpg", NIGHT + 3600 * SECOND, [{}])
    store = camera.store(tmp_path)
    run(store)
    observation, _ = read(store, "compressed_observations.json")
    assert (observation["source_video"], observation["species"]) == (name, 'räv "röd"\n')
    written = store.read_bytes("stage3/compressed_observations.json").decode()
    assert "räv" in written
    assert len(written.splitlines()) == 4
    assert read(store, "report.json")["cameras"][0]["camera_id"] == "kamera ö"


def test_batches_of_long_timelines_make_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = Camera()
    for number in range(40):
        boxes = [{"second": second} for second in range(number % 5, 10)]
        camera.medium(f"{number}.mp4", NIGHT + number * 3600 * SECOND, boxes)
    rows = pl.DataFrame(
        [
            {name: row.get(name) for name in schemas.CLASSIFICATIONS}
            for row in camera.rows["classifications"]
        ],
        schema=schemas.CLASSIFICATIONS,
    )
    taxonomy = Taxonomy(shipped_taxa())
    identified = identify(rows.lazy(), taxonomy, 0.65)
    observations = compress(
        without_corrections(
            apply_name_threshold(vote_by_sequence(identified, taxonomy, Stage3()), Stage3())
        ),
        taxonomy,
        Stage3(),
    ).observations
    write_observations_json(observations, tmp_path / "whole.json")
    monkeypatch.setattr(formats, "ROWS_PER_BATCH", 17)
    assert len(list(formats.iter_batches(observations))) > 10
    assert pl.concat(formats.iter_batches(observations)).equals(observations)
    write_observations_json(observations, tmp_path / "parts.json")
    assert (tmp_path / "parts.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


# Repeated runs


def test_a_second_run_gives_the_same_bytes(store: LocalStore) -> None:
    run(store)
    first = {name: store.read_bytes(f"stage3/{name}") for name in FILES}
    run(store)
    assert {name: store.read_bytes(f"stage3/{name}") for name in FILES} == first


def test_tables_in_another_order_give_the_same_bytes(store: LocalStore, tmp_path: Path) -> None:
    run(store)
    camera = example_night()
    for rows in camera.rows.values():
        rows.reverse()
    reversed_store = camera.store(tmp_path / "reversed")
    run(reversed_store)
    for name in FILES:
        assert reversed_store.read_bytes(f"stage3/{name}") == store.read_bytes(f"stage3/{name}")


def test_a_wider_window_needs_stage_3_alone(store: LocalStore) -> None:
    before = run(store).observations
    settings = Stage3(compression_window=120)
    assert run(store, settings).observations == before - 1
    assert read(store, "report.json")["settings"]["compression_window"] == 120


# The report


def test_the_report_counts_media_detections_and_observations(store: LocalStore) -> None:
    run(store)
    report = read(store, "report.json")
    assert report["totals"] == {
        "media": 11,
        "stills": 8,
        "videos": 3,
        "failed": 2,
        "truncated": 0,
        "media_without_detections": 1,
        "media_without_time": 1,
        "frames_looked_at": 10,
        "frames_skipped_by_motion_gate": 16,
        "detections": 9,
        "classified": 9,
        "in_observations": 7,
        "classified_without_time": 1,
        "names_below_min_confidence": 0,
        "observations": 4,
        "needs_review": 2,
        "observations_without_time": 1,
        "visits_too_short": 1,
    }
    assert report["media_by_kind_and_status"] == {
        "image": {"done": 6, "failed": 1, "duplicate": 0, "pending": 1},
        "video": {"done": 2, "failed": 1, "duplicate": 0, "pending": 0},
    }
    assert report["failed_by_reason"] == {"decoder crashed": 1, "not a JPEG": 1}
    assert report["detections_by_category"] == {"animal": 7, "person": 2, "vehicle": 0}
    assert report["observations_by_category"] == {"animal": 3, "person": 1, "vehicle": 0}


def test_the_report_has_the_first_and_last_time_of_media_and_of_observations(
    store: LocalStore,
) -> None:
    run(store)
    report = read(store, "report.json")
    assert report["time_range"] == {
        "media": {
            "first_time": "2026-05-01T02:14:00.000+02:00",
            "last_time": "2026-05-01T04:44:00.000+02:00",
        },
        "observations": {
            "first_time": "2026-05-01T02:14:00.000+02:00",
            "last_time": "2026-05-01T04:14:00.000+02:00",
        },
    }


def test_the_report_counts_exclusions_by_stage_and_reason(store: LocalStore) -> None:
    run(store)
    report = read(store, "report.json")
    assert [
        (exclusion["stage"], exclusion["count"], exclusion["why"])
        for exclusion in report["left_out"]
    ] == [
        (0, 1, "could not be read (see failed_by_reason)"),
        (0, 0, "duplicates of another medium"),
        (1, 1, "could not be decoded (see failed_by_reason)"),
        (1, 1, "not processed yet: run Stage 1 again"),
        (2, 0, "not classified yet: run Stage 2 again"),
        (3, 0, "labelled as empty by a reviewer"),
        (3, 0, "in the camera's strip with its logo, time or temperature"),
        (3, 0, "unknown animals that are probably part of a person, or furniture next to one"),
        (3, 0, "people who set up, check or pick up the camera, by a reviewer"),
        (3, 0, "people who calibrate the camera, by a reviewer"),
        (
            3,
            1,
            "people, vehicles and repeat detections with a confidence below min_confidence, 0.5",
        ),
        (3, 1, "visits on video alone, shorter than min_duration, 5 s"),
    ]
    excluded = sum(
        exclusion["count"] for exclusion in report["left_out"] if exclusion["stage"] == 3
    )
    assert report["totals"]["classified"] == report["totals"]["in_observations"] + excluded


def test_the_report_has_a_row_for_each_species(store: LocalStore) -> None:
    run(store)
    fox, unknown, person = read(store, "report.json")["species"]
    assert fox == {
        "species": "red fox",
        "scientific_name": "Vulpes vulpes",
        "category": "animal",
        "observations": 2,
        "detections": 5,
        "max_in_one_frame": 2,
        "max_confidence": 0.9,
        "needs_review": 1,
        "first_time": "2026-05-01T02:14:00.000+02:00",
        "last_time": "2026-05-01T03:14:00.000+02:00",
    }
    assert (person["species"], person["scientific_name"]) == ("person", "Homo sapiens")
    assert (unknown["species"], unknown["first_time"]) == ("unknown animal", None)


def test_the_most_in_one_frame_is_not_the_most_in_one_video(tmp_path: Path) -> None:
    camera = Camera()
    pair = [{"second": 4}, {"second": 4}]
    camera.medium("1.mp4", NIGHT, [{"second": 0}, *pair, {"second": 9}])
    store = camera.store(tmp_path)
    run(store)
    assert [species["max_in_one_frame"] for species in read(store, "report.json")["species"]] == [2]


def test_the_report_has_a_row_for_each_camera(store: LocalStore) -> None:
    run(store)
    assert read(store, "report.json")["cameras"] == [
        {
            "camera_id": "camera7",
            "media": 11,
            "frames_looked_at": 10,
            "detections": 9,
            "observations": 4,
            "animal_species": 1,
            "first_time": "2026-05-01T02:14:00.000+02:00",
            "last_time": "2026-05-01T04:44:00.000+02:00",
        }
    ]


def test_the_report_names_settings_models_and_generator(store: LocalStore) -> None:
    run(store)
    report = read(store, "report.json")
    assert report["settings"] == Stage3().model_dump()
    assert list(report["models"].items()) == sorted(MODELS.items())
    assert report["generated_by"]["name"] == "odins-ravne"
    assert report["generated_by"]["version"]


def test_detections_that_are_not_classified_yet_are_counted(tmp_path: Path) -> None:
    camera = example_night()
    camera.rows["classifications"].pop()
    store = camera.store(tmp_path)
    run(store)
    (exclusion,) = (
        exclusion for exclusion in read(store, "report.json")["left_out"] if exclusion["stage"] == 2
    )
    assert exclusion["count"] == 1


# Empty and invalid tables


def test_a_camera_without_detections_has_empty_results(tmp_path: Path) -> None:
    store = Camera().store(tmp_path)
    assert run(store).observations == 0
    assert read(store, "compressed_observations.json") == []
    report = read(store, "report.json")
    assert report["totals"]["observations"] == report["totals"]["media"] == 0
    assert report["species"] == report["cameras"] == []
    assert report["time_range"]["media"] == {"first_time": None, "last_time": None}
    with store.reading("stage3/observations.parquet") as path:
        assert pl.read_parquet_schema(path) == schemas.OBSERVATIONS


@pytest.mark.parametrize(
    ("table", "stage"),
    [
        ("media", "Stage 0"),
        ("processed", "Stage 1"),
        ("frames", "Stage 1"),
        ("detections", "Stage 1"),
        ("classifications", "Stage 2"),
    ],
)
def test_a_missing_table_is_an_error_that_names_the_stage(
    store: LocalStore, table: str, stage: str
) -> None:
    store.delete(f"tables/{table}.parquet")
    with pytest.raises(
        StoreError, match=rf"tables/{table}\.parquet is missing; run {stage} .* first"
    ):
        run(store)
    assert not store.exists("stage3/report.json")


def test_a_damaged_table_is_an_error_that_names_the_stage(store: LocalStore) -> None:
    store.write_bytes("tables/frames.parquet", b"PAR1 and nothing after it")
    with pytest.raises(StoreError, match=r"tables/frames\.parquet is damaged .* run Stage 1"):
        run(store)


def test_a_table_of_another_version_is_an_error_that_names_the_stage(store: LocalStore) -> None:
    with store.writing("tables/classifications.parquet") as path:
        pl.DataFrame({"detection_id": ["a"]}).write_parquet(path)
    with pytest.raises(StoreError, match="another version; run Stage 2"):
        run(store)


# The species table


def test_the_species_table_is_markdown_ordered_by_frequency(store: LocalStore) -> None:
    assert run(store).species_table.splitlines() == [
        "| Species | Scientific name | Visits | First | Last | Best confidence | To review |",
        "|---|---|--:|---|---|--:|--:|",
        "| red fox | *Vulpes vulpes* | 2 | 2026-05-01 02:14 | 2026-05-01 03:14 | 0.90 | 1 |",
        "| unknown animal |  | 1 |  |  | 0.95 | 1 |",
        "| person | *Homo sapiens* | 1 | 2026-05-01 04:14 | 2026-05-01 04:14 | 0.90 | 0 |",
    ]


def test_names_cannot_break_the_species_table(tmp_path: Path) -> None:
    camera = Camera()
    camera.medium("1.jpg", NIGHT, [{"label": "a|b *c*\n<img>", "scientific_name": "`x`_y_"}])
    line = run(camera.store(tmp_path)).species_table.splitlines()[2]
    assert line.startswith(r"| a\|b \*c\* \<img\> | *\`x\`\_y\_* | 1 |")


def test_an_empty_species_table_is_a_header() -> None:
    nothing = pl.DataFrame(schema=schemas.OBSERVATIONS)
    assert species_table(nothing).count("\n") == 2
