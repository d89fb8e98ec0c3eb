"""The sandbox: server, control API, fault injection, end of the process."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import moto
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError
from moto.backends import get_backend
from moto.cloudformation import parsing
from moto.iam.models import Role
from paths import ROOT
from sandbox_rig import (
    ONCE,
    REGION,
    SLEEP,
    Account,
    account,
    check_shape,
    eventually,
    fresh,
)

from resources.clock import clock_at
from resources.sandbox.model.config import ACCOUNT, CREDENTIALS, SandboxConfig
from resources.sandbox.model.moto_services import INTERNALS, MOTO_VERSION
from resources.sandbox.sandbox import Sandbox
from resources.sandbox.wire.faults import FaultKind

__all__ = ["account", "fresh"]  # pytest finds fixtures by their names

# Clock, server, moto


def test_the_clock_has_the_speed_that_its_url_reports(account: Account) -> None:
    clock = clock_at(account.sandbox.clock_url)
    assert clock.scale == 200
    before = account.sandbox.clock.now()
    now = clock.now()
    assert before <= now <= account.sandbox.clock.now()


def test_the_server_listens_on_the_loopback_address_only(account: Account) -> None:
    port = int(account.sandbox.endpoint_url.rpartition(":")[2])
    listening = [
        connection.laddr
        for connection in psutil.Process().net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert port in {address.port for address in listening}
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_a_taken_port_is_an_error(account: Account) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        Sandbox(SandboxConfig(port=taken.getsockname()[1]))


def test_the_installed_moto_has_the_internals_that_are_used(account: Account) -> None:
    assert moto.__version__ == MOTO_VERSION
    for service, names in INTERNALS.items():
        region = "aws" if service in ("iam", "s3", "sts") else REGION
        backend = get_backend(service)[ACCOUNT][region]
        missing = [name for name in names if not hasattr(backend, name)]
        assert not missing, f"moto's {service} lacks {missing}"
    assert parsing.DEFAULT_REGION
    assert callable(Role.create_from_cloudformation_json)


def test_only_two_files_import_moto() -> None:
    root = ROOT
    importers = {
        path
        for folder in ("odins_ravne_assets", "resources", "gpu_kernels")
        for path in (root / folder).rglob("*.py")
        if re.search(r"^\s*(from|import) moto\b", path.read_text(), re.MULTILINE)
    }
    sandbox = root / "resources" / "sandbox"
    assert importers == {
        sandbox / "model" / "moto_services.py",
        sandbox / "model" / "moto_cloudformation.py",
    }


def test_a_response_with_a_member_that_aws_does_not_have_is_found() -> None:
    model = botocore.session.Session().get_service_model("batch")
    shape = model.operation_model("SubmitJob").output_shape
    check_shape({"jobId": "a", "jobName": "b"}, shape)
    with pytest.raises(AssertionError, match="jobColour"):
        check_shape({"jobColour": "red"}, shape)


# Faults


def plain_client(account: Account, service: str) -> Any:
    """A client without retries."""
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=account.sandbox.endpoint_url,
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.mark.parametrize(
    ("kind", "service", "code", "status"),
    [
        ("throttle", "batch", "TooManyRequestsException", 429),
        ("throttle", "s3", "SlowDown", 503),
        ("throttle", "ec2", "RequestLimitExceeded", 503),
        ("throttle", "logs", "ThrottlingException", 400),
        ("server_error", "batch", "ServerException", 500),
        ("server_error", "s3", "InternalError", 500),
        ("denied", "s3", "AccessDenied", 403),
        ("expired_token", "s3", "ExpiredToken", 400),
        ("expired_token", "batch", "ExpiredTokenException", 403),
    ],
)
def test_an_injected_fault_is_an_error_of_the_service(
    fresh: Account, kind: FaultKind, service: str, code: str, status: int
) -> None:
    calls = {
        "batch": "describe_job_queues",
        "s3": "list_buckets",
        "ec2": "describe_subnets",
        "logs": "describe_log_groups",
    }
    call = getattr(plain_client(fresh, service), calls[service])
    fresh.sandbox.inject(kind, service)
    with pytest.raises(ClientError) as failed:
        call()
    assert failed.value.response["Error"]["Code"] == code
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    call()


def test_the_projects_clients_retry_throttled_requests(fresh: Account) -> None:
    fresh.sandbox.inject("throttle", "s3", "ListBuckets", times=2)
    assert fresh.clients.of("s3").list_buckets()["Buckets"]


def test_a_fault_can_be_limited_to_an_operation_and_a_key(fresh: Account) -> None:
    s3 = plain_client(fresh, "s3")
    fresh.sandbox.inject("server_error", "s3", "GetObject", key_contains="footage/b")
    for key in ("footage/a", "footage/b"):
        s3.put_object(Bucket="ravne-data-123456789012", Key=key, Body=b"x")
    assert s3.get_object(Bucket="ravne-data-123456789012", Key="footage/a")["Body"].read() == b"x"
    with pytest.raises(ClientError, match="InternalError"):
        s3.get_object(Bucket="ravne-data-123456789012", Key="footage/b")


def test_a_response_can_be_lost_after_the_request_is_carried_out(fresh: Account) -> None:
    fresh.sandbox.inject("lost_answer", "batch", "SubmitJob")
    with pytest.raises(ClientError, match="ServerException"):
        plain_client(fresh, "batch").submit_job(
            jobName="lost",
            jobQueue="ravne-ondemand",
            jobDefinition="ravne-worker",
            containerOverrides={"command": ["true"]},
        )
    found = fresh.batch.list_jobs(
        jobQueue="ravne-ondemand", filters=[{"name": "JOB_NAME", "values": ["lost"]}]
    )
    assert len(found["jobSummaryList"]) == 1


def test_a_connection_can_break(fresh: Account) -> None:
    fresh.sandbox.inject("reset", "s3")
    with pytest.raises((ConnectionError, HTTPClientError)):
        plain_client(fresh, "s3").list_buckets()


def test_a_body_can_be_truncated(fresh: Account) -> None:
    s3 = plain_client(fresh, "s3")
    s3.put_object(Bucket="ravne-data-123456789012", Key="long", Body=bytes(100_000))
    fresh.sandbox.inject("truncate", "s3", "GetObject")
    body = s3.get_object(Bucket="ravne-data-123456789012", Key="long")["Body"]
    with pytest.raises(HTTPClientError):
        body.read()


# Control and process


def control(url: str, path: str, arguments: dict[str, Any] | None = None) -> Any:
    data = None if arguments is None else json.dumps(arguments).encode()
    with urllib.request.urlopen(url + path, data, timeout=10) as answer:
        return json.load(answer)


def test_every_method_can_be_called_over_http(fresh: Account) -> None:
    url = fresh.sandbox.control_url
    job_id = fresh.submit(SLEEP, queue="ravne-spot", retryStrategy=ONCE)
    fresh.wait(job_id, "RUNNING")
    assert control(url, "/clock")["scale"] == 200
    [job] = [job for job in control(url, "/jobs") if job["jobId"] == job_id]
    assert psutil.pid_exists(job["pid"])
    interrupted = control(url, "/interrupt", {"job_id": job_id, "notice": False})["result"]
    fresh.wait(job_id)
    eventually(lambda: not psutil.pid_exists(job["pid"]))
    assert [line for line in control(url, "/bill") if line["instance_id"] == interrupted]
    assert [i for i in control(url, "/instances") if i["instance_id"] == interrupted]
    events = control(url, "/events")
    assert control(url, f"/events?since={len(events) - 1}")[0] == events[-1]
    control(url, "/capacity", {"lifecycle": "spot", "machines": 0})
    control(url, "/surge", {"kind": "g4dn.xlarge", "factor": 1.5})
    control(url, "/rate", {"per_hour": 0.1})
    control(url, "/lag", {"seconds": 0})
    control(url, "/faults", {"kind": "throttle", "service": "s3"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        control(url, "/surge", {"kind": "p9.huge", "factor": 1.5})
    assert "p9.huge" in json.load(refused.value)["error"]


def test_jobs_and_their_children_end_with_a_sandbox_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    process = subprocess.Popen(
        [sys.executable, "-m", "resources.sandbox", "--scale=1000"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process.stdout as ready:
        facts = json.loads(ready.readline())
    try:
        account = Account(facts["endpoint_url"])
        children = tmp_path / "children"
        job_id = account.submit(["sh", "-c", f"sleep 60 & echo $! $$ > {children}; wait"])
        account.wait(job_id, "RUNNING")
        assert list(folder.iterdir())
        pids = eventually(lambda: children.exists() and children.read_text().split())
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    for pid in pids:
        eventually(lambda pid=pid: not psutil.pid_exists(int(pid)))
    eventually(lambda: not list(folder.iterdir()))
