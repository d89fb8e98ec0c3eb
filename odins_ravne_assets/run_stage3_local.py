"""Recompute the visits of this folder's camera with other windows and thresholds.

    python run_stage3_local.py --compression-window 30 --min-confidence 0.6 --min-duration 0

It needs Odins Ravne in the Python that runs it, but no account and no network. The downloaded files
do not change: the new results, with exports and a report that opens in the browser, are in the
folder `rerun`.
"""

import sys
from pathlib import Path


def main() -> int:
    try:
        from odins_ravne_assets.rerun import rerun
    except ModuleNotFoundError as missing:
        print(
            f"error: Odins Ravne is not installed in this Python ({sys.executable} lacks "
            f"{missing.name}). Run this file with the Python that has it, for example "
            "PATH/TO/odins-ravne/.venv/bin/python; its README explains how to install it",
            file=sys.stderr,
        )
        return 1
    return rerun(Path(__file__).resolve().parent, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
