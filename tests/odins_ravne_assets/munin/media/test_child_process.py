"""Child processes end with their parent, on Linux and on systems without prctl."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from paths import ROOT

TIMEOUT_SECONDS = 30

# A child that is busy, and listens to no message.
CHILD = """
import ctypes, os, sys, time
from odins_ravne_assets.munin.media.child_process import ParentConnection, exit_with_parent
if {hide_prctl}:
    ctypes.CDLL = lambda *args, **more: object()
exit_with_parent()
ParentConnection(int(sys.argv[1])).send({{"pid": os.getpid()}})
time.sleep(600)
"""
PARENT = """
import time
from odins_ravne_assets.munin.media.child_process import ChildProcess
child = ChildProcess("busy_child")
print(child.receive(60)["pid"], flush=True)
time.sleep(600)
"""


def has_exited(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("hide_prctl", [False, True])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_with_its_parent(
    end: signal.Signals, hide_prctl: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "busy_child.py").write_text(CHILD.format(hide_prctl=hide_prctl))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert not has_exited(child)
        parent.send_signal(end)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not has_exited(child):
        assert time.monotonic() < deadline, "the child has outlived its parent"
        time.sleep(0.05)
