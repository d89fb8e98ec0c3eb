"""Profiles: what is read, what wins, and what is refused in which words."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from resources.errors import ProfileError
from resources.settings.loader import find_profile, load_profile
from resources.settings.profile import Profile

SHIPPED = ["local", "cloud", "cloud-cost-optimized"]


def load(text: str, tmp_path: Path, **more: Any) -> Profile:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return load_profile(str(path), environ=more.pop("environ", {}), **more)


def refusal(text: str, tmp_path: Path, **more: Any) -> str:
    with pytest.raises(ProfileError) as caught:
        load(text, tmp_path, **more)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_profiles_load(name: str) -> None:
    assert isinstance(load_profile(name, environ={}), Profile)


def test_the_cost_optimized_profile_has_the_values_people_know() -> None:
    tree = yaml.safe_load(find_profile("cloud-cost-optimized").read_text(encoding="utf-8"))
    assert tree["cloud"]["aws"]["region"] == "eu-north-1"
    compute = tree["cloud"]["aws"]["compute"]
    assert compute["spot_instances"] is True
    assert compute["bid_percentage"] == 70
    assert compute["fallback_to_ondemand"] is True
    assert (compute["max_vcpus"], compute["min_vcpus"], compute["desired_vcpus"]) == (100, 0, 0)
    assert tree["pipeline"]["cost_optimization"] == {
        "enabled": True,
        "spot_preferred": True,
        "fallback_timeout": 300,
        "cost_threshold": 0.5,
        "max_parallel_jobs": 10,
        "offline_camera_optimized": True,
    }
    assert tree["pipeline"]["stage3"] == {
        "compression_window": 10,
        "min_confidence": 0.5,
        "min_duration": 5,
    }
    assert tree["storage"]["lifecycle"] == {
        "transition_to_ia": 30,
        "transition_to_glacier": 90,
        "delete_old_versions": 30,
    }


def test_only_profiles_with_a_cloud_launch_there() -> None:
    assert load_profile("local", environ={}).cloud is None
    cloud = load_profile("cloud-cost-optimized", environ={}).cloud
    assert cloud is not None
    assert cloud.aws.compute.instance_types[0] == "g4dn.xlarge"


def test_the_engine_is_what_the_machine_has_unless_it_is_named() -> None:
    assert load_profile("cloud", environ={}).pipeline.stage1.engine == "auto"


def test_environment_wins_over_file_and_command_line_over_both(tmp_path: Path) -> None:
    text = "pipeline: {stage3: {min_confidence: 0.1, min_duration: 1, compression_window: 1}}"
    environ = {
        "MUNIN_PIPELINE__STAGE3__MIN_DURATION": "2",
        "MUNIN_PIPELINE__STAGE3__COMPRESSION_WINDOW": "2",
    }
    overrides = {"pipeline.stage3.compression_window": 3}
    stage3 = load(text, tmp_path, environ=environ, overrides=overrides).pipeline.stage3
    assert (stage3.min_confidence, stage3.min_duration, stage3.compression_window) == (0.1, 2, 3)


def test_an_unknown_key_is_refused_with_what_is_known(tmp_path: Path) -> None:
    message = refusal("pipeline: {stage3: {min_confidnce: 0.5}}", tmp_path)
    assert str(tmp_path / "mine.yaml") in message
    assert "pipeline.stage3.min_confidnce" in message
    assert "did you mean min_confidence?" in message
    assert "compression_window" in message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("pipeline: {stage3: {min_confidence: 1.7}}", ["min_confidence", "1.7", "equal to 1"]),
        ("pipeline: {stage3: {min_confidence: sure}}", ["min_confidence", "'sure'", "number"]),
        ("pipeline: {stage3: {min_confidence: .nan}}", ["min_confidence", "nan"]),
        ("pipeline: {stage1: {sampling: often}}", ["sampling", "'often'", "'fps'", "'keyframes'"]),
        ("cloud: {aws: {region: Stockholm}}", ["cloud.aws.region", "'Stockholm'"]),
        ("cloud: {aws: {compute: {bid_percentage: 101}}}", ["bid_percentage", "101", "100"]),
        ("storage: {lifecycle: {transition_to_ia: 3}}", ["transition_to_ia", "3", "30"]),
        ("pipeline: 7", ["pipeline", "7"]),
    ],
)
def test_a_bad_value_is_refused_with_key_value_and_what_is_allowed(
    text: str, parts: list[str], tmp_path: Path
) -> None:
    message = refusal(text, tmp_path)
    for part in parts:
        assert part in message


def test_cloud_settings_in_the_environment_leave_a_local_profile_local() -> None:
    environ = {"MUNIN_CLOUD__AWS__REGION": "eu-west-1"}
    assert load_profile("local", environ=environ).cloud is None
    cloud = load_profile("cloud", environ=environ).cloud
    assert cloud and cloud.aws.region == "eu-west-1"


def test_a_bad_environment_variable_is_named(tmp_path: Path) -> None:
    message = refusal("", tmp_path, environ={"MUNIN_PIPELINE__STAGE1__SAMPLING": "often"})
    assert message.startswith("environment MUNIN_PIPELINE__STAGE1__SAMPLING")
    message = refusal("", tmp_path, environ={"MUNIN_PIPELIEN__STAGE1__SAMPLING": "fps"})
    assert "pipelien" in message and "did you mean pipeline?" in message


def test_a_bad_option_is_named(tmp_path: Path) -> None:
    message = refusal("", tmp_path, overrides={"pipeline.stage3.min_confidence": 2})
    assert message.startswith("command line: pipeline.stage3.min_confidence")


@pytest.mark.parametrize("text", ["pipeline: [", "- a\n- b", "\x00"])
def test_what_is_no_profile_is_refused(text: str, tmp_path: Path) -> None:
    assert "mine.yaml" in refusal(text, tmp_path)


def test_a_profile_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ProfileError, match="local"):
        load_profile("lokal", environ={})
    with pytest.raises(ProfileError, match="no such file"):
        load_profile("somewhere/mine.yaml", environ={})


def test_every_key_is_explained() -> None:
    for line in load_profile("cloud", environ={}).explained():
        assert "  # " in line and not line.endswith("# None")
