"""The processes that stand for a job's container."""

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
    """Sees to it that nothing outlives the sandbox, not even one that is killed itself.

    Args:
        folder: removed at the end.
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

    def watch(self, group: int) -> None:
        """A process group began."""
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """It ended."""
        self._tell(f"-{group}\n")

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with self._writing:
            self._process.stdin.write(line)

    def close(self) -> None:
        """Clear away what is left, and end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class JobProcess:
    """One attempt's process, with a process group and a scratch folder of its own.

    Args:
        command: `python` as its first word means this interpreter.
        environment: all of it; nothing is inherited.
        folder: made for it; what it writes to stdout and stderr lies beside it.

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
        reaper.watch(self.pid)
        self._log = self._log_path.open("rb")
        self._unfinished_line = b""

    def poll(self) -> int | None:
        """Its exit code, 128 + N after signal N, or None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        return 128 - code if code < 0 else code

    def ask_to_end(self) -> None:
        """SIGTERM, to the container's first process only, as Docker does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """SIGKILL for it and all its children: the container or its host is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def new_lines(self, final: bool = False) -> list[str]:
        """What it wrote since the last call, in whole lines unless this is the `final` call."""
        *lines, rest = (self._unfinished_line + self._log.read()).split(b"\n")
        if final and rest:
            lines.append(rest)
            rest = b""
        self._unfinished_line = rest
        return [line.decode("utf-8", "replace") for line in lines]

    def close(self) -> None:
        """Kill what it left behind and clean up."""
        self.kill()
        self._reaper.forget(self.pid)
        self._log.close()
        self._log_path.unlink()
        shutil.rmtree(self._folder, ignore_errors=True)
