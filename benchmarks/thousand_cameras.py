"""A thousand cameras, and a backfill of many of them whose daemon is killed twice.

    python benchmarks/thousand_cameras.py [--cameras 1000] [--backfill 200] [here | sandbox]

Times what grows with the number of cameras: loading the code location, `munin status`. Then the
daemon of a `munin ui` backfills some cameras, each of one small picture: Stage 3 on this machine,
or Stages 1 to 3 in the sandbox, a launch on AWS Batch for each camera. One camera is poisoned: a
table is damaged. Webserver, daemon and code server are killed with all the runs that they hold
(SIGKILL), twice, and started again. At its end, every camera but the poisoned one must be done,
once.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from cameras_on_batch import account
from PIL import Image

from resources.storage.layout import MEDIA_TABLE

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))
from dagster_ui import DagsterUI, wait_for

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.instance_home import prepare_home
from resources.settings.loader import find_profile

KILLS_AFTER = (0.2, 0.5)  # of the cameras are done
PATIENCE = 3600.0
MUNIN = Path(sys.executable).parent / "munin"
POISONED = "cam-0003"
STAGES_1_TO_3 = ("detections", "classifications", "observations", "exports")
# Jobs at once in the sandbox, whose machines are processes of this one: ten runs wait for them.
AT_ONCE = 2
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


@dataclass(frozen=True)
class Place:
    """Where cameras are.

    Args:
        profile: the path of the profile.
        assets: what is backfilled.
        tell: prints what its own records say of cameras' jobs, and returns what must not be.
    """

    profile: Path
    assets: tuple[str, ...]
    tell: Callable[[Sequence[str]], list[str]] = lambda names: []


@contextmanager
def here(root: Path, names: Sequence[str], backfill: int) -> Iterator[Place]:
    """Cameras on this machine, some of them with the tables of a run."""
    first = root / "cards" / names[0]
    first.mkdir(parents=True)
    Image.new("RGB", (64, 48), "green").save(first / "IMG_1.JPG")
    timed(MUNIN, "batch", first, root / "results" / names[0])
    cameras = [
        Camera(name, (root / "cards" / name).as_uri(), (root / "results" / name).as_uri())
        for name in names
    ]
    for name in names[1:backfill]:
        shutil.copytree(root / "results" / names[0] / "tables", root / "results" / name / "tables")
    (root / "results" / POISONED / "tables" / "classifications.parquet").write_bytes(b"poison")
    know(cameras)
    yield Place(find_profile("local").absolute(), ("observations",))


@contextmanager
def sandbox(root: Path, names: Sequence[str], backfill: int) -> Iterator[Place]:
    """Cameras in the sandbox, some of them with a picture whose header is read."""
    with account(root, AT_ONCE) as there:
        there.put_footage(["first", *names[:backfill]])
        first = there.camera("first")
        timed(MUNIN, "--profile", there.profile, "batch", first.footage_url, first.output_url)
        media = there.read(first, MEDIA_TABLE)
        for name in names[:backfill]:
            there.write(name, MEDIA_TABLE, b"poison" if name == POISONED else media)
        know([there.camera(name) for name in names])
        yield Place(there.profile, STAGES_1_TO_3, there.report)


def know(cameras: Sequence[Camera]) -> None:
    """Let this machine know cameras."""
    catalog = CameraCatalog(prepare_home() / "cameras")
    for camera in cameras:
        catalog.put(camera)
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("camera", [camera.camera_id for camera in cameras])


def done(asset: str, since: float) -> Counter[str]:
    """How often an asset of each camera was materialized."""
    with dg.DagsterInstance.get() as instance:
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), after_timestamp=since),
            limit=10_000,
        ).records
    return Counter(record.partition_key or "" for record in records)


def wait_until_done(cameras: int, asset: str, since: float) -> None:
    wait_for(f"{cameras} cameras", lambda: len(done(asset, since)) >= cameras, PATIENCE)


def run_backfill(home: Path, place: Place, names: Sequence[str]) -> None:
    since, last = time.time(), place.assets[-1]
    backfill = ""
    for share in KILLS_AFTER:
        with DagsterUI(home, home.parent / "ui.log", place.profile) as ui:
            backfill = backfill or start(ui, place.assets, names)
            wait_until_done(round(len(names) * share), last, since)
            ui.kill()
        print(f"killed after {len(done(last, since))} cameras", flush=True)
    with DagsterUI(home, home.parent / "ui.log", place.profile) as ui:
        ended = wait_for("the end of the backfill", lambda: end_of(ui, backfill), PATIENCE)
        runs = Counter(run["status"] for run in ui.runs())
    print(f"{'backfill':<28}{ended} after {time.time() - since:.0f} s; runs: {dict(runs)}")
    if faults := [*tell_done(place.assets, names, since), *place.tell(names)]:
        raise SystemExit(f"not as it must be: {'; '.join(faults)}")


def tell_done(assets: Sequence[str], names: Sequence[str], since: float) -> list[str]:
    """Print which cameras are done, and how often; what must not be."""
    times = {asset: done(asset, since) for asset in assets}
    missing = sorted(set(names) - set(times[assets[-1]]))
    print(f"{'cameras done':<28}{len(names) - len(missing)} of {len(names)}")
    print(f"{'not done':<28}{', '.join(missing)}")
    faults = [] if missing == [POISONED] else ["cameras are not done"]
    for asset, count in times.items():
        twice = sorted(name for name, often in count.items() if often > 1)
        print(f"{f'{asset} twice':<28}{len(twice)} {', '.join(twice)}")
        faults += [f"{asset} made twice"] if twice else []
    return faults


def start(ui: DagsterUI, assets: Sequence[str], names: Sequence[str]) -> str:
    """Ask for the backfill as the UI's page does; its id."""
    selected = [{"path": [asset]} for asset in assets]
    asked = {"assetSelection": selected, "partitionNames": list(names)}
    started: dict[str, str] = ui.graphql(START, backfill=asked)["launchPartitionBackfill"]
    return started["backfillId"]


def end_of(ui: DagsterUI, backfill: str) -> str:
    """How the backfill has ended; empty while it goes on."""
    told: str = ui.graphql(STATUS, id=backfill)["partitionBackfillOrError"]["status"]
    return told if told not in ("REQUESTED", "COMPLETING", "FAILING") else ""


PLACES = {"here": here, "sandbox": sandbox}


def main() -> None:
    parser = argparse.ArgumentParser(description="A thousand cameras.")
    parser.add_argument("place", nargs="?", choices=PLACES, default="here")
    parser.add_argument("--cameras", type=int, default=1000)
    parser.add_argument("--backfill", type=int, default=200, help="0: none")
    given = parser.parse_args()
    names = [f"cam-{number:04}" for number in range(given.cameras)]
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        os.environ["DAGSTER_HOME"] = str(root / "dagster")
        with PLACES[given.place](root, names, given.backfill) as place:
            os.environ["MUNIN_PROFILE"] = str(place.profile)
            load = timed(sys.executable, "-c", "import odins_ravne_assets.definitions")
            print(f"{'loading the code location':<28}{load}", flush=True)
            print(f"{'munin status':<28}{timed(MUNIN, 'status')}", flush=True)
            if given.backfill:
                run_backfill(root / "dagster", place, names[: given.backfill])


if __name__ == "__main__":
    main()
