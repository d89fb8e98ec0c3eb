"""Profiles: loading, precedence of sources, error messages."""

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


def test_the_cost_optimized_profile_has_its_documented_values() -> None:
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


def test_only_profiles_with_a_cloud_section_launch_on_aws() -> None:
    assert load_profile("local", environ={}).cloud is None
    cloud = load_profile("cloud-cost-optimized", environ={}).cloud
    assert cloud is not None
    assert cloud.aws.compute.instance_types[0] == "g4dn.xlarge"


def test_the_default_engine_is_auto() -> None:
    assert load_profile("cloud", environ={}).pipeline.stage1.engine == "auto"


def test_the_environment_overrides_the_file_and_options_override_both(tmp_path: Path) -> None:
    text = "pipeline: {stage3: {min_confidence: 0.1, min_duration: 1, compression_window: 1}}"
    environ = {
        "MUNIN_PIPELINE__STAGE3__MIN_DURATION": "2",
        "MUNIN_PIPELINE__STAGE3__COMPRESSION_WINDOW": "2",
    }
    overrides = {"pipeline.stage3.compression_window": 3}
    stage3 = load(text, tmp_path, environ=environ, overrides=overrides).pipeline.stage3
    assert (stage3.min_confidence, stage3.min_duration, stage3.compression_window) == (0.1, 2, 3)


def test_the_error_for_an_unknown_key_lists_the_known_keys(tmp_path: Path) -> None:
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
def test_the_error_for_an_invalid_value_names_key_value_and_allowed_values(
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


def test_the_error_names_an_invalid_environment_variable(tmp_path: Path) -> None:
    message = refusal("", tmp_path, environ={"MUNIN_PIPELINE__STAGE1__SAMPLING": "often"})
    assert message.startswith("environment MUNIN_PIPELINE__STAGE1__SAMPLING")
    message = refusal("", tmp_path, environ={"MUNIN_PIPELIEN__STAGE1__SAMPLING": "fps"})
    assert "pipelien" in message and "did you mean pipeline?" in message


def test_the_error_names_an_invalid_option(tmp_path: Path) -> None:
    message = refusal("", tmp_path, overrides={"pipeline.stage3.min_confidence": 2})
    assert message.startswith("command line: pipeline.stage3.min_confidence")


@pytest.mark.parametrize("text", ["pipeline: [", "- a\n- b", "\x00"])
def test_files_that_are_no_profile_are_refused(text: str, tmp_path: Path) -> None:
    assert "mine.yaml" in refusal(text, tmp_path)


def test_the_error_for_a_missing_profile_lists_the_shipped_ones() -> None:
    with pytest.raises(ProfileError, match="local"):
        load_profile("lokal", environ={})
    with pytest.raises(ProfileError, match="no such file"):
        load_profile("somewhere/mine.yaml", environ={})


def test_every_key_has_a_description() -> None:
    for line in load_profile("cloud", environ={}).commented_yaml():
        assert "  # " in line and not line.endswith("# None")
