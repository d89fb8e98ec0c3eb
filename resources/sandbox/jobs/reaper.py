"""Ends the sandbox's jobs when the sandbox is gone, however it went.

A process of its own, which reads process groups from its parent: `+ID` for one that began, `-ID`
for one that ended. When the line closes, whatever has not ended is killed, and the folder that
its argument names is removed.
"""

import contextlib
import os
import shutil
import signal
import sys


def main() -> None:
    """Read until the parent is gone, then clear away what is left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()
