"""Child processes that open untrusted files, so that a crash or a hang costs one file.

The child is a module run as `python -m MODULE FD…`; both sides exchange JSON over a socket. JSON,
not pickle: a crafted file that takes over the child's decoder must not execute code in the parent.
The child's standard input is a pipe that ends with the parent, and the child ends with it.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from resources.errors import RavneError

Message = dict[str, Any]

# Linux: the kernel kills the child when its parent exits or crashes.
PR_SET_PDEATHSIG = 1
STDIN = 0
MAX_REASON_LENGTH = 300
# A child may be taken over by its file.
MAX_MESSAGE_BYTES = 2**20
INVALID_MESSAGE = "sent an invalid message"


class ChildDiedError(RavneError):
    """The child exited before it answered; the text says how."""


class ChildHungError(RavneError):
    """The child did not answer in time."""


class ChildProcess:
    """A child process and the connection to it. Only `send` is thread-safe."""

    def __init__(self, module: str, pass_fds: Sequence[int] = ()) -> None:
        parent_end, child_end = socket.socketpair()
        descriptors = (child_end.fileno(), *pass_fds)
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, descriptors)],
            pass_fds=descriptors,
            stdin=subprocess.PIPE,
        )
        child_end.close()
        self._connection: Connection[Any, Any] = Connection(parent_end.detach())

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: Message) -> None:
        """Send a message to the child.

        Raises:
            ChildDiedError: it has exited.
        """
        try:
            self._connection.send_bytes(json.dumps(message).encode())
        except OSError:
            raise ChildDiedError(self._exit_reason()) from None

    def receive(self, timeout: float) -> Message:
        """Wait for the child's next message.

        Args:
            timeout: in seconds.

        Raises:
            ChildDiedError: it has exited, or sent something else than a message.
            ChildHungError: no message arrived in time.
        """
        try:
            if not self._connection.poll(timeout):
                raise ChildHungError(f"no answer for {timeout:g} s")
            message: Message = json.loads(self._connection.recv_bytes(MAX_MESSAGE_BYTES))
        except (OSError, EOFError):
            raise ChildDiedError(self._exit_reason()) from None
        except (ValueError, RecursionError):
            message = {}
        if not isinstance(message, dict) or not message:
            raise ChildDiedError(INVALID_MESSAGE)
        return message

    def stop(self) -> None:
        """Kill the child; it has nothing to save."""
        self._process.kill()
        self._process.communicate()  # closes its standard input
        self._connection.close()

    def _exit_reason(self) -> str:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "closed its connection"
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"exited with code {code}"


class ParentConnection:
    """The child's end of the connection."""

    def __init__(self, descriptor: int) -> None:
        self._connection: Connection[Any, Any] = Connection(descriptor)

    def send(self, message: Message) -> None:
        self._connection.send_bytes(json.dumps(message).encode())

    def has_message(self) -> bool:
        """Return True if a message can be received at once."""
        return self._connection.poll(0)

    def receive(self) -> Message:
        message: Message = json.loads(self._connection.recv_bytes())
        return message

    def messages(self) -> Iterator[Message]:
        """Yield the parent's messages until it closes the connection or exits."""
        while True:
            try:
                yield self.receive()
            except (EOFError, OSError):
                return


class MemoryLimit:
    """A limit of the memory that this process may allocate beyond what it has at the start.

    An allocation beyond it fails, as MemoryError in Python, so that a file that needs too much
    fails alone. Linux alone enforces the limit (RLIMIT_DATA: private memory, without the shared
    one); elsewhere it has no effect.
    """

    def __init__(self) -> None:
        self._start = _data_bytes()

    def allow(self, extra: int) -> None:
        """Set the limit to this many bytes beyond the memory of the start."""
        if self._start is None:
            return
        import resource  # other systems may lack it

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = self._start + extra
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int | None:
    """Return the bytes that count for RLIMIT_DATA; None on other systems than Linux."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return None


def exit_with_parent() -> None:
    """Ignore Ctrl-C, which the parent handles, and exit when the parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_wait_for_end_of_input, daemon=True).start()
    # Linux also ends a child whose decoder never lets another thread run.
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_for_end_of_input() -> None:
    while os.read(STDIN, 1):
        pass
    os._exit(1)


def failure_reason(error: Exception) -> str:
    """Return the reason why a file failed, in one printable line."""
    if isinstance(error, MemoryError):
        return "needs more memory than is allowed"
    lines = str(error).strip().splitlines()
    text = lines[-1] if lines else type(error).__name__
    if not isinstance(error, (RavneError, OSError)):
        text = f"cannot be read: {text}"
    return one_line(text)


def one_line(text: str) -> str:
    """Return a text of an untrusted process or file without control characters, shortened."""
    return "".join(each if each.isprintable() else "?" for each in text[:MAX_REASON_LENGTH])
