"""The pipeline on real, labelled footage, with damaged and unusual files."""

import csv
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import polars as pl
import pytest
from validators import camtrap_dp_errors, megadetector_errors

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.hugin.identification.camera_strips import media_strips
from odins_ravne_assets.hugin.identification.taxonomy import shipped_taxa
from odins_ravne_assets.munin.detection.decode_process import decode_video
from odins_ravne_assets.munin.detection.frame_sampling import SamplingPlan
from odins_ravne_assets.munin.progress import StageProgress
from odins_ravne_assets.worker.context import StepContext
from odins_ravne_assets.worker.step import STAGES, run_step
from resources.errors import MediaError
from resources.settings.loader import load_profile

pytestmark = pytest.mark.footage

EVERYTHING = SamplingPlan("every", 1.0, 1, False, 0.002)


# Camtrap DP requires it, but memory cards do not have it.
STUDY = {
    "project.utc_offset": "+01:00",
    "project.deployments": [{"cameraID": "all", "latitude": 59.5, "longitude": 17.5}],
}


class SilentReporter:
    def info(self, message: str) -> None: ...
    def warning(self, message: str) -> None: ...
    def progress(self, progress: StageProgress) -> None: ...


@pytest.fixture(scope="module")
def results(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run all stages over all of the footage, as one camera, with the default settings."""
    output = tmp_path_factory.mktemp("results")
    context = StepContext(
        Camera("all", footage.as_uri(), output.as_uri()),
        load_profile("local", STUDY, {}),
        SilentReporter(),
        Event(),
    )
    for stage, result in run_step(context, list(STAGES)):
        for check in result.check_results:
            assert check.passed or check.severity == "WARN", f"{stage}: {check}"
    return output


def test_exports_of_all_footage_are_valid(results: Path) -> None:
    assert megadetector_errors(results / "stage3" / "megadetector.json") == []
    assert camtrap_dp_errors(results / "stage3" / "camtrap-dp") == []


def labels(footage: Path) -> pl.DataFrame:
    return pl.read_csv(footage / "labels.csv")


def with_boxes(results: Path) -> dict[str, set[str]]:
    boxes = pl.read_parquet(results / "tables" / "detections.parquet")
    grouped = boxes.group_by("path").agg(pl.col("category").unique())
    return {path: set(categories) for path, categories in grouped.iter_rows()}


def test_labelled_animals_are_found_by_day_and_by_night(footage: Path, results: Path) -> None:
    found = with_boxes(results)
    stills = labels(footage).filter(
        (pl.col("category") == "animal") & ~pl.col("path").str.contains(r"\.avi$|\.mp4$")
    )
    by_light: dict[str, list[bool]] = {}
    for path, light in stills.select("path", "light").iter_rows():
        key = "sequence" if "RCNX" in path and "camtrapdp" in path else (light or "unknown")
        by_light.setdefault(key.split()[0], []).append("animal" in found.get(path, set()))
    assert sum(by_light["day"]) >= 11 and len(by_light["day"]) == 13
    assert sum(by_light["night"]) >= 12 and len(by_light["night"]) == 13
    assert sum(by_light["sequence"]) >= 1


def test_people_and_vehicles_are_not_labelled_as_animals(footage: Path, results: Path) -> None:
    found = with_boxes(results)
    assert "person" in found["speciesnet_testdata/human.jpg"]
    assert "person" in found["animl/Southwest/B012_2021-05-27_human.jpg"]
    assert "vehicle" in found["speciesnet_testdata/vehicle.jpg"]
    assert "vehicle" in found["intel_sample_videos/car-detection.mp4"]


def test_empty_pictures_stay_empty(footage: Path, results: Path) -> None:
    found = with_boxes(results)
    empty = labels(footage).filter(pl.col("category") == "empty")["path"].to_list()
    assert len(empty) == 4
    assert not [path for path in empty if path in found]


def test_every_file_is_accounted_for(footage: Path, results: Path) -> None:
    processed = pl.read_parquet(results / "tables" / "processed.parquet")
    status = dict(processed.select("path", "status").iter_rows())
    for path in labels(footage)["path"]:
        expected = "failed" if path.endswith(("error_img.JPG", "error_vid.mp4")) else "done"
        assert status[path] == expected, path
    reasons = dict(processed.select("path", "reason").iter_rows())
    assert reasons["animl/Southwest/error_img.JPG"] == "file is empty"
    assert "truncated" in reasons["speciesnet_testdata/african_elephants_truncated_file.jpg"]
    assert "truncated" in reasons["made_from_real_frames/heron_burst_mjpeg_truncated.avi"]


def manifest_videos(footage: Path) -> Iterator[dict[str, str]]:
    with (footage / "MANIFEST.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["kind"] == "video" and row["opencv"] == "OK":
                yield row


def format_of(path: Path) -> Any:
    """The format of a clip of the footage, whose names tell the truth."""
    return path.suffix.lower().removeprefix(".")


def test_every_frame_is_decoded_with_its_time(footage: Path) -> None:
    rows = list(manifest_videos(footage))
    assert len(rows) == 24
    for row in rows:
        path, frames = footage / row["path"], []
        with suppress(MediaError):  # of the truncated clip, after its frames
            for frame in decode_video(path, format_of(path), EVERYTHING, 2e8):
                frames.append((frame.number, frame.time_ms))
        expected = int(row["frames_decoded"])
        assert abs(len(frames) - expected) <= 1, row["path"]
        times = [time for _, time in frames]
        assert times == sorted(times) and times[0] == 0, row["path"]


def test_times_of_a_steady_clip_are_exact(footage: Path) -> None:
    path = footage / "intel_sample_videos" / "car-detection.mp4"
    for frame in decode_video(path, format_of(path), EVERYTHING, 2e8):
        assert frame.time_ms == round(frame.number * 1000 / 12.5)


def test_decoding_continues_after_a_change_of_chroma(footage: Path, results: Path) -> None:
    frames = pl.read_parquet(results / "tables" / "frames.parquet")
    path = "made_from_real_frames/heron_burst_mjpeg_subsampling_change.avi"
    assert frames.filter(pl.col("path") == path).height >= 2


def test_visits_of_the_footage_are_separated_by_species(results: Path) -> None:
    visits = pl.read_parquet(results / "stage3" / "observations.parquet")
    assert visits.height > 20
    assert {"person", "vehicle", "unknown animal"} <= set(visits["species"])
    assert visits.filter(pl.col("start_at") > pl.col("end_at")).is_empty()


def test_the_motion_gate_loses_no_box(footage: Path, results: Path) -> None:
    """The number of boxes is the same with the gate on and off."""
    clip = footage / "zamba_videos" / "densepose_tests"
    output = results.parent / "without-gate"
    context = StepContext(
        Camera("chimp", clip.as_uri(), output.as_uri()),
        load_profile("local", {"pipeline.stage1.motion_gate": False}, environ={}),
        SilentReporter(),
        Event(),
    )
    dict(run_step(context, ["footage", "detections"]))
    without = pl.read_parquet(output / "tables" / "detections.parquet")
    with_gate = pl.read_parquet(results / "tables" / "detections.parquet").filter(
        pl.col("path") == "zamba_videos/densepose_tests/chimp.mp4"
    )
    assert without.height == with_gate.height > 0


def test_every_picture_in_which_an_animal_is_found_is_in_a_visit_of_an_animal(
    results: Path,
) -> None:
    boxes = pl.read_parquet(results / "tables" / "detections.parquet")
    found = boxes.filter((pl.col("category") == "animal") & (pl.col("kind") == "image"))["path"]
    visits = pl.read_parquet(results / "stage3" / "observations.parquet")
    animals = visits.filter(pl.col("category") == "animal").explode("detection_timeline")
    shown = animals["detection_timeline"].struct.field("path")
    left_out = pl.read_parquet(results / "stage3" / "left_out_detections.parquet")["path"]
    assert set(found) - set(left_out) <= set(shown)
    assert set(found) > set(left_out)


def test_few_names_are_wrong(footage: Path, results: Path) -> None:
    """A right genus, family or order is right, and so is a species of the labelled genus."""
    taxa = shipped_taxa()
    truth = dict(labels(footage).select("path", "scientificName").iter_rows())
    visits = pl.read_parquet(results / "stage3" / "observations.parquet").filter(
        pl.col("category") == "animal"
    )
    right, wrong = [], []
    for visit in visits.filter(pl.col("scientific_name").is_not_null()).iter_rows(named=True):
        for path in {each["path"] for each in visit["detection_timeline"]}:
            label, name = truth.get(path), visit["scientific_name"]
            if label in taxa and path.lower().endswith(("jpg", "jpeg", "webp")):
                fits = name in taxa[label].lineage or label in taxa[name].lineage
                (right if fits else wrong).append((path, visit["species"]))
    assert len(right) >= 15
    assert len(wrong) <= 4, wrong


# Depth of the strips, measured by hand, as a fraction of the picture's height.
STRIPS = {
    "animl/Southwest/2021-08-08_RCNX0063_fox.JPG": {"top": 0.017, "bottom": 0.017},
    "animl/Southwest/2021-12-07_12080069_rabbit.JPG": {"bottom": 0.049},
    "animl/Southwest/Asian Plains_S012_2022-08-25_human_vehicle.jpg": {"bottom": 0.029},
    "animl/Southwest/B013_IMG_0005_empty.jpeg": {"bottom": 0.044},
    "animl/Southwest/testdataowl.JPG": {"top": 0.021, "bottom": 0.021},
    "camtrapdp_example/media/20210531082538-RCNX0031.JPG": {"top": 0.022, "bottom": 0.022},
    "microsoft_cameratraps/10050028_0.JPG": {"bottom": 0.035},
    "microsoft_cameratraps/capybara.jpg": {},
    "microsoft_cameratraps/tamandua2.jpg": {},
    "speciesnet_testdata/african_elephants.jpg": {"bottom": 0.065},
    "speciesnet_testdata/american_black_bear.jpg": {"top": 0.021, "bottom": 0.021},
    "speciesnet_testdata/blank.jpg": {"top": 0.021, "bottom": 0.021},
    "speciesnet_testdata/blank2.jpg": {"bottom": 0.041},
    "speciesnet_testdata/blank3.jpg": {"bottom": 0.041},
    "speciesnet_testdata/human.jpg": {"bottom": 0.055},
    "speciesnet_testdata/images/sample_image_oct.jpg": {"bottom": 0.068},
    "zamba_images/chimpanzee_bonobo.jpeg": {},
    "zamba_images/equid.webp": {},
    "zamba_images/wild_dog_jackal.jpg": {},
}


@pytest.mark.parametrize("path", STRIPS)
def test_strips_of_real_cameras_are_recorded_by_day_and_by_night(results: Path, path: str) -> None:
    frames = pl.read_parquet(results / "tables" / "frames.parquet").filter(pl.col("path") == path)
    (recorded,) = frames["edge_strips"].to_list()
    found = {each["edge"]: each["depth"] for each in recorded if each["lettered"]}
    assert found == pytest.approx(STRIPS[path], abs=0.003)


def test_pictures_of_one_camera_agree_on_their_strips(results: Path) -> None:
    frames, media = (
        pl.scan_parquet(results / "tables" / f"{name}.parquet") for name in ("frames", "media")
    )
    burst = media_strips(
        frames.filter(pl.col("path").str.contains("camtrapdp_example")), media
    ).rows()
    assert {edge for _, edge, _ in burst} == {"top", "bottom"}
    assert len(burst) == 20
