"""A camera that has sent nothing for a month is told; one that was taken down is not."""

from datetime import datetime
from pathlib import Path

import dagster as dg

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.defs.silent_cameras import (
    NEWEST_TIME_KEY,
    no_camera_is_silent,
    silent_cameras,
)
from resources.settings.dagster_resource import RunSettings
from resources.settings.deployments import Deployment
from resources.settings.loader import load_profile
from resources.settings.profile import Profile
from resources.settings.project import Project

NOW = datetime(2026, 11, 23, 12)
LATE = datetime(2026, 10, 1)


def profile(*deployments: Deployment) -> Profile:
    return load_profile("local").model_copy(update={"project": Project(deployments=deployments)})


def stay(camera: str, end: str | None) -> Deployment:
    return Deployment(cameraID=camera, latitude=1.0, longitude=2.0, deploymentEnd=end)


def test_the_longest_silent_camera_is_told_first() -> None:
    newest = {"a": LATE, "b": NOW, "c": None, "d": datetime(2026, 9, 1)}
    assert silent_cameras(newest, profile(), NOW) == [
        ("c", "the beginning"),
        ("d", "2026-09-01 00:00"),
        ("a", "2026-10-01 00:00"),
    ]


def test_a_camera_that_was_taken_down_is_not_silent() -> None:
    study = profile(stay("a", "2026-10-02T00:00:00+0200"), stay("b", None))
    assert silent_cameras({"a": LATE, "b": LATE}, study, NOW) == [("b", "2026-10-01 00:00")]


def test_a_camera_that_was_put_up_again_can_be_silent() -> None:
    study = profile(stay("a", "2026-05-02T00:00:00+0200"), stay("a", None))
    assert silent_cameras({"a": LATE}, study, NOW) == [("a", "2026-10-01 00:00")]


def test_the_check_reads_what_footage_says_of_its_newest_picture(tmp_path: Path) -> None:
    catalog = CameraCatalog(tmp_path)
    catalog.put(Camera("old", "file:///a", "file:///b"))
    catalog.put(Camera("new", "file:///c", "file:///d"))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("camera", ["old", "new"])
        for camera, when in (("old", "2020-01-01 00:00:00"), ("new", "2999-01-01 00:00:00")):
            instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    "footage", partition=camera, metadata={NEWEST_TIME_KEY: when}
                )
            )
        context = dg.build_asset_check_context(instance=instance)
        result = no_camera_is_silent(context, RunSettings(), catalog)
    assert isinstance(result, dg.AssetCheckResult)
    assert not result.passed
    assert result.description == "old: nothing since 2020-01-01 00:00"
