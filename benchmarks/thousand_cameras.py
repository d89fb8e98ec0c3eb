"""A thousand cameras, and a backfill of many of them whose daemon is killed twice.

    python benchmarks/thousand_cameras.py [--cameras 1000] [--backfill 200]

Times what grows with the number of cameras: loading the code location, `munin status`. Then the
daemon of a `munin ui` backfills Stage 3 of some cameras. Each has one small picture; the visits of
one cannot be made, since a table is damaged. Webserver, daemon and code server are killed with all
the runs that they hold (SIGKILL), twice, and started again. At its end, every camera but the
poisoned one must have its `observations`; once, but for runs that the kill met between telling them
and ending, which are tried again.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import dagster as dg
from dagster_ui import DagsterUI, wait_for
from PIL import Image

from odins_ravne_assets.cameras import Camera, CameraCatalog
from odins_ravne_assets.home import prepare_home
from resources.profile_file import find_profile

KILLS_AFTER = (0.2, 0.5)  # of the cameras are done
PATIENCE = 3600.0
MUNIN = Path(sys.executable).parent / "munin"
POISONED = "cam-0003"
START = """mutation ($backfill: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $backfill) {
    ... on LaunchBackfillSuccess {backfillId} ... on PythonError {message}
  }
}"""
STATUS = """query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) {... on PartitionBackfill {status}}
}"""


def timed(*words: str | Path) -> str:
    """Run a command; its seconds, and the processor's, which others' work lengthens less."""
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)
    took, now = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return f"{took:.1f} s, {processor:.1f} s of the processor"


def prepare(root: Path, cameras: int, backfill: int) -> list[str]:
    """Make cameras that are known, some of them with tables; their ids."""
    names = [f"cam-{number:04}" for number in range(cameras)]
    first = root / "cards" / names[0]
    first.mkdir(parents=True)
    Image.new("RGB", (64, 48), "green").save(first / "IMG_1.JPG")
    timed(MUNIN, "batch", first, root / "results" / names[0])
    catalog = CameraCatalog(prepare_home() / "cameras")
    for name in names:
        results = root / "results" / name
        catalog.put(Camera(name, (root / "cards" / name).as_uri(), results.as_uri()))
        if name != names[0] and name in names[:backfill]:
            shutil.copytree(root / "results" / names[0] / "tables", results / "tables")
    (root / "results" / POISONED / "tables" / "classifications.parquet").write_bytes(b"poison")
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("camera", names)
    return names


def done(since: float) -> Counter[str]:
    """How often each camera's observations were materialized."""
    with dg.DagsterInstance.get() as instance:
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey("observations"), after_timestamp=since),
            limit=10_000,
        ).records
    return Counter(record.partition_key or "" for record in records)


def run_backfill(root: Path, profile: Path, names: list[str]) -> None:
    home, since = root / "dagster", time.time()
    kills = [round(len(names) * share) for share in KILLS_AFTER]
    with DagsterUI(home, profile) as ui:
        asked = {"assetSelection": [{"path": ["observations"]}], "partitionNames": names}
        started = ui.ask(START, backfill=asked)["launchPartitionBackfill"]
        backfill = started["backfillId"]
        wait_for("the first cameras", lambda: len(done(since)) >= kills[0], PATIENCE)
        ui.kill()
    print(f"killed after {len(done(since))} cameras", flush=True)
    with DagsterUI(home, profile) as ui:
        wait_for("half of the cameras", lambda: len(done(since)) >= kills[1], PATIENCE)
        ui.kill()
    print(f"killed after {len(done(since))} cameras", flush=True)
    with DagsterUI(home, profile) as ui:

        def status() -> str:
            told: str = ui.ask(STATUS, id=backfill)["partitionBackfillOrError"]["status"]
            return told if told not in ("REQUESTED", "COMPLETING", "FAILING") else ""

        ended = wait_for("the end of the backfill", status, PATIENCE)
        runs = Counter(run["status"] for run in ui.runs())
    times = done(since)
    print(f"{'backfill':<28}{ended} after {time.time() - since:.0f} s; runs: {dict(runs)}")
    print(f"{'cameras done':<28}{len(times)} of {len(names)}")
    print(f"{'not done':<28}{', '.join(sorted(set(names) - set(times)))}")
    print(f"{'done more than once':<28}{sum(count > 1 for count in times.values())}")


def main() -> None:
    parser = argparse.ArgumentParser(description="A thousand cameras.")
    parser.add_argument("--cameras", type=int, default=1000)
    parser.add_argument("--backfill", type=int, default=200, help="0: none")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        root, profile = Path(made), find_profile("local").absolute()
        os.environ |= {"DAGSTER_HOME": str(root / "dagster"), "MUNIN_PROFILE": str(profile)}
        names = prepare(root, given.cameras, given.backfill)
        load = timed(sys.executable, "-c", "import odins_ravne_assets.definitions")
        print(f"{'loading the code location':<28}{load}", flush=True)
        print(f"{'munin status':<28}{timed(MUNIN, 'status')}", flush=True)
        if given.backfill:
            run_backfill(root, profile, names[: given.backfill])


if __name__ == "__main__":
    main()
