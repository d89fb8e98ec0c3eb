"""A card that arrives while the sensor runs: it must become one run with all files.

    python benchmarks/uploads.py [--files 500] [folder | s3]

Starts `munin ui` on a separate instance with the sensor `new_footage`. Then copies a card of small
pictures, file by file, into a folder, or into the sandbox's bucket, whose uploads S3 reports to a
queue. That takes a minute, in which the sensor scans twice. One more file belongs to no camera.
"""

import argparse
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))
from dagster_ui import DagsterUI, wait_for

from odins_ravne_assets.munin.media.media_table import known_files
from resources.aws.clients import AwsClients
from resources.compute.environment import ComputeEnvironment
from resources.sandbox.foundation import prepare_foundation
from resources.sandbox.model.config import CREDENTIALS, SandboxConfig, data_bucket
from resources.sandbox.sandbox import Sandbox
from resources.settings.loader import find_profile, load_profile
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import open_store

SENSOR, CAMERA = "new_footage", "north-1"
# Ten minutes without new files are half a real minute.
CONFIG = SandboxConfig(scale=20, boot_seconds=20, pull_seconds=5, stop_grace_seconds=200)
COPY_SECONDS = 60.0
TIMEOUT_SECONDS = 1200.0
QUARANTINE = """{assetOrError(assetKey: {path: ["quarantine"]}) {
  ... on Asset {assetObservations(limit: 1) {metadataEntries {
    ... on IntMetadataEntry {intValue} ... on TableMetadataEntry {table {records}}
  }}}
}}"""

Put = Callable[[str, bytes], None]


@contextmanager
def folder(root: Path) -> Iterator[tuple[Path, Put, ObjectStore]]:
    """Provide a folder for cards: its profile, a function that adds a file, the results."""
    uploads = {"url": str(root / "cards"), "quiet_minutes": 0.5, "output": str(root / "results")}
    (root / "cards").mkdir()

    def put(key: str, data: bytes) -> None:
        path = root / "cards" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    yield _profile(root, "local", uploads), put, open_store(f"{root}/results/{CAMERA}", None)


@contextmanager
def s3(root: Path) -> Iterator[tuple[Path, Put, ObjectStore]]:
    """Provide the same in the sandbox, whose bucket sends events to a queue."""
    os.environ.update(CREDENTIALS)
    with Sandbox(CONFIG) as sandbox:
        aws = {"endpoint_url": sandbox.endpoint_url, "clock_url": sandbox.clock_url}
        cloud = load_profile("sandbox", {f"cloud.aws.{key}": url for key, url in aws.items()}).cloud
        assert cloud is not None
        clients = AwsClients(cloud.aws)
        prepare_foundation(clients, cloud.aws.name, cloud.aws.region)
        ComputeEnvironment(cloud.aws, clients).setup(4)
        bucket = data_bucket(cloud.aws.name)
        uploads = {
            "url": f"s3://{bucket}/footage/uploads",
            "queue_url": clients.of("sqs").get_queue_url(QueueName="ravne-uploads")["QueueUrl"],
            "output": f"s3://{bucket}/results",
        }

        def put(key: str, data: bytes) -> None:
            clients.of("s3").put_object(Bucket=bucket, Key=f"footage/uploads/{key}", Body=data)

        results = open_store(f"s3://{bucket}/results/{CAMERA}", clients)
        yield _profile(root, "sandbox", uploads, aws), put, results


def _profile(
    root: Path, base: str, uploads: dict[str, Any], aws: dict[str, str] | None = None
) -> Path:
    tree = yaml.safe_load(find_profile(base).read_text())
    tree["uploads"] = uploads
    if aws:
        tree["cloud"]["aws"].update(aws)
    path = root / "profile.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def picture(number: int) -> bytes:
    """Return a small picture that differs from all others."""
    image = Image.new("RGB", (64, 48), (number % 256, number // 256, 99))
    data = io.BytesIO()
    image.save(data, "JPEG")
    return data.getvalue()


def upload(put: Put, files: int) -> None:
    """Copy a card at the speed of real ones."""
    began = time.monotonic()
    put("loose.jpg", picture(0))
    for number in range(files):
        put(f"{CAMERA}/DCIM/100TRAIL/IMG_{number:04}.JPG", picture(number))
        time.sleep(max(0.0, began + COPY_SECONDS * number / files - time.monotonic()))


def measure(ui: DagsterUI, put: Put, results: ObjectStore, files: int) -> None:
    ui.switch_on(SENSOR)
    wait_for("the first scan of the sensor", lambda: ui.ticks(SENSOR), 120)
    upload(put, files)
    complete = time.time()
    runs = wait_for("the end of the camera's runs", ui.ended_runs, TIMEOUT_SECONDS)
    two_more = len(ui.ticks(SENSOR)) + 2
    wait_for("two more scans", lambda: len(ui.ticks(SENSOR)) >= two_more, 180)
    ticks = [tick for tick in ui.ticks(SENSOR) if tick["endTimestamp"]]
    requested = min(tick["timestamp"] for tick in ticks if tick["runIds"])
    longest = max(tick["endTimestamp"] - tick["timestamp"] for tick in ticks)
    runs = ui.runs()
    (observation,) = ui.graphql(QUARANTINE)["assetOrError"]["assetObservations"]
    values = [entry.get("intValue") for entry in observation["metadataEntries"]]
    print(f"{'files copied':<34}{files}")
    print(f"{'runs':<34}{len(runs)}: {', '.join(run['status'] for run in runs)}")
    print(f"{'files in the media table':<34}{len(known_files(results))}")
    print(f"{'in quarantine':<34}{next(value for value in values if value is not None)}")
    print(f"{'requested after the last file':<34}{requested - complete:.0f} s")
    print(f"{'duration of the run':<34}{runs[-1]['endTime'] - runs[-1]['startTime']:.0f} s")
    print(f"{'scans':<34}{len(ticks)}, the longest {longest:.1f} s")
    if failed := [tick["error"] for tick in ticks if tick["error"]]:
        raise SystemExit(f"failed scans: {failed}")


PLACES = {"folder": folder, "s3": s3}


def main() -> None:
    parser = argparse.ArgumentParser(description="Copy a card while the sensor runs.")
    parser.add_argument("place", nargs="?", choices=PLACES, help="default: both")
    parser.add_argument("--files", type=int, default=500)
    given = parser.parse_args()
    for name in [given.place] if given.place else PLACES:
        print(name, flush=True)
        with tempfile.TemporaryDirectory() as made, PLACES[name](Path(made)) as place:
            profile, put, results = place
            with DagsterUI(Path(made) / "dagster", Path(made) / "ui.log", profile) as ui:
                measure(ui, put, results, given.files)


if __name__ == "__main__":
    main()
