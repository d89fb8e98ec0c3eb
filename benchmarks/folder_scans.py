"""Scans of a folder of uploads by the sensor `new_footage`: CPU and stats, with nothing changed.

    python benchmarks/folder_scans.py [--files 20000 200000] [--per-folder 1000]

Makes a tree of empty files, lists it until all is known, and then scans it again. The target: under
0.5 s of CPU at 200,000 files.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from odins_ravne_assets.arrivals.folder_source import FolderUploadSource
from odins_ravne_assets.arrivals.sensor_state import SensorState
from resources.settings.profile import Uploads

TARGET_SECONDS, TARGET_FILES = 0.5, 200_000
REPEATS = 5
FILES_PER_CAMERA = 10_000


def make_tree(root: Path, files: int, per_folder: int) -> int:
    """Make empty files in folders of cameras; return the number of folders."""
    folders = 0
    for start in range(0, files, per_folder):
        camera = f"cam-{start // FILES_PER_CAMERA:04}"
        folder = root / camera / "DCIM" / f"{start // per_folder:05}MEDIA"
        folder.mkdir(parents=True)
        folders += 1
        for number in range(min(per_folder, files - start)):
            (folder / f"IMG_{number:04}.JPG").touch()
    return folders


def measure(root: Path, index: Path) -> tuple[float, float, int]:
    """Return seconds of CPU of the first listing, of a scan without changes, bytes of the cursor.

    Raises:
        SystemExit: a scan without changes requests runs.
    """
    source = FolderUploadSource(Uploads(url=str(root)), lambda _: set(), lambda _: False, index)
    cursor, now, first = "", time.time(), 0.0
    while True:
        state = SensorState.read(cursor)
        began = time.process_time()
        result = source.scan(state, now)
        first = first or time.process_time() - began
        cursor, now = state.text(), now + 900
        if not result.pending and not result.run_requests:
            break
    best = float("inf")
    for _ in range(REPEATS):
        state = SensorState.read(cursor)
        began = time.process_time()
        result = source.scan(state, now)
        cursor, now = state.text(), now + 30
        best = min(best, time.process_time() - began)
        if result.run_requests:
            raise SystemExit("a scan of an unchanged folder requests runs")
    return first, best, len(cursor)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, nargs="+", default=[20_000, TARGET_FILES])
    parser.add_argument("--per-folder", type=int, default=1000)
    given = parser.parse_args()
    failed = False
    head = f"{'files':>9}{'folders':>9}{'first scan':>12}{'unchanged':>11}"
    print(f"{head}{'cursor':>9}{'index':>10}")
    for files in given.files:
        with tempfile.TemporaryDirectory() as made:
            root, index = Path(made) / "cards", Path(made) / "index.sqlite"
            folders = make_tree(root, files, given.per_folder)
            first, best, cursor = measure(root, index)
            size = index.stat().st_size
        row = f"{files:>9,}{folders:>9,}{first:>10.2f} s{best:>9.3f} s"
        print(f"{row}{cursor:>7,} B{size / 1e6:>7.1f} MB")
        failed |= files <= TARGET_FILES and best > TARGET_SECONDS
    if failed:
        raise SystemExit(f"a scan without changes takes over {TARGET_SECONDS} s of CPU")


if __name__ == "__main__":
    main()
