"""Jobs of a sandbox that do nothing until they are told to end: for hours that pass in a second."""

import errno
import os
import time
from pathlib import Path
from typing import Any

GATE_TIMEOUT_SECONDS = 20.0  # real seconds


class JobGates:
    """Each job reads from a pipe of its own, and ends when somebody writes to it.

    Args:
        folder: of the pipes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def command(self, name: str) -> list[str]:
        """Of the job of a name."""
        gate = self._folder / name
        if not gate.exists():
            os.mkfifo(gate)
        return ["sh", "-c", f"read line < {gate}"]

    def end(self, job: dict[str, Any]) -> None:
        """Let a running job end, and wait until it has; it may only just have been started.

        Args:
            job: as `Sandbox.jobs` tells it.

        Raises:
            TimeoutError: it does not read.
        """
        gate = self._folder / job["jobName"]
        given_up_at = time.monotonic() + GATE_TIMEOUT_SECONDS
        while time.monotonic() < given_up_at:
            try:
                handle = os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:  # nobody reads yet
                    raise
                time.sleep(0.002)
                continue
            os.write(handle, b"\n")
            os.close(handle)
            os.waitid(os.P_PID, job["pid"], os.WEXITED | os.WNOWAIT)
            return
        raise TimeoutError(f"{gate}: its job does not read")
