"""Runs cameras for the command line: a process for each, progress in the terminal, Ctrl-C.

one Ctrl-C    stops each run: media in hand are finished, what is done is kept
two           ends them at once: what is done is kept all the same
"""

import json
import os
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
from odins_ravne_assets.runs.events import EVENTS_VARIABLE
from resources.settings.loader import OVERRIDES_VARIABLE

INTERRUPTED = 130


@dataclass
class CameraRun:
    """One camera's run and what became of it."""

    camera: Camera
    run_id: str | None = None
    status: str = "NOT STARTED"
    error: str | None = None
    foreseen: bool = False  # the error is in words for the user; no log need be read
    exit_code: int | None = None
    log: Path | None = None

    @property
    def succeeded(self) -> bool:
        return self.status == "SUCCESS"


class Watcher(Protocol):
    """Shows what goes on."""

    def progress(self, camera_id: str, progress: Mapping[str, Any]) -> None:
        """How far a camera's stage is: stage, done, total (or None), unit."""

    def decided(self, camera_id: str, text: str) -> None:
        """What a camera's launch has decided."""

    def warned(self, camera_id: str, text: str) -> None:
        """What a camera's workers warn of; each as often as it comes."""

    def cost(self, camera_id: str, told: Mapping[str, str]) -> None:
        """What a camera's launch has cost so far, and what is expected yet: line, short."""

    def ended(self, run: CameraRun) -> None:
        """A camera's run is over."""

    def stopping(self) -> None:
        """Ctrl-C was pressed."""


@dataclass
class _Process:
    run: CameraRun
    popen: subprocess.Popen[bytes]
    events: int  # descriptor
    unread: bytes = b""


@dataclass
class CameraRuns:
    """Runs of one job for several cameras.

    Args:
        job: a job of `jobs.py`.
        profile, overrides: see `load_profile`.
        tags: of each run.
        at_once: how many cameras run at the same time.
    """

    job: str
    profile: str
    overrides: Mapping[str, Any]
    tags: Mapping[str, str]
    at_once: int
    watcher: Watcher
    interrupted: bool = field(default=False, init=False)
    _processes: dict[int, _Process] = field(default_factory=dict, init=False)
    _selector: DefaultSelector = field(default_factory=DefaultSelector, init=False)

    def run(self, cameras: Sequence[Camera]) -> list[CameraRun]:
        """Run all cameras and wait for them; one that fails leaves the others alone."""
        runs = [CameraRun(camera) for camera in cameras]
        waiting = deque(runs)
        with self._on_interrupt():
            while self._processes or (waiting and not self.interrupted):
                while waiting and len(self._processes) < self.at_once and not self.interrupted:
                    self._start(waiting.popleft())
                for key, _ in self._selector.select(timeout=0.5):
                    self._hear(self._processes[key.fd])
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
        handle, name = tempfile.mkstemp(prefix=f"munin-{run.camera.camera_id}-", suffix=".log")
        run.log = Path(name)
        try:
            popen = subprocess.Popen(
                [sys.executable, "-m", "odins_ravne_assets.run_camera", json.dumps(request)],
                env={
                    **os.environ,
                    EVENTS_VARIABLE: str(theirs),
                    "MUNIN_PROFILE": self.profile,  # of the code location
                    OVERRIDES_VARIABLE: json.dumps(dict(self.overrides)),
                },
                pass_fds=[theirs],
                stdin=subprocess.PIPE,  # its end cancels the run, also when we are gone
                stdout=handle,
                stderr=handle,
                start_new_session=True,  # Ctrl-C reaches it through us, once
            )
        finally:
            os.close(handle)
            os.close(theirs)
        self._processes[ours] = _Process(run, popen, ours)
        self._selector.register(ours, EVENT_READ)

    def _hear(self, process: _Process) -> None:
        """Read what a run tells; the end of its pipe is its end."""
        data = os.read(process.events, 65536)
        *lines, process.unread = (process.unread + data).split(b"\n")
        for line in lines:
            event = json.loads(line)
            if "progress" in event:
                self.watcher.progress(process.run.camera.camera_id, event["progress"])
            if "decision" in event:
                self.watcher.decided(process.run.camera.camera_id, event["decision"])
            if "warning" in event:
                self.watcher.warned(process.run.camera.camera_id, event["warning"])
            if "cost" in event:
                self.watcher.cost(process.run.camera.camera_id, event["cost"])
            if "run" in event:
                process.run.run_id = event["run"]["run_id"]
                process.run.status = event["run"]["status"]
                process.run.error = event["run"]["error"]
                process.run.foreseen = event["run"]["foreseen"]
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
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else "broke off"
            run.error = f"the run {how}; run again to go on from there"
        if run.log and (run.foreseen or run.status != "FAILURE"):
            run.log.unlink(missing_ok=True)
        elif run.error:
            run.error += f" (log: {run.log})"
        self.watcher.ended(run)

    @contextmanager
    def _on_interrupt(self) -> Iterator[None]:
        def stop(*_: Any) -> None:
            hard = self.interrupted
            self.interrupted = True
            self.watcher.stopping()
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
