"""A pool of processes, one per camera, with progress and Ctrl-C, for the command line.

one Ctrl-C    stops each run after the media in progress; finished work is saved
two           kills the processes; finished work is saved all the same
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import Any, Protocol

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.runs.event_stream import EVENTS_VARIABLE
from resources.settings.loader import OVERRIDES_VARIABLE
from resources.storage.temporary_folder import process_folder

EXIT_INTERRUPTED = 130


@dataclass
class CameraRun:
    """One camera's run and its outcome."""

    camera: Camera
    run_id: str | None = None
    status: str = "NOT STARTED"
    error: str | None = None
    expected: bool = False  # the error explains itself; the log is not needed
    exit_code: int | None = None
    log: Path | None = None

    @property
    def succeeded(self) -> bool:
        return self.status == "SUCCESS"


class RunListener(Protocol):
    """Receives the events of the pool's runs."""

    def on_progress(self, camera_id: str, progress: Mapping[str, Any]) -> None:
        """A camera's stage has progressed: stage, done, total (or None), unit."""

    def on_decision(self, camera_id: str, text: str) -> None:
        """A camera's launcher has made a decision."""

    def on_warning(self, camera_id: str, text: str) -> None:
        """A camera's worker has sent a warning; the same one may come several times."""

    def on_cost(self, camera_id: str, cost: Mapping[str, str]) -> None:
        """A camera's launcher has updated its cost so far and its forecast: line, short."""

    def on_end(self, run: CameraRun) -> None:
        """A camera's run has ended."""

    def on_interrupt(self) -> None:
        """Ctrl-C was pressed."""


@dataclass
class _Process:
    run: CameraRun
    popen: subprocess.Popen[bytes]
    events: int  # descriptor
    unread: bytes = b""


@dataclass
class CameraRunPool:
    """Runs of one job for several cameras.

    Args:
        job: name of a job of `jobs.py`.
        profile, overrides: see `load_profile`.
        tags: tags of each run.
        max_parallel: cameras that run at the same time.
        listener: receives the events.
    """

    job: str
    profile: str
    overrides: Mapping[str, Any]
    tags: Mapping[str, str]
    max_parallel: int
    listener: RunListener
    interrupted: bool = field(default=False, init=False)
    _processes: dict[int, _Process] = field(default_factory=dict, init=False)
    _selector: DefaultSelector = field(default_factory=DefaultSelector, init=False)

    def run(self, cameras: Sequence[Camera]) -> list[CameraRun]:
        """Run all cameras and wait for them; a failure does not affect the others."""
        runs = [CameraRun(camera) for camera in cameras]
        waiting = deque(runs)
        with self._on_interrupt():
            while self._processes or (waiting and not self.interrupted):
                while waiting and len(self._processes) < self.max_parallel and not self.interrupted:
                    self._start(waiting.popleft())
                for key, _ in self._selector.select(timeout=0.5):
                    self._read_events(self._processes[key.fd])
        return runs

    def _start(self, run: CameraRun) -> None:
        request = {
            "camera_id": run.camera.camera_id,
            "job": self.job,
            "profile": self.profile,
            "overrides": dict(self.overrides),
            "tags": dict(self.tags),
        }
        ours, theirs = os.pipe()
        # In a folder that the next command removes if this one is killed.
        handle, name = tempfile.mkstemp(
            prefix=f"{run.camera.camera_id}-", suffix=".log", dir=process_folder("runs")
        )
        run.log = Path(name)
        try:
            popen = subprocess.Popen(
                [sys.executable, "-m", "odins_ravne_assets.run_camera", json.dumps(request)],
                env={
                    **os.environ,
                    EVENTS_VARIABLE: str(theirs),
                    "MUNIN_PROFILE": self.profile,  # for the code location
                    OVERRIDES_VARIABLE: json.dumps(dict(self.overrides)),
                },
                pass_fds=[theirs],
                stdin=subprocess.PIPE,  # its end cancels the run, also when this process dies
                stdout=handle,
                stderr=handle,
                start_new_session=True,  # Ctrl-C must reach it once, through this process
            )
        finally:
            os.close(handle)
            os.close(theirs)
        self._processes[ours] = _Process(run, popen, ours)
        self._selector.register(ours, EVENT_READ)

    def _read_events(self, process: _Process) -> None:
        """Read a run's events; the end of its pipe is its end."""
        data = os.read(process.events, 65536)
        *lines, process.unread = (process.unread + data).split(b"\n")
        for line in lines:
            event = json.loads(line)
            if "progress" in event:
                self.listener.on_progress(process.run.camera.camera_id, event["progress"])
            if "decision" in event:
                self.listener.on_decision(process.run.camera.camera_id, event["decision"])
            if "warning" in event:
                self.listener.on_warning(process.run.camera.camera_id, event["warning"])
            if "cost" in event:
                self.listener.on_cost(process.run.camera.camera_id, event["cost"])
            if "run" in event:
                process.run.run_id = event["run"]["run_id"]
                process.run.status = event["run"]["status"]
                process.run.error = event["run"]["error"]
                process.run.expected = event["run"]["expected"]
        if not data:
            self._end(process)

    def _end(self, process: _Process) -> None:
        self._selector.unregister(process.events)
        os.close(process.events)
        del self._processes[process.events]
        run, code = process.run, process.popen.wait()
        run.exit_code = code
        if run.status == "NOT STARTED" and self.interrupted:
            run.status = "CANCELED"
        elif run.status == "NOT STARTED":
            run.status = "FAILURE"
            how = (
                f"was killed by {signal.Signals(-code).name}"
                if code < 0
                else f"exited with code {code}"
            )
            run.error = f"the run {how}; run again to continue"
        if run.log and (run.expected or run.status != "FAILURE"):
            run.log.unlink(missing_ok=True)
        elif run.error and run.log:
            run.log = _kept(run.log)
            run.error += f" (log: {run.log})"
        self.listener.on_end(run)

    @contextmanager
    def _on_interrupt(self) -> Iterator[None]:
        def stop(*_: Any) -> None:
            hard = self.interrupted
            self.interrupted = True
            self.listener.on_interrupt()
            for process in self._processes.values():
                if hard:
                    process.popen.kill()
                elif process.popen.stdin:
                    process.popen.stdin.close()

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _kept(log: Path) -> Path:
    """Move the log of a failed run to TMPDIR, where it stays."""
    kept = Path(tempfile.gettempdir(), f"munin-{log.name}")
    shutil.move(log, kept)
    return kept
