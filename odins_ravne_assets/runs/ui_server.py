"""Start Dagster's UI on this machine's instance: webserver and daemon, or a webserver alone."""

import json
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from resources.errors import UsageError
from resources.storage.file_lock import SystemFileLock

# The process that serves an instance, in the instance's folder.
UI_FILE, UI_LOCK = "ui.json", ".ui-lock"
HOST = "127.0.0.1"
CODE = ["-m", "odins_ravne_assets.definitions"]
# Dagster recommends `dg dev`, a development tool that is not a dependency.
QUIET = ["-W", "ignore:Function `dev_command` is superseded"]
# Dagster's webserver takes each of its options from a variable of the environment, too.
PATH_PREFIX_VARIABLE = "DAGSTER_WEBSERVER_PATH_PREFIX"
PATH_PREFIX = re.compile(r"(/[A-Za-z0-9_.~-]+)+")


def ui_command(port: int, read_only: bool, path_prefix: str) -> tuple[list[str], dict[str, str]]:
    """Return the command of a UI, and the variables that it needs in its environment.

    Args:
        read_only: only a webserver, which refuses every change; no daemon.
        path_prefix: of all addresses, for a reverse proxy: "/dagster", or empty.

    Raises:
        UsageError: the prefix is not a path.
    """
    if path_prefix and not PATH_PREFIX.fullmatch(path_prefix):
        raise UsageError(
            f"--path-prefix {path_prefix}: must be a path such as /dagster, without a slash at its "
            "end"
        )
    address = ["-h", HOST, "-p", str(port)]
    variables = {PATH_PREFIX_VARIABLE: path_prefix} if path_prefix else {}
    if read_only:
        server = [sys.executable, "-m", "dagster_webserver", *CODE, *address, "--read-only"]
        return server, variables
    return [sys.executable, *QUIET, "-m", "dagster", "dev", *CODE, *address], variables


def serve_ui(
    home: Path,
    port: int,
    command: Sequence[str],
    variables: Mapping[str, str],
    shared: bool,
    on_start: Callable[[], None] = lambda: None,
) -> None:
    """Replace this process by the UI.

    Args:
        home: the instance's folder.
        shared: others may serve the instance at the same time: this one has no daemon.
        on_start: called before.

    Raises:
        UsageError: another UI serves the instance, or the port is in use.
    """
    with SystemFileLock(home / UI_LOCK):
        running = running_ui(home)
        if running and not shared:
            raise UsageError(
                f"another munin ui serves {home}: http://{HOST}:{running['port']} (process "
                f"{running['process']}); end it first, or look only: munin ui --read-only --port "
                f"{port + 1}"
            )
        _refuse_used_port(port)
        if not shared:
            this = {"process": os.getpid(), "started": _start_time(os.getpid()), "port": port}
            (home / UI_FILE).write_text(json.dumps(this), encoding="utf-8")
    on_start()
    os.environ.update(variables)
    # Shells start background jobs with SIGINT ignored, and Dagster treats SIGTERM like SIGINT:
    # neither the UI nor its runs could be stopped.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(command[0], list(command))


def running_ui(home: Path) -> dict[str, Any] | None:
    """Return process, start time and port of the UI that serves an instance; None: there is none.

    A record of a process that has ended counts as none: process ids are reused.
    """
    try:
        record = json.loads((home / UI_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or not {"process", "started", "port"} <= record.keys():
        return None
    started = _start_time(record["process"])
    return record if started is not None and started == record["started"] else None


def _start_time(process: Any) -> float | None:
    try:
        return float(psutil.Process(process).create_time())
    except (psutil.Error, OverflowError, TypeError, ValueError):
        return None


def _refuse_used_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"--port {port}: cannot be used ({reason}); choose another") from None
