"""Observations that follow by themselves: when, for which camera, and never twice."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import PipesExecutionResult

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.defs.assets import CAMERAS, footage, stages_1_to_3
from odins_ravne_assets.defs.automation import observations_follow
from odins_ravne_assets.defs.checks import CHECKS
from odins_ravne_assets.defs.code_versions import code_versions
from resources.launch.base import StepLauncher, StepRequest
from resources.settings.dagster_resource import RunSettings
from resources.settings.loader import load_profile

STAGES = ("detections", "classifications", "observations", "exports")
FOLLOWING = {"classifications", "observations", "exports"}
Wanted = dict[str, set[str]]


@dataclass
class AtOnce(StepLauncher):
    """A launcher whose steps are done as soon as they are asked for.

    Args:
        failing: stages before which it ends.
    """

    failing: Sequence[str]

    def launch(
        self, context: dg.AssetExecutionContext, request: StepRequest
    ) -> Iterator[PipesExecutionResult]:
        for stage in request.stages:
            if stage in self.failing:
                raise dg.Failure("no space left")
            yield dg.MaterializeResult(stage)
            for check in CHECKS.get(stage, ()):
                yield dg.AssetCheckResult(asset_key=stage, check_name=check, passed=True)


@dataclass
class Study:
    """An instance with two cameras, and the sensor's ticks on it."""

    instance: dg.DagsterInstance
    catalog: CameraCatalog
    versions: dict[str, str] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)
    _cursor: Any = None

    def add(self, camera: str) -> None:
        self.instance.add_dynamic_partitions(str(CAMERAS.name), [camera])
        self.catalog.put(Camera(camera, f"file:///f/{camera}", f"file:///r/{camera}"))

    def make(self, camera: str, *stages: str, failing: Sequence[str] = ()) -> None:
        """Run these stages of a camera, as one run does."""
        job = dg.define_asset_job("some", selection=list(stages))
        defs = dg.Definitions.merge(self.defs(failing), dg.Definitions(jobs=[job]))
        defs.resolve_job_def("some").execute_in_process(
            instance=self.instance, partition_key=camera, raise_on_error=not failing
        )

    def defs(self, failing: Sequence[str] = ()) -> dg.Definitions:
        def versioned(spec: dg.AssetSpec) -> dg.AssetSpec:
            name = spec.key.to_user_string()
            of_profile = code_versions(load_profile("local", self.overrides))[name]
            version = self.versions.get(name, of_profile)
            return spec.replace_attributes(code_version=version)

        return dg.Definitions(
            dg.map_asset_specs(versioned, [footage, stages_1_to_3]),
            resources={
                "settings": RunSettings(profile="local", overrides=self.overrides),
                "catalog": self.catalog,
                "launcher": AtOnce(failing),
            },
        )

    def tick(self) -> Wanted:
        """What the sensor asks for: the stages of each camera."""
        result = dg.evaluate_automation_conditions(self.defs(), self.instance, cursor=self._cursor)
        self._cursor = result.cursor
        wanted: Wanted = {}
        for stage in FOLLOWING:
            for camera in result.get_requested_partitions(dg.AssetKey(stage)):
                wanted.setdefault(str(camera), set()).add(stage)
        return wanted


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with dg.DagsterInstance.ephemeral() as instance:
        study = Study(instance, CameraCatalog(tmp_path))
        for camera in ("north", "south"):
            study.add(camera)
        assert study.tick() == {}
        for camera in ("north", "south"):
            study.make(camera, "footage", *STAGES)
        yield study


def test_a_run_that_fails_says_why_in_a_line_of_its_own(study: Study) -> None:
    study.make("north", *STAGES, failing=["observations"])
    study.instance.add_dynamic_partitions(str(CAMERAS.name), ["nobody's"])
    study.make("nobody's", "footage", failing=["footage"])
    told = [
        entry.user_message
        for run in study.instance.get_runs(limit=2)
        for entry in study.instance.all_logs(run.run_id)
        if entry.level == logging.ERROR and not entry.dagster_event
    ]
    assert [line for line in told if "Dependencies" not in line] == [
        'camera id "nobody\'s" is not allowed: a letter or digit, then letters, digits, - and _, '
        "63 characters at most; use nobody-s",
        "no space left",
    ]


def test_what_a_run_of_all_stages_made_together_is_left_alone(study: Study) -> None:
    assert study.tick() == {}
    study.make("north", "footage", *STAGES)
    assert study.tick() == {}


def test_new_boxes_of_a_camera_are_followed_to_its_exports_once(study: Study) -> None:
    study.tick()
    study.make("north", "footage", "detections")
    assert study.tick() == {"north": FOLLOWING}
    assert study.tick() == {}


def test_new_labels_of_a_camera_are_followed_by_its_visits_once(study: Study) -> None:
    study.tick()
    study.make("south", "classifications")
    assert study.tick() == {"south": {"observations", "exports"}}
    study.make("south", "observations", "exports")
    assert study.tick() == {}


def test_other_settings_of_stage_3_are_followed_for_all_cameras_by_no_model(study: Study) -> None:
    study.tick()
    study.versions["observations"] = "2"
    visits = {"observations", "exports"}
    assert study.tick() == {"north": visits, "south": visits}
    assert study.tick() == {}


def test_another_classifier_is_not_followed_by_itself(study: Study) -> None:
    study.tick()
    study.versions["classifications"] = "2"
    assert study.tick() == {}


def test_a_camera_that_was_never_run_is_left_to_the_sensor_of_new_footage(study: Study) -> None:
    study.tick()
    study.add("new")
    study.versions["observations"] = "2"
    assert "new" not in study.tick()


def test_visits_that_failed_are_tried_once_when_their_labels_are_there(study: Study) -> None:
    study.tick()
    study.make("north", *STAGES, failing=["observations"])
    assert study.tick() == {"north": {"observations", "exports"}}
    assert study.tick() == {}


def test_settings_that_are_changed_back_are_followed_where_results_differ(study: Study) -> None:
    study.tick()
    visits, other = {"observations", "exports"}, {"pipeline.stage3.compression_window": 77}
    study.overrides = other
    assert study.tick() == {"north": visits, "south": visits}
    study.make("north", *sorted(visits))  # south's run has not begun
    assert study.tick() == {}
    study.overrides = {}
    assert study.tick() == {"north": visits}
    study.make("north", *sorted(visits))
    assert study.tick() == {}
    study.overrides = other
    study.make("south", *sorted(visits))  # by a command, before the sensor has noticed
    study.overrides = {}
    assert study.tick() == {}


def test_the_sensor_evaluates_its_condition_in_the_code_location(study: Study) -> None:
    study.tick()
    study.make("south", "classifications")
    defs = dg.Definitions.merge(study.defs(), dg.Definitions(sensors=[observations_follow]))
    repository = defs.get_repository_def()
    cursor, requests = None, 0
    for stages in ((), ("classifications",), ()):
        if stages:
            study.make("south", *stages)
        context = dg.build_sensor_context(
            study.instance, cursor=cursor, repository_def=repository, definitions=None
        )
        result = observations_follow.evaluate_tick(context)
        cursor, requests = result.cursor, requests + len(result.run_requests or ())
    assert requests == 1
