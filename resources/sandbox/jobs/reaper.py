"""A process that kills the sandbox's jobs when the sandbox ends, even if it was killed.

It reads process groups from its parent: `+ID` for one that begins, `-ID` for one that has ended.
When the pipe closes, it kills the remaining groups and deletes the folder that its argument names.
"""

import contextlib
import os
import shutil
import signal
import sys


def main() -> None:
    """Read until the parent ends, then kill the remaining groups and delete the folder."""
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
