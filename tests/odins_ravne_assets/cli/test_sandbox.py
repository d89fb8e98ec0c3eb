"""`munin sandbox up`, `status` and `down`."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from sandbox_rig import eventually
from typer.testing import CliRunner

from odins_ravne_assets.cli.sandbox import app
from odins_ravne_assets.cli.sandbox import up as up_command
from resources.errors import LaunchError, UsageError
from resources.sandbox.model.config import CREDENTIALS
from resources.settings.loader import load_profile


def run(*words: str) -> Any:
    """The result of a command; exceptions are raised."""
    return CliRunner().invoke(app, words, catch_exceptions=False)


@pytest.fixture
def dagster_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    yield tmp_path
    run("down")


def test_up_starts_an_account_status_shows_it_and_down_stops_it(dagster_home: Path) -> None:
    output = run("up", "--port", "0", "--scale", "100").output
    state = json.loads((dagster_home / "sandbox.json").read_text())
    assert state["endpoint_url"] in output
    assert f"export MUNIN_CLOUD__AWS__ENDPOINT_URL={state['endpoint_url']}" in output
    for name, value in CREDENTIALS.items():
        assert f"{name}={value}" in output
    s3 = boto3.client(
        "s3",
        region_name="eu-north-1",
        endpoint_url=state["endpoint_url"],
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",
    )
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [
        "ravne-data-123456789012"
    ]
    assert run("up", "--port", "0").output == output, "it is running already"
    assert "100 seconds per second" in run("status").output
    facts = json.loads(run("status", "--json").output)
    assert facts["pid"] == state["pid"] and facts["jobs"] == [] and facts["instances"] == []
    assert "stopped" in run("down").output
    eventually(lambda: not _runs(state["pid"]))
    assert "not running" in run("down").output
    with pytest.raises(UsageError, match="munin sandbox up"):
        run("status")


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_port_that_is_in_use_is_a_clear_error(dagster_home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(LaunchError, match=f"did not start on port {port}.*in use"):
            run("up", "--port", port)
    assert not (dagster_home / "sandbox.json").exists()


def test_the_profile_has_the_default_port_of_up() -> None:
    cloud = load_profile("sandbox", environ={}).cloud
    assert cloud is not None
    assert up_command.__defaults__ is not None
    port = up_command.__defaults__[0]
    assert cloud.aws.endpoint_url == f"http://127.0.0.1:{port}"
    assert cloud.aws.clock_url == f"http://127.0.0.1:{port}/_sandbox/clock"
