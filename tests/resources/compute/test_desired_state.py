"""The plan of compute on AWS Batch, as parameters of AWS's API."""

import email
import os
import subprocess
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import validate_parameters
from hypothesis import given
from hypothesis import strategies as st

from resources.compute.desired_state import BOOT_SCRIPT, JobShape, Plan, job_shape, plan, vcpu_limit
from resources.compute.foundation import Foundation
from resources.compute.survey import MachineType, Survey
from resources.errors import UsageError
from resources.settings.profile import Aws, Compute

FOUNDATION = Foundation(
    account="123456789012",
    bucket="ravne-data",
    subnets=("subnet-1", "subnet-2"),
    security_group="sg-1",
    job_role="arn:aws:iam::123456789012:role/ravne-job",
    execution_role="arn:aws:iam::123456789012:role/ravne-execution",
    instance_profile="arn:aws:iam::123456789012:instance-profile/ravne-instance",
    log_group="/aws/batch/ravne",
    repository="123456789012.dkr.ecr.eu-north-1.amazonaws.com/ravne-worker",
)
G4DN = MachineType("g4dn.xlarge", 4, 16384, 1, ("eu-north-1a",))
G5_FOUR = MachineType("g5.12xlarge", 48, 196608, 4, ("eu-north-1a",))
C7I = MachineType("c7i.2xlarge", 8, 16384, 0, ("eu-north-1a",))
FOUND = Survey(FOUNDATION, (G4DN,), {"spot": 256, "ondemand": 256}, (), ())


def planned(job_count: int = 10, gpu_required: bool = False, **compute: Any) -> Plan:
    return plan(Aws(compute=Compute(**compute)), FOUND, job_count, gpu_required)


def test_every_planned_call_is_valid_for_the_api() -> None:
    batch = botocore.session.get_session().get_service_model("batch")
    ec2 = botocore.session.get_session().get_service_model("ec2")
    wanted = planned()
    calls: list[tuple[Any, Any]] = [
        *((each, "CreateComputeEnvironment") for each in wanted.environments),
        *((each, "CreateJobQueue") for each in wanted.queues),
        (wanted.job_definition, "RegisterJobDefinition"),
    ]
    for parameters, operation in calls:
        validate_parameters(parameters, batch.operation_model(operation).input_shape)
    data = {"LaunchTemplateName": "n", "LaunchTemplateData": wanted.launch_template}
    validate_parameters(data, ec2.operation_model("CreateLaunchTemplate").input_shape)


def test_only_the_spot_environment_has_a_bid_and_its_strategy_weighs_the_price() -> None:
    spot, ondemand = (each["computeResources"] for each in planned(bid_percentage=55).environments)
    assert (spot["type"], spot["bidPercentage"]) == ("SPOT", 55)
    assert spot["allocationStrategy"] == "SPOT_PRICE_CAPACITY_OPTIMIZED"
    assert ondemand["type"] == "EC2" and "bidPercentage" not in ondemand
    # Environments with the default strategy cannot be updated in place.
    assert ondemand["allocationStrategy"] == "BEST_FIT_PROGRESSIVE"


def test_compute_scales_to_zero_by_default() -> None:
    for environment in planned().environments:
        resources = environment["computeResources"]
        assert (resources["minvCpus"], resources["desiredvCpus"]) == (0, 0)


def test_min_vcpus_apply_to_the_preferred_market_only() -> None:
    spot, ondemand = (each["computeResources"] for each in planned(min_vcpus=8).environments)
    assert (spot["minvCpus"], ondemand["minvCpus"]) == (8, 0)
    (alone,) = planned(min_vcpus=8, spot_instances=False).environments
    assert alone["computeResources"]["minvCpus"] == 8


def test_the_queue_of_high_priority_shares_the_environment() -> None:
    queues = {each["jobQueueName"]: each for each in planned().queues}
    assert list(queues) == ["ravne-spot-high", "ravne-spot", "ravne-ondemand"]
    assert queues["ravne-spot-high"]["priority"] > queues["ravne-spot"]["priority"]
    order = [queues[name]["computeEnvironmentOrder"] for name in ("ravne-spot-high", "ravne-spot")]
    assert order[0] == order[1] == [{"order": 1, "computeEnvironment": "ravne-spot"}]


def test_markets_that_the_profile_does_not_use_are_not_planned() -> None:
    no_fallback = planned(fallback_to_ondemand=False)
    assert [q["jobQueueName"] for q in no_fallback.queues] == ["ravne-spot-high", "ravne-spot"]
    assert len(no_fallback.environments) == 1
    no_spot = planned(spot_instances=False, fallback_to_ondemand=False)
    assert [q["jobQueueName"] for q in no_spot.queues] == ["ravne-ondemand"]


def test_time_limits_are_within_the_limits_of_aws_and_longest_for_lacking_capacity() -> None:
    for queue in planned().queues:
        limits = {
            each["reason"]: each["maxTimeSeconds"] for each in queue["jobStateTimeLimitActions"]
        }
        assert all(600 <= seconds <= 86400 for seconds in limits.values())
        assert limits["CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"] == 86400
        assert limits["MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"] == 600


def test_a_job_requests_one_gpu_and_seven_eighths_of_the_memory() -> None:
    container = planned().job_definition["containerProperties"]
    requested = {each["type"]: each["value"] for each in container["resourceRequirements"]}
    assert requested == {"VCPU": "4", "MEMORY": "14336", "GPU": "1"}
    assert container["linuxParameters"]["initProcessEnabled"] is True


def test_batch_itself_never_retries_a_job() -> None:
    retries = planned().job_definition["retryStrategy"]
    assert retries == {"attempts": 1, "evaluateOnExit": [{"onReason": "*", "action": "EXIT"}]}


def test_machines_with_several_gpus_run_several_jobs() -> None:
    assert job_shape([G5_FOUR], gpu_required=True) == JobShape(12, 43008, 1)
    assert job_shape([G4DN, G5_FOUR], gpu_required=True) == JobShape(4, 14336, 1)
    job = job_shape([G5_FOUR], True)
    assert vcpu_limit(Aws(compute=Compute(max_vcpus=960)), [G5_FOUR], None, job, 5) == 96


def test_machines_without_a_gpu_are_refused_only_when_one_is_required() -> None:
    assert job_shape([C7I], gpu_required=False).gpus == 0
    with pytest.raises(UsageError, match=r"no GPU in c7i\.2xlarge, but --gpu-required"):
        job_shape([C7I], gpu_required=True)
    with pytest.raises(UsageError, match=r"no GPU in c7i\.2xlarge, but others have one"):
        job_shape([G4DN, C7I], gpu_required=False)


def test_jobs_without_a_gpu_use_the_default_machine_image() -> None:
    bare = plan(Aws(), replace(FOUND, machines=(C7I,)), 1, False)
    assert all("ec2Configuration" not in e["computeResources"] for e in bare.environments)
    requested = bare.job_definition["containerProperties"]["resourceRequirements"]
    assert "GPU" not in {each["type"] for each in requested}


@given(
    jobs=st.integers(1, 10_000), most=st.integers(4, 5000), quota=st.none() | st.integers(4, 5000)
)
def test_the_limit_of_an_environment_is_the_least_of_profile_quota_and_need(
    jobs: int, most: int, quota: int | None
) -> None:
    job = job_shape([G4DN], True)
    vcpus = vcpu_limit(Aws(compute=Compute(max_vcpus=most)), [G4DN], quota, job, jobs)
    assert vcpus == min([most, 4 * jobs] + ([quota] if quota is not None else []))


def test_a_limit_below_the_size_of_one_machine_is_refused() -> None:
    with pytest.raises(UsageError, match="max_vcpus: 3 is less than one machine has"):
        planned(max_vcpus=3)


def test_fewer_than_one_job_is_refused() -> None:
    with pytest.raises(UsageError, match="--job-count 0"):
        planned(job_count=0)


def test_the_same_profile_gives_the_same_plan() -> None:
    assert planned() == planned()
    changed = planned().job_definition["tags"]["Fingerprint"]
    other = plan(Aws(), replace(FOUND, foundation=replace(FOUNDATION, log_group="/x")), 10, False)
    assert other.job_definition["tags"]["Fingerprint"] != changed


def test_machines_require_metadata_service_version_2_and_containers_can_reach_it() -> None:
    template = planned().launch_template
    assert template["MetadataOptions"]["HttpTokens"] == "required"
    assert template["MetadataOptions"]["HttpPutResponseHopLimit"] == 2
    (disk,) = template["BlockDeviceMappings"]
    assert (disk["Ebs"]["VolumeType"], disk["Ebs"]["Encrypted"]) == ("gp3", True)


def test_user_data_is_the_boot_script_in_a_mime_part_that_batch_can_merge() -> None:
    message = email.message_from_bytes(b64decode(planned().launch_template["UserData"]))
    assert message.get_content_type() == "multipart/mixed"
    (part,) = message.get_payload()
    assert isinstance(part, email.message.Message)
    assert part.get_content_type() == "text/x-shellscript"
    assert part.get_payload() == BOOT_SCRIPT.read_text()


LISTINGS = {
    "with instance storage": (
        "/dev/nvme0n1 Amazon Elastic Block Store\n/dev/nvme1n1 Amazon EC2 NVMe Instance Storage\n",
        ["mkfs.xfs -f /dev/nvme1n1", "mount -o noatime /dev/nvme1n1"],
    ),
    "without instance storage": ("/dev/nvme0n1 Amazon Elastic Block Store\n", []),
}


@pytest.mark.parametrize("machine", LISTINGS)
def test_the_boot_script_prepares_the_scratch_folder_of_a_machine(
    machine: str, tmp_path: Path
) -> None:
    listing, expected = LISTINGS[machine]
    (tmp_path / "etc/ecs").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    log, scratch = tmp_path / "log", tmp_path / "scratch"
    commands = {
        "lsblk": f"printf '%s' '{listing}'",
        "mkfs.xfs": f'echo "mkfs.xfs $*" >> {log}',
        "mount": f'echo "mount $1 $2 $3" >> {log}',
    }
    for name, body in commands.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    script = BOOT_SCRIPT.read_text().replace("/etc/ecs", f"{tmp_path}/etc/ecs")
    script = script.replace("/scratch", str(scratch))
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    subprocess.run(["bash", "-c", script], check=True, env={"PATH": path})
    assert (log.read_text().splitlines() if log.exists() else []) == expected
    assert scratch.stat().st_mode & 0o7777 == 0o1777
    assert "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true" in (tmp_path / "etc/ecs/ecs.config").read_text()
