"""`munin plan` without an account and without measurements."""

import json
from pathlib import Path

import pytest
from command_line import make_demo_footage
from finished_camera import Results, profile
from in_process import MuninInProcess

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cli.plan_tables import print_plan
from odins_ravne_assets.cli.terminal import out
from odins_ravne_assets.costs.ledger_reader import read_known_ledgers
from odins_ravne_assets.costs.planner import PlannedCamera, _Planner, make_plan
from odins_ravne_assets.instance_home import catalog_folder
from odins_ravne_assets.munin.workload.footage_estimate import FootageCount
from odins_ravne_assets.odin.run_plan import RunPlan
from resources.errors import UsageError
from resources.planning.estimate import Range
from resources.planning.saved_predictions import load_predictions
from resources.settings.profile import Profile
from resources.storage.local_store import LocalStore

ALONE = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_SHARED_CREDENTIALS_FILE": "/none",
    "AWS_CONFIG_FILE": "/none",
}


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo_footage(tmp_path_factory.mktemp("demo"))


def test_a_local_plan_has_the_local_duration_and_the_cost_on_aws(
    card: Path, tmp_path: Path
) -> None:
    output = tmp_path / "results"
    ended = MuninInProcess(tmp_path / "munin")("plan", card, output, "--camera", "cam", "--json")
    assert ended.code == 0, ended.err
    plan = json.loads(ended.out)
    assert plan["likely"]["market"] == "local"
    assert plan["likely"]["usd"] == 0
    assert {each["market"] for each in plan["estimates"]} == {"local", "spot", "ondemand"}
    assert not any(each["measured"] for each in plan["estimates"])
    assert plan["cameras"]["cam"]["images"] == 5
    assert plan["models"]["classifier"] == "efficientnet-lite3"
    [saved] = load_predictions(LocalStore(output / "plans"))
    assert (saved.camera_id, saved.frames) == ("cam", plan["frames"])


def test_a_cloud_profile_without_an_account_plans_with_the_shipped_prices(
    card: Path, tmp_path: Path
) -> None:
    ended = MuninInProcess(tmp_path / "munin", "cloud", ALONE)("plan", card)
    assert ended.code == 0, ended.err
    assert "5 pictures and 1 video" in ended.out
    assert "g4dn.xlarge  spot " in ended.out
    assert "Expected: $0.0" in ended.out
    assert "? assumed" in ended.out
    assert "AWS did not return spot prices" in ended.out
    assert not list((tmp_path / "munin").glob("results*"))


def test_a_folder_without_media_is_wrong_use(tmp_path: Path) -> None:
    camera = PlannedCamera("cam", tmp_path.as_uri(), None)
    with pytest.raises(UsageError, match=rf"INPUT {tmp_path}: contains no pictures or videos"):
        make_plan([camera], Profile(), "normal", lambda name: None, update=False)


def test_a_ledger_that_cannot_be_read_is_reported_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    output = tmp_path / "results"
    output.mkdir()
    (output / "ledger").write_text("no folder")
    CameraCatalog(catalog_folder()).put(Camera("cam", "file:///card", output.as_uri()))
    rows, remarks = read_known_ledgers(Profile())
    assert rows.is_empty()
    [remark] = remarks
    assert remark.startswith("measurements left out: ")
    assert "ledger: cannot list" in remark


def test_a_plan_has_the_models_of_the_results_that_it_continues(card: Path, tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    results.add(profile())
    own = profile(models__detector="ssd-mobilenet-v2-cam16")
    camera = PlannedCamera("cam", card.as_uri(), results.store.url)
    made = make_plan([camera], own, "normal", lambda name: None, update=False)
    assert made.models["cam"].detector == "megadetector-lite"
    assert "detector megadetector-lite" in shown(made)
    updated = make_plan([camera], own, "normal", lambda name: None, update=True)
    assert "detector ssd-mobilenet-v2-cam16" in shown(updated)


def test_cameras_with_different_models_have_a_line_each(card: Path, tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    results.add(profile())
    own = profile(models__detector="ssd-mobilenet-v2-cam16")
    cameras = [
        PlannedCamera("old", card.as_uri(), results.store.url),
        PlannedCamera("new", card.as_uri(), (tmp_path / "new").as_uri()),
    ]
    text = shown(make_plan(cameras, own, "normal", lambda name: None, update=False))
    assert "old: models: detector megadetector-lite" in text
    assert "new: models: detector ssd-mobilenet-v2-cam16" in text


def test_a_plan_with_nothing_left_has_no_cost_and_no_machines() -> None:
    count = FootageCount(100, 0, 10**9, 0, 0, 0.0, 100, 100, 0)
    camera = PlannedCamera("cam", "file:///card", None)
    made = _Planner([camera], {"cam": count}, Profile(), "normal").plan()
    assert {each.usd for each in made.estimates} == {Range(0, 0, 0)}
    text = shown(made)
    assert "Nothing is left to process" in text
    assert "$" not in text and "g4dn" not in text


def shown(plan: RunPlan) -> str:
    """What `munin plan` prints."""
    with out.capture() as printed:
        print_plan(plan)
    return printed.get()
