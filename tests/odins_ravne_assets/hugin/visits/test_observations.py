"""The compression of Stage 3: which detections become which observation."""

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from odins_ravne_assets.hugin.identification.identifications import identify
from odins_ravne_assets.hugin.identification.name_threshold import apply_name_threshold
from odins_ravne_assets.hugin.identification.sequence_vote import vote_by_sequence
from odins_ravne_assets.hugin.identification.taxonomy import Taxonomy, shipped_taxa
from odins_ravne_assets.hugin.review.corrections import without_corrections
from odins_ravne_assets.hugin.visits.observation_windows import observation_starts, window_ms
from odins_ravne_assets.hugin.visits.observations import CompressionResult, compress
from odins_ravne_assets.munin.tables import schemas
from resources.settings.profile import Stage3

Row = dict[str, Any]

NOON = datetime(2026, 5, 1, 12)
MS = timedelta(milliseconds=1)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
# Votes are tested separately.
DEFAULT = Stage3(burst_gap=0)
GAP = Stage3(mode="gap", burst_gap=0)
TAXONOMY = Taxonomy(shipped_taxa())
# On a busy machine an example may take long.
NO_DEADLINE = hypothesis_settings(deadline=None)


def box(at: datetime | None = NOON, **columns: Any) -> Row:
    """A row of the classifications; by default a red fox on a still."""
    row: Row = {
        "camera_id": "camera7",
        "path": f"IMG_{at:%d%H%M%S%f}.JPG" if at else "IMG_0000.JPG",
        "kind": "image",
        "frame_number": 0,
        "box_number": 0,
        "time_offset_ms": 0,
        "captured_at": at,
        "utc_offset_minutes": None,
        "category": "animal",
        "detection_confidence": 0.9,
        "label": "red fox",
        "scientific_name": "Vulpes vulpes",
        "confidence": 0.9,
        "auto_ok": True,
        "top5": None,
    }
    row |= columns
    row["content_hash"] = columns.get("content_hash", sha256(row["path"].encode()).hexdigest())
    row["detection_id"] = f"{row['content_hash'][:16]}-{row['frame_number']}-{row['box_number']}"
    return row


def clip(at: datetime | None, seconds: float, path: str, **columns: Any) -> list[Row]:
    """Rows of a video: a box each second, from its first frame on."""
    offsets = [min(second, seconds) for second in range(int(np.ceil(seconds)) + 1)]
    return [
        box(
            at + timedelta(seconds=offset) if at else None,
            path=path,
            kind="video",
            frame_number=number,
            time_offset_ms=int(offset * 1000),
            **columns,
        )
        for number, offset in enumerate(offsets)
    ]


def table(rows: list[Row]) -> pl.LazyFrame:
    return pl.LazyFrame(rows, schema=schemas.CLASSIFICATIONS)


def identified(rows: pl.LazyFrame) -> Row:
    """The identification of the first row."""
    found = identify(rows, TAXONOMY, 0.65)
    return found.rows.join(found.names.table(), on="name").row(0, named=True)


def compressed(rows: list[Row], settings: Stage3 = DEFAULT) -> CompressionResult:
    identified_rows = identify(table(rows), TAXONOMY, settings.roll_up)
    voted = vote_by_sequence(identified_rows, TAXONOMY, settings)
    return compress(without_corrections(apply_name_threshold(voted, settings)), TAXONOMY, settings)


def observations(rows: list[Row], settings: Stage3 = DEFAULT) -> list[Row]:
    return compressed(rows, settings).observations.to_dicts()


def spans(rows: list[Row], settings: Stage3 = DEFAULT) -> list[tuple[datetime, datetime]]:
    return [
        (observation["start_at"], observation["end_at"])
        for observation in observations(rows, settings)
    ]


# Identification


def test_an_animal_with_a_confident_label_gets_that_label() -> None:
    row = identified(table([box(confidence=0.75, detection_confidence=0.5)]))
    assert (row["species"], row["scientific_name"], row["confidence"]) == (
        "red fox",
        "Vulpes vulpes",
        0.75,
    )


def test_an_animal_with_an_uncertain_label_is_unknown_with_the_confidence_of_its_detection() -> (
    None
):
    rows = table([box(auto_ok=False, confidence=0.25, detection_confidence=0.5)])
    row = identified(rows)
    assert (row["species"], row["scientific_name"], row["confidence"]) == (
        "unknown animal",
        None,
        0.5,
    )


@pytest.mark.parametrize(("category", "latin"), [("person", "Homo sapiens"), ("vehicle", None)])
def test_people_and_vehicles_are_their_own_species(category: str, latin: str | None) -> None:
    rows = table([box(category=category, label=category, scientific_name=None, confidence=0.75)])
    row = identified(rows)
    assert (row["species"], row["scientific_name"], row["confidence"]) == (category, latin, 0.75)


# Windows and gaps


def test_a_window_includes_its_edge_and_not_a_millisecond_more() -> None:
    edge = NOON + 10 * MINUTE
    assert spans([box(), box(edge)]) == [(NOON, edge)]
    assert spans([box(), box(edge + MS)]) == [(NOON, NOON), (edge + MS, edge + MS)]


def test_a_window_is_measured_from_its_first_row() -> None:
    times = [NOON + minutes * MINUTE for minutes in (0, 6, 12, 18)]
    assert spans([box(at) for at in times]) == [(times[0], times[1]), (times[2], times[3])]


def test_a_gap_is_measured_from_the_last_row() -> None:
    times = [NOON + minutes * MINUTE for minutes in (0, 6, 12, 18)]
    assert spans([box(at) for at in times], GAP) == [(times[0], times[3])]


def test_a_gap_excludes_its_edge() -> None:
    edge = NOON + 10 * MINUTE
    assert spans([box(), box(edge - MS)], GAP) == [(NOON, edge - MS)]
    assert spans([box(), box(edge)], GAP) == [(NOON, NOON), (edge, edge)]


def test_gap_mode_finds_the_independent_records_of_camtrapr() -> None:
    # camtrapR, minDeltaTime = 60, deltaTimeComparedTo = "lastRecord": a record is independent
    # when it is *at least* 60 minutes after the last record of its species at its station.
    fox = [NOON + minutes * MINUTE for minutes in (0, 40, 80, 139, 199, 200, 260)]
    hare = [NOON + minutes * MINUTE for minutes in (30, 95)]
    independent = [NOON, NOON + 30 * MINUTE, NOON + 95 * MINUTE, NOON + 199 * MINUTE]
    independent += [NOON + 260 * MINUTE]
    rows = [box(at) for at in fox] + [
        box(at, label="brown hare", scientific_name="Lepus europaeus") for at in hare
    ]
    settings = Stage3(mode="gap", compression_window=60)
    assert [start for start, _ in spans(rows, settings)] == independent


@pytest.mark.parametrize("minutes", [0.27, 1.09, 2.01])
def test_a_window_in_fractions_of_a_minute_is_exact(minutes: float) -> None:
    edge = NOON + timedelta(milliseconds=round(minutes * 60_000))
    assert len(observations([box(), box(edge)], Stage3(compression_window=minutes))) == 1
    gap = Stage3(compression_window=minutes, mode="gap")
    assert len(observations([box(), box(edge)], gap)) == 2
    assert len(observations([box(), box(edge - MS)], gap)) == 1


@pytest.mark.parametrize("mode", ["window", "gap"])
@pytest.mark.parametrize(("minutes", "expected"), [(1e-9, 2), (1e300, 1)])
def test_no_window_is_too_short_or_too_long(mode: Any, minutes: float, expected: int) -> None:
    settings = Stage3(compression_window=minutes, mode=mode)
    far = [box(datetime(1, 1, 1)), box(datetime(9999, 12, 31)), box(datetime(1, 1, 1), path="2")]
    assert len(observations(far, settings)) == expected


def test_species_and_cameras_have_separate_observations() -> None:
    rows = [
        box(),
        box(camera_id="camera8"),
        box(label="brown hare", scientific_name="Lepus europaeus"),
        box(category="person", label="person", confidence=0.9),
    ]
    assert [
        (observation["camera_id"], observation["species"]) for observation in observations(rows)
    ] == [
        ("camera7", "brown hare"),
        ("camera7", "person"),
        ("camera7", "red fox"),
        ("camera8", "red fox"),
    ]


def test_an_animal_that_a_classifier_calls_a_vehicle_is_one_visit_with_vehicles() -> None:
    thing = {"label": "vehicle", "scientific_name": None}
    rows = [box(**thing), box(NOON + SECOND, category="vehicle", **thing)]
    (observation,) = observations(rows)
    assert (observation["category"], observation["detection_count"]) == ("vehicle", 2)


def test_a_sequence_of_ten_photos_is_one_observation() -> None:
    sequence = [
        box(NOON + number // 3 * SECOND, path=f"IMG_{number:04}.JPG") for number in range(10)
    ]
    (observation,) = observations(sequence)
    assert (
        observation["media_count"]
        == observation["frame_count"]
        == observation["detection_count"]
        == 10
    )
    assert observation["duration_seconds"] == 3.0


# Confidence


@pytest.mark.parametrize("category", ["person", "vehicle"])
def test_a_person_at_min_confidence_is_used_and_one_below_is_counted(category: str) -> None:
    # 0.7 as Float32, as the table has it, is less than 0.7 as Python has it.
    rows = [
        box(category=category, confidence=0.7),
        box(NOON + MINUTE, category=category, confidence=0.699),
    ]
    result = compressed(rows, Stage3(min_confidence=0.7))
    assert result.observations["detection_count"].to_list() == [1]
    assert (result.rows_in, result.rows_below_confidence) == (2, 1)


def test_a_name_at_min_confidence_is_used_and_one_below_is_an_unknown_animal() -> None:
    rows = [
        box(confidence=0.7),
        box(NOON + MINUTE, confidence=0.699, detection_confidence=0.26),
    ]
    result = compressed(rows, Stage3(min_confidence=0.7, burst_gap=0))
    fox, unknown = result.observations.to_dicts()
    assert (fox["species"], unknown["species"]) == ("red fox", "unknown animal")
    assert unknown["max_confidence"] == pytest.approx(0.26)
    assert unknown["needs_review"]
    assert (result.rows_below_confidence, result.rows_lowered) == (0, 1)


@pytest.mark.parametrize("detection_confidence", [0.05, 0.25, 0.49])
def test_an_animal_without_a_name_counts_from_its_detector_s_threshold(
    detection_confidence: float,
) -> None:
    rows = [box(auto_ok=False, detection_confidence=detection_confidence)]
    result = compressed(rows, Stage3(min_confidence=0.9))
    assert result.observations["species"].to_list() == ["unknown animal"]
    assert (result.rows_below_confidence, result.rows_lowered) == (0, 0)


@pytest.mark.parametrize("confidence", [None, float("nan")])
def test_a_name_without_a_confidence_is_an_unknown_animal(confidence: float | None) -> None:
    result = compressed([box(confidence=confidence)], Stage3(min_confidence=0))
    assert result.observations["species"].to_list() == ["unknown animal"]


@pytest.mark.parametrize("confidence", [None, float("nan")])
def test_a_row_without_any_confidence_is_left_out(confidence: float | None) -> None:
    rows = [
        box(confidence=confidence, detection_confidence=confidence),
        box(confidence=confidence, category="person"),
    ]
    result = compressed(rows, Stage3(min_confidence=0))
    assert (result.observations.height, result.rows_below_confidence) == (0, 2)


def test_an_observation_needs_review_if_its_best_confidence_is_below_the_setting() -> None:
    unsure = [box(confidence=0.6), box(NOON + SECOND, confidence=0.79)]
    assert [observation["needs_review"] for observation in observations(unsure)] == [True]
    assert [
        observation["needs_review"] for observation in observations([*unsure, box(confidence=0.8)])
    ] == [False]


def test_an_unknown_animal_always_needs_review() -> None:
    (observation,) = observations([box(auto_ok=False, detection_confidence=1.0)])
    assert observation["species"] == "unknown animal"
    assert observation["needs_review"]


# Duration


def test_a_single_still_is_an_observation() -> None:
    (observation,) = observations([box()])
    assert (observation["start_at"], observation["end_at"], observation["duration_seconds"]) == (
        NOON,
        NOON,
        0.0,
    )


def test_a_video_shorter_than_min_duration_is_dropped_and_counted() -> None:
    result = compressed([*clip(NOON, 4.999, "short.mp4"), *clip(NOON + 60 * MINUTE, 5, "long.mp4")])
    assert result.observations["source_video"].to_list() == ["long.mp4"]
    assert (result.observations_too_short, result.rows_too_short) == (1, 6)


def test_a_short_observation_with_a_still_is_retained() -> None:
    (observation,) = observations([*clip(NOON, 2, "a.mp4"), box(NOON + SECOND, path="b.jpg")])
    assert (observation["duration_seconds"], observation["media_count"]) == (2.0, 2)


def test_two_short_videos_of_one_long_observation_are_retained() -> None:
    (observation,) = observations([*clip(NOON, 1, "a.mp4"), *clip(NOON + MINUTE, 1, "b.mp4")])
    assert observation["duration_seconds"] == 61.0


# Missing and unusual times


def test_each_medium_without_a_time_is_an_observation_without_a_time() -> None:
    rows = [
        box(None, path="a.jpg"),
        box(None, path="a.jpg", box_number=1),
        box(None, path="b.jpg"),
        *clip(None, 7, "c.mp4"),
        box(),
    ]
    result = compressed(rows)
    assert result.rows_without_time == 11
    assert result.observations.select(
        "source_video", "start_at", "end_at", "duration_seconds", "detection_count"
    ).rows() == [
        ("IMG_01120000000000.JPG", NOON, NOON, 0.0, 1),
        ("a.jpg", None, None, None, 2),
        ("b.jpg", None, None, None, 1),
        ("c.mp4", None, None, None, 8),
    ]


def test_min_duration_applies_to_a_video_without_a_time() -> None:
    result = compressed(clip(None, 3, "c.mp4"))
    assert (result.observations.height, result.observations_too_short) == (0, 1)


def test_times_in_1970_are_times() -> None:
    epoch = datetime(1970, 1, 1)
    rows = [box(epoch, path="a.jpg"), box(None, path="b.jpg"), box(epoch, path="c.jpg")]
    assert [
        (observation["start_at"], observation["media_count"]) for observation in observations(rows)
    ] == [
        (epoch, 2),
        (None, 1),
    ]


# Times with UTC offsets

SUMMER, WINTER = 120, 60


def local(text: str, offset: int | None = None) -> Row:
    """A red fox on a still at a time of the camera's clock, "25 02:30", in October 2026."""
    at = datetime.strptime(f"2026-10-{text}", "%Y-%m-%d %H:%M")
    return box(at, path=f"{text} {offset}.jpg", utc_offset_minutes=offset)


@pytest.mark.parametrize("mode", ["window", "gap"])
@pytest.mark.parametrize(
    ("rows", "visits"),
    [
        # Summer time ends: 64 minutes lie between 02:30+02:00 and 02:34+01:00.
        ([local("25 02:30", SUMMER), local("25 02:34", WINTER)], 2),
        ([local("25 02:55", SUMMER), local("25 02:02", WINTER)], 1),
        # Summer time begins: three minutes lie between 01:58+01:00 and 03:01+02:00.
        ([local("25 01:58", WINTER), local("25 03:01", SUMMER)], 1),
        # The same instant in zones of half an hour and across midnight.
        ([local("25 00:02", 330), local("24 18:35", 0)], 1),
        ([local("25 12:00", -480), local("25 22:00", SUMMER)], 1),
        # With one offset, or none, wall clocks are compared.
        ([local("25 02:30", SUMMER), local("25 02:34", SUMMER)], 1),
        ([local("25 02:30"), local("25 02:34")], 1),
        # One without an offset has that of the row before it, the first ones that of the row after.
        ([local("25 02:30", SUMMER), local("25 02:34")], 1),
        ([local("25 02:30"), local("25 02:34", WINTER), local("26 12:00", SUMMER)], 2),
        ([local("25 01:58", WINTER), local("25 02:01"), local("25 03:02", SUMMER)], 1),
    ],
)
def test_times_are_compared_as_instants(rows: list[Row], visits: int, mode: Any) -> None:
    found = observations(rows, Stage3(mode=mode, burst_gap=0))
    assert len(found) == visits


def test_each_end_of_a_visit_has_its_own_offset() -> None:
    rows = [local("25 02:57", SUMMER), local("25 02:01", WINTER), local("25 02:05", WINTER)]
    (visit,) = observations(rows)
    assert (visit["start_at"].minute, visit["utc_offset_minutes"]) == (57, SUMMER)
    assert (visit["end_at"].minute, visit["end_utc_offset_minutes"]) == (5, WINTER)
    assert visit["duration_seconds"] == 8 * 60
    assert visit["detection_offsets"] == [SUMMER, WINTER, WINTER]


def test_visits_are_ordered_by_instant() -> None:
    rows = [local("25 02:05", WINTER), local("25 02:30", SUMMER)]
    assert [visit["utc_offset_minutes"] for visit in observations(rows)] == [SUMMER, WINTER]


def test_sequences_are_split_by_instants() -> None:
    rows = [
        local("25 01:59", WINTER),
        local("25 03:00", SUMMER) | {"label": "grey wolf", "auto_ok": False, "confidence": 0.1},
    ]
    found = identify(table(rows), TAXONOMY, 0.65)
    voted = vote_by_sequence(found, TAXONOMY, Stage3(burst_gap=90))
    assert voted.rows["sequence"].n_unique() == 1
    assert voted.rows["relabelled"].to_list() == [False, True]


# Columns


def test_the_result_has_the_schema_of_observations_even_if_empty() -> None:
    assert compressed([box()]).observations.schema == schemas.OBSERVATIONS
    nothing = compressed([])
    assert nothing.observations.schema == schemas.OBSERVATIONS
    assert (nothing.observations.height, nothing.rows_in) == (0, 0)


def test_the_timeline_is_ordered_by_time_path_frame_and_box() -> None:
    rows = [
        box(NOON + SECOND, path="a.jpg"),
        box(path="b.jpg", box_number=1),
        box(path="b.jpg", confidence=0.6),
        box(path="a.mp4", kind="video", frame_number=2),
    ]
    (observation,) = observations(rows)
    assert [(s["path"], s["frame_number"]) for s in observation["detection_timeline"]] == [
        ("a.mp4", 2),
        ("b.jpg", 0),
        ("b.jpg", 0),
        ("a.jpg", 0),
    ]
    assert observation["detection_timeline"][1] == {
        "path": "b.jpg",
        "frame_number": 0,
        "box_number": 0,
        "captured_at": NOON,
        "time_offset_ms": 0,
        "confidence": pytest.approx(0.6),
    }
    assert observation["source_video"] == "a.mp4"
    assert (
        observation["detection_count"],
        observation["frame_count"],
        observation["media_count"],
    ) == (4, 3, 3)


def test_names_in_any_script_are_unchanged() -> None:
    place = {"camera_id": "Ödemark 木 🦊", "path": "стена/ёж.jpg"}
    rows = [box(**place, label="räv", scientific_name=None)]
    (observation,) = observations(rows)
    assert (observation["camera_id"], observation["species"], observation["source_video"]) == (
        "Ödemark 木 🦊",
        "räv",
        "стена/ёж.jpg",
    )


def test_an_id_depends_on_the_camera_and_not_on_file_names() -> None:
    (observation,) = observations([box(content_hash="c" * 64)])
    (renamed,) = observations([box(content_hash="c" * 64, path="renamed.jpg")])
    (elsewhere,) = observations([box(content_hash="c" * 64, camera_id="camera8")])
    assert observation["observation_id"] == renamed["observation_id"] != elsewhere["observation_id"]


def test_an_id_does_not_depend_on_the_species() -> None:
    (fox,) = observations([box(content_hash="c" * 64)])
    badger = {"label": "badger", "scientific_name": "Meles meles"}
    (other,) = observations([box(content_hash="c" * 64, **badger)])
    assert fox["species"] != other["species"]
    assert fox["observation_id"] == other["observation_id"]


def test_an_id_is_stable_between_versions() -> None:
    (observation,) = observations([box(content_hash="c" * 64)])
    assert observation["observation_id"] == "o6997bb0790f2bf9b"


# The rule against a reference implementation

NAMED = {"label": "red fox", "scientific_name": "Vulpes vulpes", "auto_ok": True}
BOX_KINDS: list[Row] = [
    {"category": "animal", **NAMED},
    {"category": "animal", **NAMED, "auto_ok": False},
    {"category": "animal", **NAMED, "label": "brown hare", "scientific_name": "Lepus europaeus"},
    {"category": "person", "label": "person", "scientific_name": None, "auto_ok": True},
]
RANKS = ("taxon_rank", "class", "order", "family", "genus")
REFERENCE_RANKS: dict[str | None, Row] = {
    name: dict(zip(RANKS, ranks, strict=True))
    for name, ranks in {
        "Vulpes vulpes": ("species", "Mammalia", "Carnivora", "Canidae", "Vulpes"),
        "Lepus europaeus": ("species", "Mammalia", "Lagomorpha", "Leporidae", "Lepus"),
        "Homo sapiens": ("species", "Mammalia", "Primates", "Hominidae", "Homo"),
        None: (None,) * 5,
    }.items()
}
# Times that meet and miss the edges of a ten-minute window by a millisecond.
TIMES = st.builds(
    lambda steps, more: NOON + steps * 5 * MINUTE + more * MS,
    st.integers(0, 8),
    st.sampled_from([-1, 0, 0, 1, 1000]),
)
CONFIDENCES = st.sampled_from([0.3, 0.5, 0.6, 0.8, 0.9])


@st.composite
def footage_rows(draw: st.DrawFn, offsets: tuple[int | None, ...] = (None, 0, 15)) -> list[Row]:
    rows = []
    for number in range(draw(st.integers(0, 10))):
        at = draw(st.none() | TIMES)
        kind = draw(st.sampled_from(["image", "video"]))
        medium = {
            "camera_id": draw(st.sampled_from(["camera7", "camera10", "ö"])),
            "path": f"{draw(st.sampled_from('ab'))}{number}",
            "kind": kind,
            "utc_offset_minutes": draw(st.sampled_from(offsets)),
        }
        frame_times = st.sampled_from([0, 1, 2000, 4999, 5000, 600_000])
        frame_offsets = draw(st.lists(frame_times, min_size=1, max_size=3, unique=True).map(sorted))
        for frame, offset in enumerate(frame_offsets if kind == "video" else [0]):
            for index in range(draw(st.integers(1, 3))):
                rows.append(
                    box(
                        at + offset * MS if at else None,
                        **medium,
                        frame_number=frame,
                        box_number=index,
                        time_offset_ms=offset,
                        confidence=draw(CONFIDENCES),
                        detection_confidence=draw(CONFIDENCES),
                        **draw(st.sampled_from(BOX_KINDS)),
                    )
                )
    return rows


SETTINGS = st.builds(
    Stage3,
    burst_gap=st.just(0),
    mode=st.sampled_from(["window", "gap"]),
    compression_window=st.sampled_from([5, 10, 15]),
    min_confidence=st.sampled_from([0.0, 0.5, 0.6]),
    min_duration=st.sampled_from([0, 5]),
)


def reference_observations(rows: list[Row], settings: Stage3) -> tuple[list[Row], int]:
    """The rule, row by row: observations, and the number of those that were too short."""
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in with_reference_instants(rows):
        identified_row = dict(row)
        if row["category"] == "person":
            identified_row |= {"species": "person", "scientific_name": "Homo sapiens"}
        else:
            identified_row |= {"species": row["label"]}
        if row["category"] == "animal" and not (
            row["auto_ok"] and row["confidence"] >= settings.min_confidence
        ):
            identified_row |= {"species": "unknown animal", "scientific_name": None}
            identified_row |= {"confidence": row["detection_confidence"]}
        if row["category"] == "animal" or row["confidence"] >= settings.min_confidence:
            undated = row["path"] if row["captured_at"] is None else None
            key = (row["camera_id"], row["category"], identified_row["species"], undated)
            groups[key].append(identified_row)
    split = [part for group in groups.values() for part in reference_split(group, settings)]
    found = [reference_observation(part, settings) for part in split]
    retained = [
        observation
        for observation, part in zip(found, split, strict=True)
        if observation.pop("length") >= settings.min_duration
        or any(row["kind"] == "image" for row in part)
    ]
    retained.sort(
        key=lambda observation: (
            observation["camera_id"],
            observation["instant"] or datetime.max,
            observation["species"],
            observation["source_video"],
        )
    )
    for observation in retained:
        del observation["instant"]
    return retained, len(found) - len(retained)


def with_reference_instants(rows: list[Row]) -> list[Row]:
    """Rows with `instant`: wall clock minus offset, or that of the row before, else after it."""
    dated = sorted(
        (row for row in rows if row["captured_at"]),
        key=lambda row: (
            row["captured_at"],
            2000 if row["utc_offset_minutes"] is None else row["utc_offset_minutes"],
        ),
    )
    known: dict[str, int] = {}
    first: dict[str, int] = {}
    for row in dated:
        if row["utc_offset_minutes"] is not None:
            first.setdefault(row["camera_id"], row["utc_offset_minutes"])
    instants = {}
    for row in dated:
        camera = row["camera_id"]
        if row["utc_offset_minutes"] is not None:
            known[camera] = row["utc_offset_minutes"]
        offset = known.get(camera, first.get(camera, 0))
        instants[row["detection_id"]] = row["captured_at"] - offset * MINUTE
    return [row | {"instant": instants.get(row["detection_id"])} for row in rows]


def reference_split(group: list[Row], settings: Stage3) -> list[list[Row]]:
    group.sort(
        key=lambda row: (
            row["instant"] or NOON,
            row["path"],
            row["frame_number"],
            row["box_number"],
        )
    )
    window = settings.compression_window * MINUTE
    parts: list[list[Row]] = []
    for row in group:
        at = row["instant"]
        if parts and at is None:
            joins = True
        elif parts and settings.mode == "window":
            joins = at - parts[-1][0]["instant"] <= window
        elif parts:
            joins = at - parts[-1][-1]["instant"] < window
        else:
            joins = False
        if joins:
            parts[-1].append(row)
        else:
            parts.append([row])
    return parts


def reference_observation(rows: list[Row], settings: Stage3) -> Row:
    first, last = rows[0], rows[-1]
    confidences = [row["confidence"] for row in rows]
    if first["captured_at"] is None:
        offsets = [row["time_offset_ms"] for row in rows]
        duration = (max(offsets) - min(offsets)) / 1000
    else:
        duration = (last["instant"] - first["instant"]).total_seconds()
    offsets_before: list[int | None] = [first["utc_offset_minutes"]]
    for row in rows[1:]:
        own = row["utc_offset_minutes"]
        offsets_before.append(offsets_before[-1] if own is None else own)
    timeline = ("path", "frame_number", "box_number", "captured_at", "time_offset_ms")
    frames = Counter((row["path"], row["frame_number"]) for row in rows)
    return {
        "camera_id": first["camera_id"],
        "category": first["category"],
        "species": first["species"],
        "scientific_name": first["scientific_name"],
        "start_at": first["captured_at"],
        "end_at": last["captured_at"],
        "instant": first["instant"],  # for the order
        "utc_offset_minutes": first["utc_offset_minutes"],
        "end_utc_offset_minutes": offsets_before[-1],
        "detection_offsets": offsets_before if len({*offsets_before} - {None}) > 1 else None,
        "duration_seconds": None if first["captured_at"] is None else duration,
        "length": duration,  # for min_duration
        "max_confidence": pytest.approx(max(confidences)),
        "avg_confidence": pytest.approx(sum(confidences) / len(confidences)),
        "detection_count": len(rows),
        "frame_count": len(frames),
        "count": max(frames.values()),
        **REFERENCE_RANKS[first["scientific_name"]],
        "vote_share": None,
        "relabelled": 0,
        "label_source": "machine",
        **dict.fromkeys(("machine_species", "reviewed_by", "reviewed_on")),
        "flags": [],
        "media_count": len({row["path"] for row in rows}),
        "source_video": first["path"],
        "detection_timeline": [
            {
                **{name: row[name] for name in timeline},
                "confidence": pytest.approx(row["confidence"]),
            }
            for row in rows
        ],
        "needs_review": max(confidences) < settings.review_below
        or first["species"] == "unknown animal",
    }


@NO_DEADLINE
@given(footage_rows(), SETTINGS)
def test_observations_equal_the_reference(rows: list[Row], settings: Stage3) -> None:
    result = compressed(rows, settings)
    found = result.observations.drop("observation_id", "first_detection").to_dicts()
    expected, too_short = reference_observations(rows, settings)
    assert found == expected
    assert result.observations_too_short == too_short


@NO_DEADLINE
@given(footage_rows(), SETTINGS)
def test_all_rows_are_accounted_for(rows: list[Row], settings: Stage3) -> None:
    result = compressed(rows, settings)
    in_observations = result.observations["detection_count"].sum()
    assert result.rows_in == len(rows)
    assert result.rows_in == (
        result.rows_below_confidence + result.rows_too_short + in_observations
    )


@NO_DEADLINE
@given(footage_rows(), SETTINGS)
def test_no_two_observations_have_the_same_id(rows: list[Row], settings: Stage3) -> None:
    ids = compressed(rows, settings).observations["observation_id"]
    assert ids.n_unique() == len(ids)


@NO_DEADLINE
@given(footage_rows(), SETTINGS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(
    rows: list[Row], settings: Stage3, random: Any
) -> None:
    shuffled = random.sample(rows, len(rows))
    assert compressed(rows, settings).observations.equals(
        compressed(shuffled, settings).observations
    )


@NO_DEADLINE
@given(footage_rows(offsets=(None, 60)), SETTINGS, TIMES)
def test_later_rows_do_not_change_observations_that_have_ended(
    rows: list[Row], settings: Stage3, now: datetime
) -> None:
    so_far = [row for row in rows if row["captured_at"] is None or row["captured_at"] <= now]
    window = settings.compression_window * MINUTE
    opened = "start_at" if settings.mode == "window" else "end_at"
    after = observations(rows, settings)
    for observation in observations(so_far, settings):
        if observation["start_at"] and observation[opened] + window < now:
            assert observation in after


@NO_DEADLINE
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 10**6)), max_size=40),
    st.integers(1, 10**6),
    st.sampled_from(["window", "gap"]),
)
def test_starts_on_arrays_equal_the_reference(
    steps: list[tuple[bool, int]], window: int, mode: Any
) -> None:
    group_starts = np.array([starts for starts, _ in steps], dtype=np.bool_)
    times = np.zeros(len(steps), dtype=np.int64)
    expected: list[bool] = []
    start = 0
    for row, (new_group, step) in enumerate(steps):
        times[row] = step if new_group or row == 0 else times[row - 1] + step
        since = times[row] - times[start if mode == "window" else row - 1]
        near = since <= window if mode == "window" else since < window
        expected.append(row == 0 or new_group or not near)
        start = row if expected[-1] else start
    assert observation_starts(group_starts, times, window, mode).tolist() == expected


def test_the_longest_window_separates_any_number_of_groups() -> None:
    group_starts = np.ones(20_000, dtype=np.bool_)
    times = np.zeros(20_000, dtype=np.int64)
    assert observation_starts(group_starts, times, window_ms(1e300), "window").all()


def test_windows_are_whole_milliseconds() -> None:
    milliseconds = [window_ms(minutes) for minutes in (1e-12, 1.09, 2.01, 10, 1e300)]
    assert milliseconds[:4] == [1, 65_400, 120_600, 600_000]
    assert all(shorter < longer for shorter, longer in pairwise(milliseconds))
