"""The `munin` command in the process of the test, for tests that are not about processes.

A start of the command, its run and its two workers is four starts of Python and imports of Dagster,
polars and ONNX Runtime: some three seconds of CPU, several times what the work on a test's media
takes. `MuninInProcess` runs the same code, from the command's words to its exit code, and the
decoders of media stay child processes. Signals, crashes, locks, the environment of workers and
output of other processes are the subject of tests that use `Munin`.
"""

import atexit
import fcntl
import importlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import dagster as dg
from command_line import TIMEOUT, CompletedCommand, Munin
from dagster_pipes import PipesContext

from odins_ravne_assets import definitions, run_camera
from odins_ravne_assets.cli import main as cli
from odins_ravne_assets.cli import terminal
from odins_ravne_assets.instance_home import prepare_home
from odins_ravne_assets.runs import process_pool
from odins_ravne_assets.runs.event_stream import EVENTS_VARIABLE, emit_event
from odins_ravne_assets.worker.pipes_worker import run_worker
from resources.launch import local_launcher

# Bytes. A run's events wait in the pipe until the run has ended.
EVENT_PIPE_BYTES = 2**20
WIDTH = 200  # of the terminal, as in `Munin`


class MuninInProcess(Munin):
    """Runs the command and its runs in this process; `start` still starts a process."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not any(self.home.iterdir()):
            shutil.copytree(initialized_home(), self.home, dirs_exist_ok=True)

    def __call__(self, *words: str | Path, timeout: float = TIMEOUT) -> CompletedCommand:
        """Run the command; fail on a traceback in its output."""
        assert self.before_start is None
        out, err = io.StringIO(), io.StringIO()
        code = 0
        with ExitStack() as stack:
            stack.enter_context(environment(self.variables()))
            stack.enter_context(chdir(self.folder))
            stack.enter_context(same_signals())
            stack.enter_context(
                patch.object(sys, "argv", ["munin", "--profile", self.profile, *map(str, words)])
            )
            # Its package would be in the usage line.
            stack.enter_context(patch.object(sys.modules["__main__"], "__package__", None))
            for console in (terminal.out, terminal.err):
                stack.enter_context(patch.object(console, "_width", WIDTH))
            stack.enter_context(
                patch(
                    f"{process_pool.__name__}.subprocess",
                    SimpleNamespace(Popen=FinishedRun, PIPE=subprocess.PIPE),
                )
            )
            stack.enter_context(patch.object(local_launcher, "_run_to_end", run_worker_here))
            stack.enter_context(redirect_stdout(out))
            stack.enter_context(redirect_stderr(err))
            try:
                cli.main()
            except SystemExit as end:
                code = int(end.code or 0)
        assert "Traceback" not in out.getvalue() + err.getvalue(), out.getvalue() + err.getvalue()
        return CompletedCommand(code, out.getvalue(), err.getvalue())


class FinishedRun:
    """Stands for the process of a camera's run: the run, finished when this object is made."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], stdout: int, **_: Any
    ) -> None:
        module, request = command[-2:]
        assert module == run_camera.__name__
        if sys.platform == "linux":
            fcntl.fcntl(int(env[EVENTS_VARIABLE]), fcntl.F_SETPIPE_SZ, EVENT_PIPE_BYTES)
        self.stdin = None
        with (
            environment(env),
            os.fdopen(os.dup(stdout), "w", encoding="utf-8") as log,
            redirect_stdout(log),
            redirect_stderr(log),
        ):
            self._code = execute(request)

    def wait(self) -> int:
        """Return the exit code of `run_camera`."""
        return self._code


def execute(request: str) -> int:
    """Execute what `run_camera` does, without its watch for a cancellation."""
    importlib.reload(definitions)  # it reads the environment
    with dg.DagsterInstance.get() as instance:
        outcome = run_camera._run(instance, json.loads(request))
        emit_event({"run": outcome})
    return 0 if outcome["status"] == dg.DagsterRunStatus.SUCCESS.value else 1


def run_worker_here(module: str, variables: Mapping[str, str]) -> int:
    """Do what `local_launcher._run_to_end` does, without a process for the worker."""
    assert module == "odins_ravne_assets.worker"
    ours, theirs = os.pipe()
    with environment({**os.environ, **variables}), same_signals(), os.fdopen(ours) as stdin:
        try:
            with patch.object(sys, "stdin", stdin), patch.object(PipesContext, "_instance", None):
                return run_worker()
        finally:
            os.close(theirs)


@cache
def initialized_home() -> Path:
    """Return a new instance; its databases take longer to make than to copy."""
    folder = Path(tempfile.mkdtemp(prefix="initialized-home-"))
    atexit.register(shutil.rmtree, folder)
    with environment({**os.environ, "DAGSTER_HOME": str(folder)}):
        return prepare_home()


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Replace the variables of this process."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    tempfile.tempdir = None
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        tempfile.tempdir = None


@contextmanager
def same_signals() -> Iterator[None]:
    """Restore the handlers of the signals that stop a process."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
