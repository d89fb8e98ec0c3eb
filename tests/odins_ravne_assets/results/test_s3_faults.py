"""Faults of S3 during runs, downloads, imports of labels and scans: the product is the same.

A fault that ends is not noticed. One that stays ends the work with a line that names the object,
and leaves no half of a product: after it, the same work gives the same product.
"""

# ruff: noqa: F811 (fixtures)

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from camera_tables import NIGHT
from interruption_drill import without_run_facts
from media_files import write_picture
from report_rig import CameraOutput, LabelledBox, stage3
from s3_rig import (
    Act,
    Forward,
    Request,
    Response,
    S3Rig,
    corrupt_request,
    corrupt_response,
    drop,
    lose_response,
    refuse,
    s3,  # noqa: F401
    s3_server,  # noqa: F401
    truncate,
)
from s3_store_rig import FOREVER, SCALE

from odins_ravne_assets.arrivals.s3_source import S3UploadSource
from odins_ravne_assets.arrivals.sensor_state import SensorState
from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.hugin.exports.export import export_camera
from odins_ravne_assets.hugin.review.camera_labels import Review
from odins_ravne_assets.munin.progress import StageProgress
from odins_ravne_assets.results.corrections import import_corrections
from odins_ravne_assets.results.download import download_results, find_results
from odins_ravne_assets.worker.context import StepContext
from odins_ravne_assets.worker.step import run_step
from resources.aws import clients as aws_clients
from resources.aws.clients import AwsClients
from resources.clock import ScaledClock
from resources.errors import RavneError
from resources.settings.profile import Privacy, Profile, Uploads
from resources.settings.project import Project
from resources.storage.s3.store import S3Store

READS, WRITES = ("GetObject", "HeadObject", "ListObjectsV2"), ("PutObject",)
REVIEW = Review("A", date(2026, 6, 1), confirms=True, at=datetime(2026, 6, 2, tzinfo=UTC))
OPERATIONS = (*READS, *WRITES)
COMPARED = (".parquet", ".csv", ".json")


def slow(request: Request, forward: Forward) -> Response:
    """Answer late."""
    time.sleep(0.05)
    return forward(request)


# What S3 does to some requests of each operation; a retry helps.
FAULTS: dict[str, tuple[Act, tuple[str, ...]]] = {
    "503": (refuse(503, "SlowDown"), OPERATIONS),
    "500": (refuse(500, "InternalError"), OPERATIONS),
    "reset": (drop, OPERATIONS),
    "lost answer": (lose_response, WRITES),
    "slow": (slow, OPERATIONS),
    "body cut off": (truncate, ("GetObject",)),
    "wrong bytes read": (corrupt_response, ("GetObject",)),
    "wrong bytes written": (corrupt_request, WRITES),
}


class _Silent:
    """Ignores the log of a step."""

    def info(self, message: str) -> None: ...

    def warning(self, message: str) -> None: ...

    def progress(self, progress: StageProgress) -> None: ...


@dataclass
class Place:
    """A camera's results and uploads in a bucket."""

    rig: S3Rig
    clients: AwsClients
    bucket: str
    folder: Path
    prefix: str = "first"  # of one of two copies of the same footage and results

    def store(self, prefix: str) -> S3Store:
        return self.open(f"s3://{self.bucket}/{prefix}")

    def open(self, url: str) -> S3Store:
        return S3Store(url, self.clients, self.folder / "staging", ScaledClock(SCALE))

    def product(self, *folders: str) -> dict[str, Any]:
        """Return objects of the copy in use, without the time of the run."""
        store = self.store(self.prefix)
        found = [each.key for folder in folders for each in store.list(folder)]
        contents = {key: without_run_facts(key, store.read_bytes(key)) for key in found}
        return {key: data for key, data in contents.items() if key.endswith(COMPARED)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A camera's results, and footage."""
    folder = tmp_path_factory.mktemp("finished")
    store = CameraOutput(folder / "results").still("1.jpg", NIGHT, LabelledBox()).write()
    stage3(store)
    export_camera(store, "camera7", Project(), Privacy())
    write_picture(folder / "uploads" / "camera7" / "IMG_0001.JPG", (64, 48))
    return folder


@pytest.fixture
def place(s3: S3Rig, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    retries = {"mode": "standard", "total_max_attempts": 3}
    monkeypatch.setitem(aws_clients.CLIENT_OPTIONS, "retries", retries)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    clients = s3.clients()
    made = Place(s3, clients, s3.bucket(clients), tmp_path)
    store = made.store("")
    for file in (path for path in finished.rglob("*") if path.is_file()):
        key = file.relative_to(finished).as_posix()
        for prefix in ("first", "second"):
            store.write_bytes(f"{prefix}/{key}", file.read_bytes())
    s3.reset()
    return made


def batch(place: Place, stages: list[str], output: str) -> None:
    url = place.store(place.prefix).url
    camera = Camera("camera7", f"{url}/uploads/camera7", f"{url}/{output}")
    context = StepContext(camera, Profile(), _Silent(), Event(), open_store=place.open)
    assert list(run_step(context, stages))


def footage(place: Place) -> object:
    """Stage 0 of footage on S3."""
    batch(place, ["footage"], "new")
    return place.product("new/tables")


def visits(place: Place) -> object:
    """Stage 3 and its exports."""
    batch(place, ["observations", "exports"], "results")
    return place.product("results/tables", "results/stage3")


def exports(place: Place) -> object:
    batch(place, ["exports"], "results")
    return place.product("results/tables", "results/stage3")


def download(place: Place) -> object:
    store, target = place.store(f"{place.prefix}/results"), place.folder / place.prefix
    (found,) = find_results(store)
    download_results(store, found, target, lambda progress: None)
    files = (path for path in target.rglob("*") if path.is_file())
    return {path.relative_to(target).as_posix(): path.read_bytes() for path in files}


def correct(place: Place) -> object:
    """A reviewer's labels of the results."""
    file, url = place.folder / "labels.csv", place.store(f"{place.prefix}/results").url
    if not file.exists():
        exported = place.open(url).read_bytes("stage3/observations.csv").decode()
        header, first = (line.split(",") for line in exported.splitlines()[:2])
        first[header.index("confirmed_species")] = "grey wolf"
        file.write_text(f"{','.join(header)}\n{','.join(first)}\n")
    profile = Profile.model_validate({"cloud": {"aws": {"endpoint_url": place.rig.url}}})
    camera = Camera("camera7", "file:///card", url)
    import_corrections([camera], [], profile, file, REVIEW)
    return place.product("results/tables/corrections")


def sensor(place: Place) -> object:
    """A listing of the uploads."""
    uploads = Uploads(url=place.store(f"{place.prefix}/uploads").url)
    source = S3UploadSource(uploads, place.clients, lambda _: iter(()), lambda _: False)
    state = SensorState()
    return source.scan(state, 1e9), sorted(state.cameras.pending)


@pytest.mark.parametrize("work", [footage, visits, download, correct, sensor])
def test_faults_that_end_change_nothing(place: Place, work: Callable[[Place], object]) -> None:
    expected = work(place)
    # Slow work meets several faults in one run, each at another request.
    at_once = {visits: len(FAULTS), footage: 3}.get(work, 1)
    names = list(FAULTS)
    chunks = [names[at : at + at_once] for at in range(0, len(names), at_once)]
    faults = [{name: FAULTS[name] for name in chunk} for chunk in chunks]
    for number, each in enumerate(faults):
        place.prefix = ("second", "first")[number % 2]
        for after, (act, operations) in enumerate(each.values()):
            for operation in operations:
                place.rig.fail(operation, act, after=after)
        assert work(place) == expected, list(each)
        place.rig.reset()


@pytest.mark.parametrize(
    ("work", "operation"),
    [
        (footage, "GetObject"),
        (footage, "PutObject"),
        (exports, "PutObject"),
        (download, "GetObject"),
        (download, "ListObjectsV2"),
        (correct, "GetObject"),
        (correct, "PutObject"),
        (sensor, "ListObjectsV2"),
    ],
)
def test_a_right_that_is_withdrawn_half_way_is_named_and_harms_nothing(
    place: Place, work: Callable[[Place], object], operation: str
) -> None:
    expected = work(place)
    requests = len(place.rig.requested_keys(operation))
    place.rig.reset()
    place.prefix = "second"
    place.rig.fail(operation, refuse(403, "AccessDenied"), FOREVER, after=requests // 2)
    with pytest.raises(RavneError, match=r"s3://.*s3:[A-Z]\w+") as caught:
        work(place)
    assert "\n" not in str(caught.value)
    place.rig.reset()
    assert work(place) == expected
