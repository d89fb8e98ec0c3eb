"""The UI on an instance: one with a daemon at a time, and others that only show."""

import json
import os
import socket
import sys
from pathlib import Path

import psutil
import pytest

from odins_ravne_assets.runs.ui_server import running_ui, serve_ui, ui_command
from resources.errors import UsageError


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def record(home: Path, process: int, started: float) -> None:
    text = json.dumps({"process": process, "started": started, "port": 3000})
    (home / "ui.json").write_text(text)


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would replace this process."""
    commands: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, command: commands.append(command))
    return commands


def test_a_second_ui_on_one_home_names_the_first_and_ends(
    tmp_path: Path, free_port: int, executed: list[list[str]]
) -> None:
    record(tmp_path, os.getpid(), psutil.Process().create_time())
    with pytest.raises(UsageError, match=r"another munin ui serves .*: http://127\.0\.0\.1:3000"):
        serve_ui(tmp_path, free_port, ["ui"], {}, shared=False)
    assert executed == []


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"process": -1}', '{"process": "x"}'])
def test_a_record_that_is_damaged_counts_as_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "ui.json").write_text(content)
    assert running_ui(tmp_path) is None


def test_a_record_of_a_process_that_ended_counts_as_none(
    tmp_path: Path, free_port: int, executed: list[list[str]]
) -> None:
    record(tmp_path, os.getpid(), 1.0)  # the id is in use again
    serve_ui(tmp_path, free_port, ["ui"], {}, shared=False)
    assert executed == [["ui"]]
    running = running_ui(tmp_path)
    assert running is not None
    assert (running["process"], running["port"]) == (os.getpid(), free_port)


def test_one_that_only_shows_runs_beside_another(
    tmp_path: Path, free_port: int, executed: list[list[str]]
) -> None:
    record(tmp_path, os.getpid(), psutil.Process().create_time())
    serve_ui(tmp_path, free_port, ["show"], {}, shared=True)
    assert executed == [["show"]]


def test_a_port_in_use_is_refused(tmp_path: Path, executed: list[list[str]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UsageError, match=rf"--port {port}: cannot be used \(.*\); choose"):
            serve_ui(tmp_path, port, ["ui"], {}, shared=False)
    with pytest.raises(UsageError, match="--port 99999: cannot be used"):
        serve_ui(tmp_path, 99_999, ["ui"], {}, shared=False)
    assert executed == []


def test_the_command_has_a_daemon_unless_it_only_shows() -> None:
    with_daemon, _ = ui_command(3000, read_only=False, path_prefix="")
    assert with_daemon[0] == sys.executable and "dev" in with_daemon
    only_shows, variables = ui_command(3000, read_only=True, path_prefix="/dagster/north")
    assert "dagster_webserver" in only_shows and "--read-only" in only_shows
    assert variables == {"DAGSTER_WEBSERVER_PATH_PREFIX": "/dagster/north"}


@pytest.mark.parametrize("prefix", ["dagster", "/", "/a/", "/a b", "//a", "http://x/a"])
def test_a_prefix_that_is_not_a_path_is_refused(prefix: str) -> None:
    with pytest.raises(UsageError, match=r"--path-prefix .*: must be a path such as /dagster"):
        ui_command(3000, read_only=False, path_prefix=prefix)
