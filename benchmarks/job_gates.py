"""Sandbox jobs that wait until they are told to end, so that simulated hours pass in a second."""

import errno
import os
import time
from pathlib import Path
from typing import Any

GATE_TIMEOUT_SECONDS = 20.0  # real time


class JobGates:
    """Named pipes, one per job; each job reads its pipe and ends after the first line.

    Args:
        folder: for the pipes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def command(self, name: str) -> list[str]:
        """Return the command of the job with this name."""
        gate = self._folder / name
        if not gate.exists():
            os.mkfifo(gate)
        return ["sh", "-c", f"read line < {gate}"]

    def end(self, job: dict[str, Any]) -> None:
        """End a running job, and wait for its exit. The job may have started just now.

        Args:
            job: as returned by `Sandbox.jobs`.

        Raises:
            TimeoutError: the job does not read its pipe.
        """
        gate = self._folder / job["jobName"]
        deadline = time.monotonic() + GATE_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            try:
                handle = os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:  # no reader yet
                    raise
                time.sleep(0.002)
                continue
            os.write(handle, b"\n")
            os.close(handle)
            os.waitid(os.P_PID, job["pid"], os.WEXITED | os.WNOWAIT)
            return
        raise TimeoutError(f"{gate}: its job does not read the pipe")
