"""`munin plan` without an account and without measurements."""

import json
from pathlib import Path

import pytest
from command_line import Munin, make_demo_footage

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.costs.ledger_reader import read_known_ledgers
from odins_ravne_assets.costs.planner import PlannedCamera, make_plan
from odins_ravne_assets.instance_home import catalog_folder
from resources.errors import UsageError
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
    ended = Munin(tmp_path / "munin")("plan", card, output, "--camera", "cam", "--json")
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
    ended = Munin(tmp_path / "munin", "cloud", ALONE)("plan", card)
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
