"""Finished work stays finished on AWS Batch, in the sandbox, where work units run in parallel."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from cloud_rig import BUCKET, Cloud, eventually, running_cloud
from media_files import write_picture

from odins_ravne_assets.cameras.catalog import Camera
from resources.batch import work_units

ALL_STAGES = ("footage", "detections", "classifications", "observations")
OLD = {"models__detector": "megadetector-lite", "pipeline__stage2__auto_ok_threshold": 0.5}
NEW = {**OLD, "pipeline__stage1__conf_threshold": 0.3}


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@pytest.fixture
def cloud(account: Cloud) -> Iterator[Cloud]:
    """The account, reset after the test."""
    yield account
    account.reset()


@pytest.fixture
def several_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two media in each work unit: frames are assumed to take a fifth of a second."""
    monkeypatch.setattr(work_units, "MAX_UNIT_SECONDS", 0.4)


def new_camera(cloud: Cloud, name: str) -> Camera:
    """Return a camera with four stills on S3."""
    camera = cloud.new_output(f"{BUCKET}/footage/{name}")
    for number in range(4):
        add_still(cloud, camera, number)
    return camera


def add_still(cloud: Cloud, camera: Camera, number: int) -> None:
    path = write_picture(cloud.folder / "stills" / f"{number}.JPG", (320, 240), shift=number)
    cloud.store(camera.footage_url).write_bytes(path.name, path.read_bytes())


def journals(cloud: Cloud, camera: Camera) -> dict[str, int]:
    """Return the number of media in each of Stage 1's journals."""
    results = cloud.results(camera)
    counts = {
        folder.name: sum(pl.read_parquet(each).height for each in folder.glob("*.media.parquet"))
        for folder in (results / "journal/stage1").iterdir()
    }
    shutil.rmtree(results)
    return counts


def recorded(cloud: Cloud, camera: Camera) -> tuple[Any, Any]:
    """Return the recorded conf_threshold and auto_ok_threshold."""
    store = cloud.store(f"{camera.output_url}/journal/settings")
    boxes, labels = (json.loads(store.read_bytes(f"stage{n}.json")) for n in (1, 2))
    return boxes["depends_on"]["conf_threshold"], labels["depends_on"]["auto_ok_threshold"]


def test_a_new_picture_is_analysed_by_one_job_as_the_others_were(
    cloud: Cloud, several_units: None
) -> None:
    camera = new_camera(cloud, "kept")
    assert cloud.run(camera, ALL_STAGES, **OLD).success
    assert len(cloud.records(camera)[-1].units) == 3  # two work units, and the tables
    assert recorded(cloud, camera) == (None, 0.5)
    [old] = journals(cloud, camera)
    add_still(cloud, camera, 4)
    ran = cloud.run(camera, ALL_STAGES, **NEW)
    assert ran.success, ran.error
    assert ran.logged("4 media were analysed with conf_threshold of the model, and new media are")
    assert journals(cloud, camera) == {old: 5}
    assert recorded(cloud, camera) == (None, 0.5)


def test_without_new_media_other_settings_start_no_machine(cloud: Cloud) -> None:
    camera = new_camera(cloud, "idle")
    assert cloud.run(camera, ALL_STAGES, **OLD).success
    jobs = cloud.submitted(camera)
    ran = cloud.run(camera, **NEW)
    assert ran.success, ran.error
    assert cloud.submitted(camera) == jobs


def test_an_update_in_parallel_units_records_its_settings_and_analyses_each_medium_once(
    cloud: Cloud, several_units: None
) -> None:
    camera = new_camera(cloud, "updated")
    assert cloud.run(camera, ALL_STAGES, **OLD).success
    ran = cloud.run(camera, update=True, **NEW)
    assert ran.success, ran.error
    assert sorted(journals(cloud, camera).values()) == [4, 4]
    assert recorded(cloud, camera) == (0.3, 0.5)
    report = cloud.store(camera.output_url).read_bytes("stage3/report.json")
    assert json.loads(report)["models"]["detector"].startswith("megadetector-lite ")
    again = cloud.run(camera, **NEW)
    assert not again.logged("--update")


def test_an_update_whose_orchestrator_died_continues_in_a_run_that_does_not_ask_for_it(
    cloud: Cloud,
) -> None:
    """The next run may be one that new footage starts."""
    camera = new_camera(cloud, "died")
    assert cloud.run(camera, ALL_STAGES, **OLD).success
    [old] = journals(cloud, camera)
    # Its job works on without it.
    assert cloud.start(camera, "after", "SubmitJob", "1", update=True, **NEW).end() != 0
    eventually(lambda: recorded(cloud, camera)[0] == 0.3)
    ran = cloud.run(camera, ALL_STAGES, **NEW)
    assert ran.success, ran.error
    counts = journals(cloud, camera)
    assert counts.pop(old) == 4
    assert list(counts.values()) == [4]
    assert recorded(cloud, camera) == (0.3, 0.5)


def test_stage_2_alone_updates_labels_and_no_boxes(cloud: Cloud) -> None:
    camera = new_camera(cloud, "labels")
    assert cloud.run(camera, ALL_STAGES, **OLD).success
    before = journals(cloud, camera)
    other = {**NEW, "pipeline__stage2__auto_ok_threshold": 0.9}
    ran = cloud.run(camera, ("classifications", "observations"), update=True, **other)
    assert ran.success, ran.error
    assert journals(cloud, camera) == before
    assert recorded(cloud, camera) == (None, 0.9)
