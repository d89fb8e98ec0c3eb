"""`min_confidence` is a threshold for names: what was found is shown, once."""

from datetime import datetime, timedelta
from math import isnan
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from camera_tables import Camera
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from odins_ravne_assets.hugin.identification.identifications import Identifications, identify
from odins_ravne_assets.hugin.identification.name_threshold import apply_name_threshold
from odins_ravne_assets.hugin.identification.sequence_vote import vote_by_sequence
from odins_ravne_assets.hugin.identification.taxonomy import Taxonomy, shipped_taxa
from odins_ravne_assets.hugin.visits.stage3 import run_stage3
from odins_ravne_assets.munin.tables import schemas
from resources.settings.profile import Privacy, Stage3

Row = dict[str, Any]

DAWN = datetime(2026, 5, 1, 5)
FOX: Row = {"label": "red fox", "scientific_name": "Vulpes vulpes", "auto_ok": True}
HARE: Row = {"label": "brown hare", "scientific_name": "Lepus europaeus", "auto_ok": True}
UNNAMED: Row = {"label": "teapot", "scientific_name": None, "auto_ok": False, "confidence": 0.1}


def visits(folder: Path, *pictures: list[Row], step: float = 2, **settings: Any) -> list[Row]:
    """The visits of pictures that are `step` seconds apart."""
    camera = Camera()
    for number, boxes in enumerate(pictures):
        camera.medium(f"{number}.jpg", DAWN + timedelta(seconds=step * number), boxes)
    store = camera.store(folder)
    run_stage3(store, Stage3(**settings), {}, Privacy())
    with store.reading("stage3/observations.parquet") as path:
        return pl.read_parquet(path).to_dicts()


def species(found: list[Row]) -> list[tuple[str, int]]:
    return [(visit["species"], visit["detection_count"]) for visit in found]


def test_a_sequence_whose_names_are_all_uncertain_is_one_unknown_animal(tmp_path: Path) -> None:
    uncertain = [[FOX | {"confidence": 0.4}], [HARE | {"confidence": 0.3}], [UNNAMED]]
    assert species(visits(tmp_path, *uncertain)) == [("unknown animal", 3)]


def test_one_clear_picture_names_the_blurred_ones_of_its_sequence(tmp_path: Path) -> None:
    burst = [
        [FOX | {"confidence": 0.3, "detection_confidence": 0.3}],
        [FOX | {"confidence": 0.9}],
        [UNNAMED | {"detection_confidence": 0.26}],
    ]
    (visit,) = visits(tmp_path, *burst)
    assert (visit["species"], visit["detection_count"], visit["count"]) == ("red fox", 3, 1)
    assert visit["max_confidence"] == pytest.approx(0.9)


def test_the_only_name_that_counts_names_the_rest_of_a_disputed_sequence(tmp_path: Path) -> None:
    # 0.6 of 1.05 votes are for the fox: nobody wins. The hare's name does not count.
    burst = [[FOX | {"confidence": 0.6}], [HARE | {"confidence": 0.45}], [UNNAMED]]
    (visit,) = visits(tmp_path, *burst)
    assert (visit["species"], visit["detection_count"], visit["relabelled"]) == ("red fox", 3, 2)
    assert visit["flags"] == ["votes_disagree"]
    assert visit["needs_review"]


def test_with_two_names_that_count_an_unknown_animal_remains_unknown(tmp_path: Path) -> None:
    burst = [[FOX | {"confidence": 0.6}], [HARE | {"confidence": 0.6}], [UNNAMED]]
    assert species(visits(tmp_path, *burst)) == [
        ("red fox", 1),
        ("brown hare", 1),
        ("unknown animal", 1),
    ]


def test_a_name_counts_in_its_own_sequence_only(tmp_path: Path) -> None:
    pictures = [[FOX | {"confidence": 0.9}], [FOX | {"confidence": 0.4}]]
    found = visits(tmp_path, *pictures, step=61)
    assert species(found) == [("red fox", 1), ("unknown animal", 1)]


def test_without_sequences_each_detection_has_its_own_name(tmp_path: Path) -> None:
    pictures = [[FOX | {"confidence": 0.9}], [FOX | {"confidence": 0.4}], [UNNAMED]]
    found = visits(tmp_path, *pictures, burst_gap=0)
    assert species(found) == [("red fox", 1), ("unknown animal", 2)]


def test_a_higher_threshold_loses_no_animal(tmp_path: Path) -> None:
    pictures = [[FOX | {"confidence": 0.3 + 0.1 * number}] for number in range(7)]
    for threshold in (0.0, 0.5, 0.85, 1.0):
        found = visits(
            tmp_path / str(threshold), *pictures, step=120, min_confidence=threshold, burst_gap=60
        )
        assert sum(visit["detection_count"] for visit in found) == 7
        names = sum(v["detection_count"] for v in found if v["species"] == "red fox")
        assert names == sum(0.3 + 0.1 * number >= threshold - 1e-6 for number in range(7))


def test_repeat_detections_people_and_vehicles_count_from_min_confidence(tmp_path: Path) -> None:
    branch = UNNAMED | {"detection_confidence": 0.3, "box": (0.4, 0.4, 0.1, 0.1)}
    camera = Camera()
    for number in range(25):
        camera.medium(f"{number}.jpg", DAWN + timedelta(days=number), [branch])
    person = {"category": "person", "label": "person", "confidence": 0.45}
    camera.medium("p.jpg", DAWN + timedelta(hours=5), [person])
    result = run_stage3(camera.store(tmp_path), Stage3(), {}, Privacy())
    assert (result.observations, result.rows_below_confidence) == (0, 26)


def test_the_report_counts_the_names_below_the_threshold(tmp_path: Path) -> None:
    import json

    visits(tmp_path, [FOX | {"confidence": 0.4}], [FOX | {"confidence": 0.3}])
    report = json.loads((tmp_path / "stage3/report.json").read_bytes())
    assert report["totals"]["names_below_min_confidence"] == 2
    assert report["totals"]["in_observations"] == report["totals"]["classified"] == 2


@pytest.mark.parametrize(
    ("threshold", "last"), [(0.5, ("mustelid", 0.72)), (0.8, ("unknown animal", 0.7))]
)
def test_the_example_of_the_documentation(
    tmp_path: Path, threshold: float, last: tuple[str, float]
) -> None:
    """docs/visits.md, "Example"."""
    camera = Camera()
    mustelid = {"label": "mustelid", "scientific_name": "Mustelidae"}
    for minute, second, box in (
        (0, 0, FOX | {"detection_confidence": 0.62, "confidence": 0.91}),
        (0, 2, UNNAMED | {"detection_confidence": 0.31}),
        (20, 0, UNNAMED | {"detection_confidence": 0.28}),
        (40, 0, mustelid | {"detection_confidence": 0.7, "confidence": 0.72}),
        (60, 0, {"category": "person", "label": "person", "confidence": 0.45}),
    ):
        at = DAWN + timedelta(minutes=minute, seconds=second)
        camera.medium(f"{minute}-{second}.jpg", at, [box])
    store = camera.store(tmp_path)
    result = run_stage3(store, Stage3(min_confidence=threshold), {}, Privacy())
    with store.reading("stage3/observations.parquet") as path:
        rows = pl.read_parquet(path).sort("start_at")
    found = [
        (row["species"], round(row["max_confidence"], 2), row["detection_count"])
        for row in rows.to_dicts()
    ]
    assert found == [("red fox", 0.91, 2), ("unknown animal", 0.28, 1), (*last, 1)]
    assert (result.rows_below_confidence, result.rows_lowered) == (1, threshold > 0.72)


# The rule against a reference implementation

KINDS: list[Row] = [FOX, HARE, UNNAMED, {"category": "person", "label": "person", "auto_ok": True}]


@st.composite
def sequences(draw: st.DrawFn) -> list[Row]:
    """Classifications of two cameras, in sequences of some seconds."""
    rows = []
    for number in range(draw(st.integers(1, 12))):
        at = DAWN + timedelta(seconds=draw(st.sampled_from([0, 1, 2, 100, 101, 102, 300])))
        row = {
            "category": "animal",
            "camera_id": draw(st.sampled_from(["a", "b"])),
            "path": f"{number}.jpg",
            "kind": "image",
            "frame_number": 0,
            "box_number": 0,
            "time_offset_ms": 0,
            "captured_at": at,
            "confidence": draw(st.sampled_from([None, 0.2, 0.4, 0.5, 0.7, 0.9])),
            "detection_confidence": draw(st.sampled_from([0.25, 0.4, 0.8])),
            "detection_id": str(number),
        } | draw(st.sampled_from(KINDS))
        rows.append({name: row.get(name) for name in schemas.CLASSIFICATIONS})
    return rows


def is_missing(confidence: float | None) -> bool:
    return confidence is None or isnan(confidence)


def reference(rows: list[Row], threshold: float) -> list[tuple[str, float]]:
    """The names and confidences of rows after the vote, row by row."""
    result = []
    for row in rows:
        name, confidence = row["species"], row["confidence"]
        if row["category"] == "animal":
            best: dict[str, float] = {}
            for other in rows:
                named = other["category"] == "animal" and other["species"] != "unknown animal"
                if named and other["sequence"] == row["sequence"]:
                    own = other["confidence"]
                    if not is_missing(own):
                        best[other["species"]] = max(best.get(other["species"], -1), own)
            counting = {each: value for each, value in best.items() if value >= threshold}
            if name not in counting or is_missing(confidence):
                name, confidence = "unknown animal", row["detection_confidence"]
                if len(counting) == 1:
                    ((name, highest),) = counting.items()
                    confidence = min(confidence, highest)
        result.append((name, confidence))
    return result


@hypothesis_settings(deadline=None)
@given(sequences(), st.sampled_from([0.0, 0.45, 0.5, 0.8, 1.0]), st.sampled_from([0, 60]))
def test_names_equal_the_reference(rows: list[Row], threshold: float, gap: float) -> None:
    settings = Stage3(min_confidence=threshold, burst_gap=gap)
    taxonomy = Taxonomy(shipped_taxa())
    table = pl.LazyFrame(rows, schema=schemas.CLASSIFICATIONS)
    voted = vote_by_sequence(identify(table, taxonomy, settings.roll_up), taxonomy, settings)
    after = apply_name_threshold(voted, settings)

    def named(identified: Identifications) -> pl.DataFrame:
        names = identified.names.table()
        return identified.rows.join(names, on="name", how="left", maintain_order="left")

    expected = reference(named(voted).to_dicts(), threshold)
    found = named(after).select("species", "confidence").rows()
    assert [name for name, _ in found] == [name for name, _ in expected]
    # A missing confidence is null or NaN.
    values, expected_values = (
        [float("nan") if is_missing(value) else value for _, value in each]
        for each in (found, expected)
    )
    assert values == pytest.approx(expected_values, nan_ok=True)
    lowered = after.rows["lowered"].to_list()
    was_named = [row["species"] != "unknown animal" for row in named(voted).to_dicts()]
    is_unknown = [name == "unknown animal" for name, _ in found]
    assert lowered == [a and b for a, b in zip(was_named, is_unknown, strict=True)]
