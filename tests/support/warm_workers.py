"""Workers of jobs in the sandbox, forked by a process that has imported what they import.

A worker's imports take more of a test's time than its work on a few small media. A forked worker is
a process like any other: it has its own id, session, environment, folder and log, and signals end
it. A test of what a worker imports, or of how it is started, uses a sandbox without this.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from threading import Event, Lock, Thread
from typing import IO, Any
from unittest.mock import patch

WORKER = ["-m", "odins_ravne_assets.worker"]
START_SECONDS = 60.0
IMPORTS = (
    "av",
    "boto3",
    "botocore.endpoint",
    "cv2",
    "dagster_pipes",
    "jinja2",
    "matplotlib.axes",
    "matplotlib.backends.backend_svg",
    "matplotlib.projections.polar",
    "numpy",
    "PIL.Image",
    "resources.aws.clients",
    "resources.storage.open_store",
    "gpu_kernels.models.manifest",
    "odins_ravne_assets.munin.media.probe_process",
)


class Forker:
    """The process that forks workers."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            # A library's threads would not exist in a fork.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
        theirs.close()
        self._socket = ours
        self._lock = Lock()
        self._started: dict[str, Any] = {}
        self._answered = Event()
        self.codes: dict[int, int] = {}
        self.ended: dict[int, Event] = {}
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with self._socket.makefile(encoding="utf-8") as lines:
            for line in lines:
                message = json.loads(line)
                if "code" in message:
                    self.codes[message["pid"]] = message["code"]
                    self.ended[message["pid"]].set()
                else:
                    self.codes.pop(message["pid"], None)  # of an earlier process of this id
                    self.ended[message["pid"]] = Event()
                    self._started = message
                    self._answered.set()

    def start(self, environment: Mapping[str, str], folder: Path, log: Path) -> int:
        """Fork a worker, and return its process id."""
        request = {"environment": dict(environment), "folder": str(folder), "log": str(log)}
        with self._lock:
            self._answered.clear()
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            if not self._answered.wait(START_SECONDS):
                raise OSError("no worker was forked")
            return int(self._started["pid"])

    def close(self) -> None:
        """End the process; its workers go on."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._process.wait()


class WarmWorker:
    """What the sandbox uses of `subprocess.Popen`, for a forked worker."""

    def __init__(self, forker: Forker, pid: int) -> None:
        self._forker = forker
        self.pid = pid

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal, or None while it runs."""
        return self._forker.codes.get(self.pid)

    def wait(self) -> int:
        """Wait for its end, and return the exit code."""
        self._forker.ended[self.pid].wait()
        return self._forker.codes[self.pid]

    def terminate(self) -> None:
        """Send SIGTERM, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


@contextlib.contextmanager
def warm_workers() -> Iterator[None]:
    """Let the sandbox of this process start its jobs' workers by forking."""
    from resources.sandbox.jobs import processes

    forker = Forker()

    def start(
        command: Sequence[str], *, stdout: IO[bytes] | int | None = None, **options: Any
    ) -> "WarmWorker | subprocess.Popen[Any]":
        if list(command[1:]) != WORKER:
            return subprocess.Popen(command, stdout=stdout, **options)
        assert stdout is not None and not isinstance(stdout, int)
        pid = forker.start(options["env"], options["cwd"], Path(stdout.name))
        return WarmWorker(forker, pid)

    with patch.object(processes, "subprocess", _Subprocess(start)):
        try:
            yield
        finally:
            forker.close()


class _Subprocess:
    """The module `subprocess` with another `Popen`."""

    def __init__(self, popen: Any) -> None:
        self.Popen = popen

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)


def serve(descriptor: int) -> None:
    """Fork a worker for each request, and report its end, until the socket ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _import()
    if sys.platform == "linux":
        threads = list(Path("/proc/self/task").iterdir())
        assert len(threads) == 1, "only one thread goes on in a fork"
    connection = socket.socket(fileno=descriptor)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: _write_byte(wake))
    pending = b""
    while True:
        watched: list[socket.socket | int] = [connection, woken]
        readable, _, _ = select.select(watched, [], [])
        if woken in readable:
            os.read(woken, 1024)
            _report_ended(connection)
        if connection in readable:
            data = connection.recv(1 << 16)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                pid = _fork(json.loads(line), connection)
                connection.sendall(json.dumps({"pid": pid}).encode() + b"\n")


def _write_byte(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):  # enough is in it
        os.write(descriptor, b"x")


def _report_ended(connection: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            code = os.waitstatus_to_exitcode(status)
            connection.sendall(json.dumps({"pid": pid, "code": code}).encode() + b"\n")


def _import() -> None:
    """Import what workers import, also late, except polars and ONNX Runtime: they start threads."""
    for name in IMPORTS:
        import_module(name)


def _fork(request: Mapping[str, Any], connection: socket.socket) -> int:
    """Fork a worker; return its id when it leads a session of its own."""
    ready, is_ready = os.pipe()
    pid = os.fork()
    if pid:
        os.close(is_ready)
        os.read(ready, 1)
        os.close(ready)
        return pid
    code = 1
    try:
        os.setsid()
        os.write(is_ready, b"x")
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        connection.close()
        log = os.open(request["log"], os.O_WRONLY | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(number, target)
        os.closerange(3, 256)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        sys.argv = [WORKER[-1]]
        from odins_ravne_assets.worker.__main__ import main

        code = main()
    finally:
        if sys.exc_info()[0]:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
