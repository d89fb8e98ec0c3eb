"""Child processes that open hostile files, so that a crash or a hang costs one file.

The child is a module run as `python -m MODULE FD…`; the two sides speak JSON over a socket. JSON,
not pickle: a child whose decoder was taken over by a crafted file must not be able to make its
parent run anything.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from resources.errors import RavneError

Message = dict[str, Any]

# Linux: the kernel kills the child when its parent dies, however it dies.
PR_SET_PDEATHSIG = 1


class ChildDiedError(RavneError):
    """The child ended before it answered; the text says how."""


class ChildHungError(RavneError):
    """The child did not answer in time."""


class ChildProcess:
    """One child process and the line to it. Not shared between threads, but for `send`."""

    def __init__(self, module: str, pass_fds: Sequence[int] = ()) -> None:
        ours, theirs = socket.socketpair()
        descriptors = (theirs.fileno(), *pass_fds)
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, descriptors)],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        self._line: Connection[Any, Any] = Connection(ours.detach())

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: Message) -> None:
        """Tell the child something.

        Raises:
            ChildDiedError: it is gone.
        """
        try:
            self._line.send_bytes(json.dumps(message).encode())
        except OSError:
            raise ChildDiedError(self._how_it_ended()) from None

    def receive(self, timeout: float) -> Message:
        """The child's next message.

        Args:
            timeout: seconds to wait for it.

        Raises:
            ChildDiedError: it is gone.
            ChildHungError: nothing came in time.
        """
        try:
            if not self._line.poll(timeout):
                raise ChildHungError(f"no answer for {timeout:g} s")
            message: Message = json.loads(self._line.recv_bytes())
        except (OSError, EOFError, ValueError):
            raise ChildDiedError(self._how_it_ended()) from None
        return message

    def stop(self) -> None:
        """End the child at once; it holds nothing that needs saving."""
        self._process.kill()
        self._process.wait()
        self._line.close()

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "closed its line"
        if code < 0:
            return f"died of {signal.Signals(-code).name}"
        return f"ended with exit code {code}"


class ParentConnection:
    """The child's end of the line."""

    def __init__(self, descriptor: int) -> None:
        self._line: Connection[Any, Any] = Connection(descriptor)

    def send(self, message: Message) -> None:
        self._line.send_bytes(json.dumps(message).encode())

    def waiting(self) -> bool:
        """Whether a message can be received at once."""
        return self._line.poll(0)

    def receive(self) -> Message:
        message: Message = json.loads(self._line.recv_bytes())
        return message

    def messages(self) -> Iterator[Message]:
        """What the parent says, until it closes the line or dies."""
        while True:
            try:
                yield self.receive()
            except (EOFError, OSError):
                return


def exit_with_parent() -> None:
    """For a child's start: leave Ctrl-C to the parent, and never outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == 1:  # it died before we asked
            sys.exit(1)
