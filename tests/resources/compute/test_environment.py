"""Compute on AWS Batch: setup, status and teardown in a sandbox account."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import dagster as dg
import pytest
from botocore.config import Config
from compute_rig import (
    Changes,
    KilledError,
    SharedClients,
    aws_settings,
    recorded_environment,
    remaining_parts,
    running_sandbox,
    submit,
    wait_for_state,
    wait_until,
)
from typer.testing import CliRunner

from odins_ravne_assets.cli.compute import app as cost_app
from odins_ravne_assets.cli.job import ProfileChoice
from resources.aws.batch_states import LIVE_STATUSES
from resources.batch.names import Names, markets
from resources.compute.dagster_resource import ComputeEnvironmentResource
from resources.compute.environment import ComputeEnvironment
from resources.compute.parts import ComputeParts
from resources.compute.survey import survey
from resources.errors import RavneError, UsageError
from resources.sandbox.foundation import prepare_foundation
from resources.sandbox.model.config import SandboxConfig
from resources.sandbox.sandbox import Sandbox
from resources.settings.profile import Aws, Compute


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """An account whose clock runs fast."""
    with running_sandbox(SandboxConfig(scale=1000)) as sandbox:
        yield sandbox


@pytest.fixture
def account(sandbox: Sandbox) -> Iterator[Sandbox]:
    """The account with the foundation and no compute."""
    prepare_foundation(SharedClients(aws_settings(sandbox)), "ravne", "eu-north-1")
    yield sandbox
    sandbox.clear_faults()
    recorded_environment(sandbox)[0].teardown(force=True)


def revision_of(clients: SharedClients) -> int:
    """The number of the active job definition; AWS continues the count over teardowns."""
    return ComputeParts(clients, Names("ravne")).job_definitions()[0]["revision"]


def test_a_setup_reports_each_change_and_a_second_one_changes_nothing(account: Sandbox) -> None:
    compute, clients = recorded_environment(account)
    steps = Changes()
    assert compute.setup(10, True, steps) == 7
    assert steps == [
        "launch template ravne-worker: created",
        "environment ravne-spot: created, 0 to 40 vCPUs",
        "environment ravne-ondemand: created, 0 to 40 vCPUs",
        "queue ravne-spot-high: created, priority 100",
        "queue ravne-spot: created, priority 10",
        "queue ravne-ondemand: created, priority 10",
        f"job definition ravne-worker: revision {revision_of(clients)}",
    ]
    clients.changes.clear()
    assert compute.setup(10, True) == 0
    assert clients.changes == []


def test_changes_of_the_profile_are_made_in_place_and_no_others(account: Sandbox) -> None:
    recorded_environment(account)[0].setup(10)
    compute, clients = recorded_environment(
        account, bid_percentage=90, instance_types=["g5.xlarge"]
    )
    steps = Changes()
    compute.setup(10, on_step=steps)
    assert clients.changes == ["UpdateComputeEnvironment"] * 2
    assert steps == [
        "environment ravne-spot: changed bidPercentage, instanceTypes",
        "environment ravne-ondemand: changed instanceTypes",
    ]
    assert compute.setup(10) == 0


def test_a_changed_size_alone_replaces_no_machines(account: Sandbox) -> None:
    compute, clients = recorded_environment(account)
    compute.setup(10)
    sent: list[dict[str, Any]] = []
    events = clients.of("batch").meta.events
    events.register(
        "before-parameter-build.batch.UpdateComputeEnvironment",
        lambda params, **_: sent.append(dict(params)),
    )
    compute.setup(3)
    assert [each["computeResources"] for each in sent] == [{"maxvCpus": 12}] * 2
    assert all("updatePolicy" not in each for each in sent)


def test_changes_by_hand_are_reverted(account: Sandbox) -> None:
    compute, clients = recorded_environment(account)
    compute.setup(10)
    batch = clients.of("batch")
    batch.update_job_queue(jobQueue="ravne-spot", state="DISABLED", priority=3)
    batch.register_job_definition(
        jobDefinitionName="ravne-worker",
        type="container",
        containerProperties={"image": "x", "resourceRequirements": [
            {"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}]},
    )  # fmt: skip
    steps = Changes()
    compute.setup(10, on_step=steps)
    assert steps == [
        "queue ravne-spot: changed priority, state",
        f"job definition ravne-worker: revision {revision_of(clients)}",
    ]
    assert compute.setup(10) == 0


def test_a_market_that_the_profile_no_longer_uses_is_deleted(account: Sandbox) -> None:
    recorded_environment(account)[0].setup(10)
    compute, _ = recorded_environment(account, fallback_to_ondemand=False)
    compute.setup(10)
    found = compute.status()
    assert [each.name for each in found.environments] == ["ravne-spot"]
    assert [each.name for each in found.queues] == ["ravne-spot", "ravne-spot-high"]
    assert compute.setup(10) == 0


def test_a_setup_killed_after_any_call_is_completed_by_the_next(account: Sandbox) -> None:
    compute, clients = recorded_environment(account)
    compute.setup(10)
    for call in range(len(clients.changes)):
        compute.teardown()
        killed, clients_of_killed = recorded_environment(account)
        clients_of_killed.kill_after = call
        with pytest.raises(KilledError):
            killed.setup(10)
        compute.setup(10)
        assert compute.setup(10) == 0


def test_a_teardown_killed_after_any_call_is_completed_by_the_next(account: Sandbox) -> None:
    compute, clients = recorded_environment(account)
    compute.setup(10)
    clients.changes.clear()
    compute.teardown()
    calls = len(clients.changes)
    assert calls >= 12
    for call in range(calls):
        compute.setup(10)
        killed, clients_of_killed = recorded_environment(account)
        clients_of_killed.kill_after = call
        with pytest.raises(KilledError):
            killed.teardown()
        compute.teardown()
        assert remaining_parts(account) == []


def test_a_teardown_keeps_data_roles_and_logs(account: Sandbox) -> None:
    compute, clients = recorded_environment(account)
    clients.of("s3").put_object(Bucket="ravne-data-123456789012", Key="results/a", Body=b"a")
    compute.setup(10)
    compute.teardown()
    assert remaining_parts(account) == []
    assert (
        clients.of("s3")
        .get_object(Bucket="ravne-data-123456789012", Key="results/a")["Body"]
        .read()
        == b"a"
    )
    for role in ("job", "execution", "instance"):
        clients.of("iam").get_role(RoleName=f"ravne-{role}")
    groups = clients.of("logs").describe_log_groups(logGroupNamePrefix="/aws/batch/ravne")
    assert len(groups["logGroups"]) == 1


def test_a_teardown_without_compute_is_no_error(account: Sandbox) -> None:
    compute, clients = recorded_environment(account)
    steps = Changes()
    compute.teardown(on_step=steps)
    assert steps == [] and clients.changes == []


def test_a_teardown_with_live_jobs_is_refused_unless_forced(account: Sandbox) -> None:
    compute, clients = recorded_environment(account)
    compute.setup(10)
    job = submit(account, seconds=60)
    wait_for_state(account, job, "RUNNING")
    clients.changes.clear()
    with pytest.raises(RavneError, match=r"1 job has not ended .*teardown --force"):
        compute.teardown()
    assert clients.changes == []
    compute.teardown(force=True)
    assert remaining_parts(account) == []
    assert not [each for each in account.jobs() if each["status"] in LIVE_STATUSES]


def test_a_job_submitted_during_a_teardown_is_not_lost(account: Sandbox) -> None:
    compute, clients = recorded_environment(account)
    compute.setup(10)
    submitted: list[str] = []

    def submit_one(**_: Any) -> None:
        if not submitted:
            submitted.append(submit(account, seconds=60))

    # Submitted between the first count and the disabling of the queue.
    clients.of("batch").meta.events.register("before-call.batch.UpdateJobQueue", submit_one)
    with pytest.raises(RavneError, match="1 job has not ended"):
        compute.teardown()
    (job,) = clients.of("batch").describe_jobs(jobs=submitted)["jobs"]
    assert job["status"] in LIVE_STATUSES
    compute.setup(10)
    assert {each.state for each in compute.status().queues} == {"ENABLED"}


def test_status_shows_jobs_machines_prices_and_age(account: Sandbox) -> None:
    compute, _ = recorded_environment(account)
    compute.setup(10)
    job = submit(account, seconds=60, queue="ravne-spot-high")
    wait_for_state(account, job, "RUNNING")
    found = compute.status()
    jobs = {queue.name: queue.jobs for queue in found.queues}
    assert jobs["ravne-spot-high"]["RUNNING"] == 1
    assert sum(sum(each.values()) for each in jobs.values()) == 1
    (machine,) = found.instances
    assert (machine.market, machine.instance_type) == ("spot", "g4dn.xlarge")
    assert machine.zone.startswith("eu-north-1")
    assert found.age_seconds is not None and found.age_seconds > 0
    cheapest = found.spot_prices[0]
    assert cheapest.instance_type == "g4dn.xlarge" and 0.1 < cheapest.usd_per_hour < 0.3
    assert json.loads(json.dumps(found.as_json()))["instances"][0]["zone"] == machine.zone
    compute.teardown(force=True)


def test_errors_of_aws_are_retried(account: Sandbox) -> None:
    compute, _ = recorded_environment(account)
    account.inject("server_error", "batch", times=2)
    account.inject("throttle", "ec2", "CreateLaunchTemplate")
    compute.setup(10)
    account.inject("server_error", "batch", "DeleteJobQueue")
    account.inject("reset", "batch", "DeleteComputeEnvironment")
    compute.teardown()
    assert remaining_parts(account) == []


@pytest.mark.parametrize(
    "operation", ["CreateComputeEnvironment", "CreateJobQueue", "CreateLaunchTemplate"]
)
def test_a_call_whose_response_is_lost_creates_nothing_twice(
    operation: str, account: Sandbox
) -> None:
    compute, _ = recorded_environment(account)
    account.inject("lost_answer", "*", operation)
    compute.setup(10)
    assert compute.setup(10) == 0


def test_two_parallel_setups_agree(account: Sandbox) -> None:
    both = [recorded_environment(account)[0] for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        changes = list(pool.map(lambda compute: compute.setup(10), both))
    assert sum(changes) >= 7
    assert both[0].setup(10) == 0


def test_an_invalid_environment_is_reported_with_the_reason_of_aws(account: Sandbox) -> None:
    compute, clients = recorded_environment(account)
    compute.setup(10)
    iam, profile = clients.of("iam"), "ravne-instance"
    role = iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Arn"]
    iam.remove_role_from_instance_profile(InstanceProfileName=profile, RoleName=profile)
    iam.delete_instance_profile(InstanceProfileName=profile)
    clients.of("batch").update_compute_environment(
        computeEnvironment="ravne-spot", computeResources={"instanceRole": role}
    )
    wait_until(account, lambda: compute.status().environments[1].status == "INVALID")
    reason = compute.status().environments[1].reason
    assert "iamInstanceProfile" in reason
    with pytest.raises(RavneError, match="missing: instance profile ravne-instance"):
        compute.setup(10)
    iam.create_instance_profile(InstanceProfileName=profile)
    iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=profile)
    compute.setup(10)
    assert {each.status for each in compute.status().environments} == {"VALID"}


def test_an_environment_whose_role_is_deleted_is_deleted_when_the_role_exists_again(
    account: Sandbox,
) -> None:
    compute, clients = recorded_environment(account)
    compute.setup(1)
    batch, iam = clients.of("batch"), clients.of("iam")
    described = batch.describe_compute_environments(computeEnvironments=["ravne-spot"])
    resources = described["computeEnvironments"][0]["computeResources"]
    compute.teardown()
    role = {"RoleName": "by-hand", "AssumeRolePolicyDocument": "{}"}
    arn = iam.create_role(**role)["Role"]["Arn"]
    del resources["launchTemplate"]
    batch.create_compute_environment(
        computeEnvironmentName="ravne-spot",
        type="MANAGED",
        serviceRole=arn,
        computeResources=resources,
    )
    wait_until(account, lambda: compute.status().environments[0].status == "VALID")
    iam.delete_role(RoleName="by-hand")
    with pytest.raises(RavneError, match=r"ravne-spot cannot be deleted, it is INVALID: .*by-hand"):
        compute.teardown()
    iam.create_role(**role)
    compute.teardown()
    assert remaining_parts(account) == []


@pytest.mark.parametrize(
    ("types", "message"),
    [
        (["g4dn.nano"], "EC2 in eu-north-1 does not know all of them"),
        (["g5g.xlarge"], "g5g.xlarge is not an x86_64 machine"),
        (["p4de.24xlarge"], "eu-north-1 offers none of p4de.24xlarge"),
    ],
)
def test_machine_types_that_cannot_be_used_are_named(
    types: list[str], message: str, account: Sandbox
) -> None:
    with pytest.raises(RavneError, match=re.escape(message)):
        recorded_environment(account, instance_types=types)[0].setup(1)


def test_a_quota_with_an_unknown_code_is_a_remark(account: Sandbox) -> None:
    aws = aws_settings(account, instance_types=["c5.xlarge"])
    found = survey(SharedClients(aws), aws)
    assert found.quotas == {"spot": None, "ondemand": None}
    assert "the quota for c5.xlarge is not checked" in found.remarks[0]
    assert found.missing == ()


def test_a_missing_permission_names_the_call_and_the_policy(account: Sandbox) -> None:
    compute, _ = recorded_environment(account)
    account.inject("denied", "batch", "CreateComputeEnvironment")
    with pytest.raises(RavneError, match=r"may not call CreateComputeEnvironment.*ravne-operator"):
        compute.setup(10)


def test_expired_credentials_are_reported(account: Sandbox) -> None:
    compute, _ = recorded_environment(account)
    account.inject("expired_token", "batch", times=20)
    with pytest.raises(RavneError, match="does not accept your credentials"):
        compute.status()
    account.clear_faults()


def test_missing_credentials_are_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, account: Sandbox
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(RavneError, match="no AWS credentials; run `aws configure`"):
        ComputeEnvironment(aws_settings(account)).status()


class NoRetries(SharedClients):
    """Clients without retries, to keep the test short."""

    def _create(self, service: str, options: Any = None) -> Any:
        return self._session.client(
            service,
            region_name="eu-north-1",
            endpoint_url=self._aws.endpoint_url,
            config=Config(retries={"total_max_attempts": 1}),
        )


def test_an_endpoint_that_does_not_respond_is_reported() -> None:
    aws = Aws(endpoint_url="http://127.0.0.1:9")
    with pytest.raises(RavneError, match="AWS cannot be reached"):
        ComputeEnvironment(aws, NoRetries(aws)).status()


class LoginPage(BaseHTTPRequestHandler):
    """The response of a network with a captive portal."""

    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Welcome")

    def log_message(self, *_: Any) -> None:
        pass


def test_a_response_that_is_not_from_aws_is_reported() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), LoginPage) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        aws = Aws(endpoint_url=f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(RavneError, match="the response is not from AWS"):
            ComputeEnvironment(aws, NoRetries(aws)).setup(1)
        server.shutdown()


# --- the resource and the commands


def test_the_resource_has_every_setting_of_the_profile_and_scales_to_zero() -> None:
    fields = set(ComputeEnvironmentResource.model_fields)
    of_buckets = {"requester_pays"}
    assert fields == (set(Aws.model_fields) - {"compute"} - of_buckets) | set(Compute.model_fields)
    assert ComputeEnvironmentResource().aws() == Aws()
    assert ComputeEnvironmentResource().min_vcpus == 0


def test_the_resource_is_configured_like_a_profile() -> None:
    resource = ComputeEnvironmentResource(name="own", max_vcpus=8, instance_types=["g6.xlarge"])
    assert resource.aws() == Aws(
        name="own", compute=Compute(max_vcpus=8, instance_types=("g6.xlarge",))
    )
    assert markets(resource.aws()) == ("spot", "ondemand")


@dg.op
def prepare(compute: ComputeEnvironmentResource) -> int:
    return compute.open().setup(job_count=2)


@dg.job
def prepare_compute() -> None:
    prepare()


def test_the_resource_sets_compute_up_in_a_run(account: Sandbox) -> None:
    compute = ComputeEnvironmentResource(
        endpoint_url=account.endpoint_url, clock_url=account.clock_url
    )
    with dg.DagsterInstance.ephemeral() as instance:
        done = prepare_compute.execute_in_process(instance=instance, resources={"compute": compute})
    assert done.output_for_node("prepare") == 7
    assert len(remaining_parts(account)) == 7


def cost(sandbox: Sandbox, folder: Path, *arguments: str) -> Any:
    profile = folder / "cloud.yaml"
    profile.write_text(
        json.dumps({"cloud": {"aws": aws_settings(sandbox).model_dump(mode="json")}})
    )
    return CliRunner().invoke(cost_app, arguments, obj=ProfileChoice(str(profile)))


def test_the_commands_set_up_report_and_tear_down(account: Sandbox, tmp_path: Path) -> None:
    made = cost(account, tmp_path, "setup", "--job-count", "2", "--gpu-required")
    assert made.exit_code == 0, made.exception
    assert "queue ravne-spot: created" in made.stderr and "Ready for jobs." in made.stdout
    shown = cost(account, tmp_path, "status")
    assert shown.exit_code == 0, shown.exception
    for word in ("ravne-spot-high", "on-demand", "ready", "No machine is running", "g4dn.xlarge"):
        assert word in shown.stdout
    data = json.loads(cost(account, tmp_path, "status", "--json").stdout)
    assert [each["name"] for each in data["queues"]] == [
        "ravne-ondemand",
        "ravne-spot",
        "ravne-spot-high",
    ]
    assert cost(account, tmp_path, "teardown").exit_code == 0
    assert "ravne has no compute" in cost(account, tmp_path, "status").stdout


def test_a_profile_without_a_cloud_has_no_cost_commands() -> None:
    done = CliRunner().invoke(cost_app, ["status"], obj=ProfileChoice("local"))
    assert isinstance(done.exception, UsageError)
    assert "munin --profile cloud cost status" in str(done.exception)
