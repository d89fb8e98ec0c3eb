"""The survey before a setup: missing parts and quotas."""

import pytest
from compute_rig import SharedClients, aws_settings, recorded_environment, remaining_parts

from resources.errors import RavneError
from resources.sandbox.foundation import prepare_foundation
from resources.sandbox.model.config import SandboxConfig
from resources.sandbox.sandbox import Sandbox


def test_every_missing_part_is_named_with_its_remedy() -> None:
    with Sandbox(SandboxConfig(scale=1000, spot_quota=0, ondemand_quota=2)) as empty:
        with pytest.raises(RavneError) as refused:
            recorded_environment(empty)[0].setup(10)
        assert remaining_parts(empty) == []
    message = str(refused.value)
    assert "\n" not in message
    for part in ("bucket ravne-data-123456789012", "role ravne-job", "role ravne-execution",
                 "instance profile ravne-instance", "security group", "log group"):  # fmt: skip
        assert part in message
    assert "munin cost foundation --deploy" in message


def test_a_quota_of_nothing_is_named_with_its_code() -> None:
    with Sandbox(SandboxConfig(scale=1000, spot_quota=0, ondemand_quota=2)) as poor:
        prepare_foundation(SharedClients(aws_settings(poor)), "ravne", "eu-north-1")
        with pytest.raises(RavneError) as refused:
            recorded_environment(poor)[0].setup(10)
    message = str(refused.value)
    assert "quota of spot vCPUs of GPU machines: 0, one machine has 4" in message
    assert "quota of on-demand vCPUs of GPU machines: 2" in message
    assert "--quota-code L-3819A6DF" in message and "--quota-code L-DB2E81BA" in message
    assert "fallback_to_ondemand: false" in message


def test_a_quota_below_the_need_limits_the_environment() -> None:
    with Sandbox(SandboxConfig(scale=1000, spot_quota=16)) as modest:
        prepare_foundation(SharedClients(aws_settings(modest)), "ravne", "eu-north-1")
        compute, _ = recorded_environment(modest)
        compute.setup(10)
        most = {each.market: each.max_vcpus for each in compute.status().environments}
    assert most == {"spot": 16, "ondemand": 40}
