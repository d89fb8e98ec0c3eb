"""The settings of a run, however it is started, and the code versions of what it makes."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from finished_camera import Results, profile

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.defs.assets import VERSIONS, footage, stages_1_to_3
from odins_ravne_assets.munin.detection.journal_key import stage1_key
from odins_ravne_assets.munin.workload.recorded_settings import STAGE1, STAGE2
from resources.launch.base import StepRequest
from resources.settings.dagster_resource import RunSettings
from resources.settings.loader import load_profile
from resources.settings.profile import Profile

OLDER = profile(stage1__conf_threshold=0.3)
OWN = load_profile("local", environ={})
CODE_VERSION = "dagster/code_version"


class Launcher:
    """Returns a result for each stage without running it, and keeps the profiles it was given."""

    def __init__(self) -> None:
        self.profiles: list[Profile] = []

    def launch(self, context: dg.AssetExecutionContext, request: StepRequest) -> Iterator[Any]:
        self.profiles.append(Profile.model_validate(request.profile))
        for stage in request.stages:
            yield dg.MaterializeResult(stage, data_version=dg.DataVersion("1"))


class Runs:
    """Runs of one camera as the UI starts them: with tags, without the command line."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.results = Results(folder / "results")
        self.catalog = CameraCatalog(folder / "catalog")
        self.catalog.put(Camera("ridge", (folder / "card").as_uri(), self.results.store.url))
        self.instance = instance
        instance.add_dynamic_partitions("camera", ["ridge"])

    def start(
        self, *assets: str, tags: Mapping[str, str] | None = None
    ) -> tuple[dg.ExecuteInProcessResult, Profile | None]:
        """Materialize assets; return the result and the profile that the launcher got."""
        launcher = Launcher()
        ended = dg.materialize(
            [footage, stages_1_to_3],
            selection=list(assets),
            partition_key="ridge",
            instance=self.instance,
            resources={
                "settings": RunSettings(profile="local"),
                "catalog": self.catalog,
                "launcher": launcher,
            },
            tags=dict(tags or {}),
            raise_on_error=False,
        )
        return ended, launcher.profiles[-1] if launcher.profiles else None

    def code_version(self, asset: str) -> str:
        """Return the code version of the latest materialization."""
        wanted = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=["ridge"])
        [record] = self.instance.fetch_materializations(wanted, limit=1).records
        assert record.asset_materialization and record.asset_materialization.tags
        return record.asset_materialization.tags[CODE_VERSION]


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Runs(tmp_path, instance)


def test_a_materialization_keeps_the_settings_and_stays_stale(runs: Runs) -> None:
    runs.results.add(OLDER)
    ended, used = runs.start("detections", "classifications", "observations")
    assert ended.success and used
    assert stage1_key(used) == stage1_key(OLDER)
    assert runs.code_version("detections") == stage1_key(OLDER)[:12] != VERSIONS["detections"]
    assert runs.code_version("classifications") != VERSIONS["classifications"]
    assert runs.code_version("observations") == VERSIONS["observations"]
    log = [entry.user_message for entry in runs.instance.all_logs(ended.run_id)]
    assert any("1 medium was analysed with megadetector-lite" in line for line in log)


def test_the_tag_of_an_update_uses_the_profile_and_makes_it_current(runs: Runs) -> None:
    runs.results.add(OLDER)
    ended, used = runs.start("detections", "classifications", tags={"munin/update": "true"})
    assert ended.success and used
    assert stage1_key(used) == stage1_key(OWN)
    for asset in ("detections", "classifications"):
        assert runs.code_version(asset) == VERSIONS[asset]


def test_the_first_materialization_is_current(runs: Runs) -> None:
    assets = ("detections", "classifications", "observations", "exports")
    runs.start(*assets)
    assert {asset: runs.code_version(asset) for asset in assets} == {
        asset: VERSIONS[asset] for asset in assets
    }


def test_labels_of_older_boxes_are_stale_even_by_the_classifier_of_the_profile(runs: Runs) -> None:
    runs.results.add(OLDER)
    ended, used = runs.start("classifications", tags={"munin/update": "true"})
    assert ended.success and used
    assert STAGE2.of_profile(used).key == STAGE2.of_profile(OWN).key
    assert runs.code_version("classifications") != VERSIONS["classifications"]


def test_stage_3_alone_asks_for_no_model(runs: Runs) -> None:
    """Its boxes and labels exist: it does not matter whether their models still do."""
    runs.results.add(OLDER)
    gone = STAGE1.of_profile(OLDER).model_copy(update={"models": {"detector": "gone"}})
    STAGE1.save(runs.results.store, gone)
    ended, used = runs.start("observations", "exports")
    assert ended.success and used
    assert used.models == OWN.models


def test_another_value_of_the_tag_is_refused(runs: Runs) -> None:
    runs.results.add(OLDER)
    ended, used = runs.start("detections", tags={"munin/update": "yes"})
    assert not ended.success
    assert used is None
    [failure] = [e for e in ended.all_events if e.is_step_failure]
    data = failure.step_failure_data.user_failure_data
    assert data and data.description == "tag munin/update: 'yes' must be true or false"
