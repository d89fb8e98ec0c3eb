"""The processes that replace the containers of jobs."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock

from resources.sandbox.jobs import reaper

KILLED = 128 + signal.SIGKILL


class Reaper:
    """The process that ends all job processes with the sandbox, even if the sandbox is killed.

    Args:
        folder: deleted at the end.
    """

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", reaper.__file__, str(folder)],
            stdin=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
        )
        self._writing = Lock()

    def add(self, group: int) -> None:
        """Register a process group."""
        self._send(f"+{group}\n")

    def remove(self, group: int) -> None:
        """Unregister a process group that has ended."""
        self._send(f"-{group}\n")

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        with self._writing:
            self._process.stdin.write(line)

    def close(self) -> None:
        """Kill the remaining groups, delete the folder, and end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class JobProcess:
    """The process of an attempt, with its own process group and scratch folder.

    Args:
        command: `python` as its first word means this interpreter.
        environment: all variables; none is inherited.
        folder: the scratch folder; the log of stdout and stderr is a file next to it.

    Raises:
        OSError: the command cannot be started.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, reaper: Reaper
    ) -> None:
        self._folder = folder
        self._reaper = reaper
        self._log_path = folder.with_suffix(".log")
        program = sys.executable if command[0] == "python" else command[0]
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [program, *command[1:]],
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid
        reaper.add(self.pid)
        self._log = self._log_path.open("rb")
        self._unfinished_line = b""

    def poll(self) -> int | None:
        """Return the exit code, 128 + N after signal N, or None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        return 128 - code if code < 0 else code

    def terminate(self) -> None:
        """Send SIGTERM to the container's first process only, as Docker does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL to the process and its children, as the end of a container or host does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def new_lines(self, final: bool = False) -> list[str]:
        """Return the lines since the last call; the `final` call includes a partial line."""
        *lines, rest = (self._unfinished_line + self._log.read()).split(b"\n")
        if final and rest:
            lines.append(rest)
            rest = b""
        self._unfinished_line = rest
        return [line.decode("utf-8", "replace") for line in lines]

    def close(self) -> None:
        """Kill remaining children, and delete log and scratch folder."""
        self.kill()
        self._reaper.remove(self.pid)
        self._log.close()
        self._log_path.unlink()
        shutil.rmtree(self._folder, ignore_errors=True)
