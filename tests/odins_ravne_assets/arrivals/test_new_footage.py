"""Footage that arrives in a bucket or a folder, as the sensor `new_footage` sees it."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from moto.server import ThreadedMotoServer
from upload_events import eventbridge, sns

from odins_ravne_assets.arrivals.folder_source import FolderUploadSource
from odins_ravne_assets.arrivals.s3_source import S3UploadSource
from odins_ravne_assets.arrivals.sensor_state import ScanResult, SensorState, request_due_runs
from odins_ravne_assets.arrivals.sqs import delete, receive
from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.defs.sensors import new_footage
from odins_ravne_assets.munin.tables.schemas import MEDIA
from resources.aws.clients import AwsClients
from resources.settings.dagster_resource import RunSettings
from resources.settings.profile import Aws, Uploads

HOUR, DAY = 3600.0, 86_400.0
REGION = "eu-north-1"
Known = set[tuple[str, int, int]]


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("odins_ravne_assets.arrivals.sqs.LONG_POLL_SECONDS", 0)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    with pytest.MonkeyPatch.context() as patch:
        for name, text in keys.items():
            patch.setenv(name, text)
        server = ThreadedMotoServer(port=0, verbose=False)
        server.start()
        yield "http://{}:{}".format(*server.get_host_and_port())
        server.stop()


@dataclass
class Bucket:
    """A bucket that tells a queue of uploads, and the tables of its cameras."""

    name: str
    clients: AwsClients
    queue_url: str
    tables: dict[str, Known] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)

    def put(self, *keys: str) -> None:
        for key in keys:
            self.clients.of("s3").put_object(Bucket=self.name, Key=f"footage/{key}", Body=b"x")

    def source(self, with_queue: bool = True) -> S3UploadSource:
        uploads = Uploads(
            url=f"s3://{self.name}/footage", queue_url=self.queue_url if with_queue else None
        )
        return S3UploadSource(
            uploads, self.clients, lambda c: self.tables.get(c, set()), self.running.__contains__
        )

    def run(self, camera: str) -> None:
        """What a run of a camera does: its table holds what lies there."""
        folder = f"footage/{camera}/"
        found = self.clients.of("s3").list_objects_v2(Bucket=self.name, Prefix=folder)
        self.tables[camera] = {
            (
                each["Key"][len(folder) :],
                each["Size"],
                int(each["LastModified"].timestamp()) * 10**9,
            )
            for each in found.get("Contents", ())
        }


@pytest.fixture
def bucket(endpoint: str, request: pytest.FixtureRequest) -> Bucket:
    clients = AwsClients(Aws(endpoint_url=endpoint))
    name = f"bucket-{abs(hash(request.node.name))}"
    place = {"LocationConstraint": REGION}
    clients.of("s3").create_bucket(Bucket=name, CreateBucketConfiguration=place)
    queue_url = clients.of("sqs").create_queue(QueueName=name)["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:123456789012:{name}"
    told = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    clients.of("s3").put_bucket_notification_configuration(
        Bucket=name, NotificationConfiguration=told
    )
    sqs = clients.of("sqs")
    for message in receive(sqs, queue_url, lambda: False):  # S3's test message
        delete(sqs, queue_url, [message.receipt])
    return Bucket(name, clients, queue_url)


def scan_once(source: S3UploadSource, cursor: str, now: float) -> tuple[ScanResult, str]:
    state = SensorState.read(cursor)
    scan = source.scan(state, now)
    return scan, state.text()


def already_listed(now: float) -> str:
    return SensorState(listed_at=now).text()


def in_queue(bucket: Bucket) -> int:
    told = bucket.clients.of("sqs").get_queue_attributes(
        QueueUrl=bucket.queue_url, AttributeNames=["All"]
    )["Attributes"]
    return int(told["ApproximateNumberOfMessages"]) + int(
        told["ApproximateNumberOfMessagesNotVisible"]
    )


def test_a_card_of_many_files_is_one_run_when_no_more_come(bucket: Bucket) -> None:
    now = time.time()
    bucket.put(*(f"north-1/DCIM/IMG_{n:04}.JPG" for n in range(25)))
    scan, cursor = scan_once(bucket.source(), already_listed(now), now)
    assert (scan.run_requests, scan.new_files, scan.pending) == ((), 25, 1)
    scan, cursor = scan_once(bucket.source(), cursor, now + 500)
    assert not scan.run_requests
    scan, cursor = scan_once(bucket.source(), cursor, now + 601)
    assert [(turn.camera_id, turn.files) for turn in scan.run_requests] == [("north-1", 25)]
    scan, cursor = scan_once(bucket.source(), cursor, now + 631)
    assert not scan.run_requests
    assert in_queue(bucket) == 0


def test_messages_are_deleted_only_when_what_they_said_is_kept(bucket: Bucket) -> None:
    now = time.time()
    bucket.put("a/1.jpg", "a/2.jpg")
    before = already_listed(now)
    _, cursor = scan_once(bucket.source(), before, now)
    assert in_queue(bucket) == 2  # this cursor may be lost
    scan_once(bucket.source(), cursor, now + 30)
    assert in_queue(bucket) == 0


def test_what_a_listing_does_not_find_any_more_leaves_the_quarantine(bucket: Bucket) -> None:
    now = time.time()
    bucket.put("a...b/1.jpg", "loose.jpg")
    _, cursor = scan_once(bucket.source(), already_listed(now), now)
    assert SensorState.read(cursor).quarantined.keys() == {"a...b", "loose.jpg"}
    bucket.clients.of("s3").delete_object(Bucket=bucket.name, Key="footage/loose.jpg")
    _, cursor = scan_once(bucket.source(), cursor, now + DAY)
    assert SensorState.read(cursor).quarantined.keys() == {"a...b"}


def test_a_key_of_no_camera_is_in_quarantine_and_starts_nothing(bucket: Bucket) -> None:
    now = time.time()
    bucket.put("a...b/1.jpg", "a...b/2.jpg", "loose.jpg", "a/readme.txt")
    scan, cursor = scan_once(bucket.source(), already_listed(now), now)
    assert sorted(each.path for each in scan.quarantined) == ["a...b", "loose.jpg"]
    assert scan.pending == 0
    scan, _ = scan_once(bucket.source(), cursor, now + DAY + 1)  # the listing finds them too
    assert not scan.quarantined, "what is known to be in quarantine is told once"


def test_a_look_that_takes_too_long_leaves_the_rest_in_the_queue(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odins_ravne_assets.arrivals.s3_source.SCAN_TIMEOUT_SECONDS", -1.0)
    now = time.time()
    bucket.put(*(f"a/{n}.jpg" for n in range(15)))
    first, cursor = scan_once(bucket.source(), already_listed(now), now)
    second, _ = scan_once(bucket.source(), cursor, now + 30)
    assert (first.new_files, second.new_files) == (10, 5)


def test_a_message_of_somebody_else_is_left_in_the_queue(bucket: Bucket) -> None:
    now = time.time()
    bucket.clients.of("sqs").send_message(QueueUrl=bucket.queue_url, MessageBody="hello")
    scan, cursor = scan_once(bucket.source(), already_listed(now), now)
    assert [each.path for each in scan.quarantined] == ["hello"]
    scan_once(bucket.source(), cursor, now + 30)
    assert in_queue(bucket) == 1


def test_the_listing_finds_what_no_event_told(bucket: Bucket) -> None:
    bucket.put("a/1.jpg", "b/1.jpg")
    bucket.clients.of("sqs").purge_queue(QueueUrl=bucket.queue_url)
    now = time.time()
    scan, cursor = scan_once(bucket.source(), already_listed(now - DAY), now)
    assert (scan.new_files, scan.pending) == (2, 2)
    scan, cursor = scan_once(bucket.source(), cursor, now + 601)
    assert {turn.camera_id for turn in scan.run_requests} == {"a", "b"}


def test_a_bucket_without_a_queue_works_by_listing_alone(bucket: Bucket) -> None:
    bucket.put("a/1.jpg")
    now = time.time()
    source = bucket.source(with_queue=False)
    _, cursor = scan_once(source, "", now)
    scan, cursor = scan_once(source, cursor, now + 601)
    assert [turn.camera_id for turn in scan.run_requests] == ["a"]
    bucket.run("a")
    scan, cursor = scan_once(source, cursor, now + HOUR)
    assert scan.pending == 0
    bucket.put("a/2.jpg")  # in the same second as others were, perhaps: dates do not count
    _, cursor = scan_once(source, cursor, now + 2 * HOUR)
    scan, cursor = scan_once(source, cursor, now + 2 * HOUR + 601)
    assert [turn.camera_id for turn in scan.run_requests] == ["a"]


def test_a_raw_file_beside_its_jpeg_in_a_bucket_starts_nothing(bucket: Bucket) -> None:
    now = time.time()
    bucket.put("a/1.CR2", "a/1.JPG")
    bucket.run("a")
    bucket.tables["a"] = {row for row in bucket.tables["a"] if row[0] == "1.JPG"}
    scan, cursor = scan_once(bucket.source(with_queue=False), "", now)
    assert scan.pending == 0
    bucket.put("a/2.CR2")
    scan, _ = scan_once(bucket.source(with_queue=False), cursor, now + 2 * HOUR)
    assert scan.pending == 1


def test_a_listing_survives_that_the_key_it_stopped_at_is_deleted(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odins_ravne_assets.arrivals.listing.PAGE_SIZE", 2)
    monkeypatch.setattr("odins_ravne_assets.arrivals.listing.list_pages.__defaults__", (1,))
    bucket.put("a/1.jpg", "a/2.jpg", "b/1.jpg", "c/1.jpg")
    now = time.time()
    source = bucket.source(with_queue=False)
    _, cursor = scan_once(source, "", now)
    assert SensorState.read(cursor).sweep.after == "a/2.jpg"
    bucket.clients.of("s3").delete_object(Bucket=bucket.name, Key="footage/a/2.jpg")
    for tick in range(1, 4):
        _, cursor = scan_once(source, cursor, now + 30 * tick)
    assert SensorState.read(cursor).sweep.began == 0
    assert set(SensorState.read(cursor).cameras.pending) == {"a", "b", "c"}


def test_a_slow_listing_goes_on_in_the_next_look(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odins_ravne_assets.arrivals.s3_source.SCAN_TIMEOUT_SECONDS", -1.0)
    bucket.put("a/1.jpg", "b/1.jpg", "c/1.jpg")
    now, cursor, reached = time.time(), "", []
    for tick in range(4):
        _, cursor = scan_once(bucket.source(with_queue=False), cursor, now + 30 * tick)
        reached.append(SensorState.read(cursor).sweep.after)
    assert reached == ["a/1.jpg", "b/1.jpg", "c/1.jpg", ""]
    assert set(SensorState.read(cursor).cameras.pending) == {"a", "b", "c"}


def test_a_look_asks_for_fifty_runs_and_the_next_one_for_the_others() -> None:
    state = SensorState()
    for number in range(70):
        state.cameras.add_event(f"cam-{number}", f"cam-{number}", 1.0, 1.0)
    first, second = (list(request_due_runs(state.cameras, 700.0, 600.0, HOUR)) for _ in range(2))
    assert (len(first), len(second)) == (50, 20)
    assert len({turn.camera_id for turn in first + second}) == 70


def test_a_run_that_failed_is_asked_for_again_by_the_next_listing(bucket: Bucket) -> None:
    bucket.put("a/1.jpg")
    now = time.time()
    _, cursor = scan_once(bucket.source(), "", now)
    first, cursor = scan_once(bucket.source(), cursor, now + 601)  # and it fails: no table
    _, cursor = scan_once(bucket.source(), cursor, now + DAY)
    second, cursor = scan_once(bucket.source(), cursor, now + DAY + 601)
    assert [t.camera_id for t in (*first.run_requests, *second.run_requests)] == ["a", "a"]
    assert first.run_requests[0].run_key != second.run_requests[0].run_key
    bucket.run("a")
    for day in (2, 3):
        scan, cursor = scan_once(bucket.source(), cursor, now + day * DAY)
        assert scan.pending == 0


def test_a_camera_whose_run_is_under_way_is_left_to_it(bucket: Bucket) -> None:
    bucket.put("a/1.jpg")
    bucket.clients.of("sqs").purge_queue(QueueUrl=bucket.queue_url)
    bucket.running.add("a")
    scan, _ = scan_once(bucket.source(), "", time.time())
    assert scan.pending == 0


def test_a_table_is_read_again_only_when_the_bucket_has_changed(bucket: Bucket) -> None:
    bucket.put("a/1.jpg")
    bucket.run("a")
    bucket.clients.of("sqs").purge_queue(QueueUrl=bucket.queue_url)
    now = time.time()
    _, cursor = scan_once(bucket.source(), "", now)
    del bucket.tables["a"]  # would be missed, if it were asked for
    scan, _ = scan_once(bucket.source(), cursor, now + DAY)
    assert scan.pending == 0


@pytest.mark.parametrize(
    ("key", "quarantined"),
    [
        ("north-1//IMG_0002.JPG", ["north-1//"]),
        ("north-1/a/../IMG_0002.JPG", ["north-1/a/../"]),
        ("north-1/IMG_0002.JPG/", ["north-1/IMG_0002.JPG/"]),
        ("north-1/#recycle/IMG_0002.JPG", []),
    ],
)
def test_a_key_that_no_run_takes_is_reported_once_and_starts_nothing(
    key: str, quarantined: list[str], bucket: Bucket
) -> None:
    bucket.put("north-1/IMG_0001.JPG")
    bucket.run("north-1")
    bucket.put(key)
    now, cursor, reported = time.time(), "", []
    for hour in range(6):
        for minute in (0, 11):
            source = bucket.source(with_queue=hour % 2 == 0)
            scan, cursor = scan_once(source, cursor, now + hour * 25 * HOUR + minute * 60)
            reported += [each.path for each in scan.quarantined]
            if hour or minute:  # the event of the first file may request a run
                assert not scan.run_requests or hour == 0
    assert reported == quarantined


def test_events_through_sns_and_eventbridge_are_read(bucket: Bucket) -> None:
    now = time.time()
    for number, wrap in enumerate((sns, lambda event: event)):
        event = eventbridge()
        event["detail"]["bucket"]["name"] = bucket.name
        event["detail"]["object"]["key"] = f"footage/north-{number}/a b+c.jpg"
        bucket.clients.of("sqs").send_message(
            QueueUrl=bucket.queue_url, MessageBody=json.dumps(wrap(event))
        )
    scan, cursor = scan_once(bucket.source(), already_listed(now), now)
    assert (scan.new_files, scan.quarantined) == (2, ())
    assert set(SensorState.read(cursor).cameras.pending) == {"north-0", "north-1"}


def test_a_camera_of_many_objects_is_compared_in_several_looks(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odins_ravne_assets.arrivals.listing.PAGE_SIZE", 2)
    keys = [f"a/{number}.{kind}" for number in range(4) for kind in ("CR2", "JPG")]
    bucket.put(*keys, "b/1.jpg")
    bucket.run("a")
    bucket.tables["a"] = {row for row in bucket.tables["a"] if row[0].endswith("JPG")}
    now, cursor, compared = time.time(), "", []
    seconds = iter(range(0, 10**6, 25))  # each question for the time takes 25 s
    for tick in range(40):
        source = bucket.source(with_queue=False)
        source.clock = lambda: float(next(seconds))
        _, cursor = scan_once(source, cursor, now + 30 * tick)
        sweep = SensorState.read(cursor).sweep
        if sweep.comparing is not None and sweep.comparing.camera == "a":
            compared.append(sweep.comparing.after)
        if not sweep.began:
            break
    assert compared == sorted(set(compared))
    assert len(compared) > 2
    assert all(key.endswith("JPG") for key in compared), "no pair is divided"
    state = SensorState.read(cursor)
    assert (state.cameras.pending.keys(), state.sweep.agreed.keys()) == ({"b"}, {"a"})


def test_a_listing_that_takes_long_is_reported_once(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odins_ravne_assets.arrivals.s3_source.SCAN_TIMEOUT_SECONDS", -1.0)
    bucket.put(*(f"a/{number}.txt" for number in range(6)))
    now, cursor, remarks = time.time(), "", []
    for tick in range(6):
        scan, cursor = scan_once(bucket.source(with_queue=False), cursor, now + tick * 1500)
        remarks += scan.remarks
    (remark,) = remarks
    assert remark.startswith(f"s3://{bucket.name}/footage: one listing of all files has taken 75")


def test_a_bucket_of_too_many_pending_cameras_waits_in_its_queue(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odins_ravne_assets.arrivals.s3_source.MAX_PENDING", 5)
    bucket.put(*(f"cam-{number}/1.jpg" for number in range(25)))
    now, cursor, requested = time.time(), already_listed(time.time()), set()
    for tick in range(8):
        scan, cursor = scan_once(bucket.source(), cursor, now + 601 * tick)
        assert scan.pending <= 5 + 10
        requested |= {each.camera_id for each in scan.run_requests}
    assert len(requested) == 25


# A folder of this machine


@dataclass
class Folder:
    root: Path
    tables: dict[str, Known] = field(default_factory=dict)

    def put(self, key: str, data: bytes = b"x", date: int | None = None) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if date:
            os.utime(path, (date, date))

    def scan_once(self, cursor: str, now: float) -> tuple[ScanResult, str]:
        uploads = Uploads(url=str(self.root))
        place = FolderUploadSource(uploads, lambda c: self.tables.get(c, set()), lambda _: False)
        state = SensorState.read(cursor)
        return place.scan(state, now), state.text()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "cards")


def test_a_folder_is_taken_when_it_has_not_changed_for_a_while(folder: Folder) -> None:
    folder.put("a/DCIM/1.jpg")
    scan, cursor = folder.scan_once("", 0)
    assert (scan.run_requests, scan.pending) == ((), 1)
    folder.put("a/DCIM/2.jpg")
    scan, cursor = folder.scan_once(cursor, 600)
    assert not scan.run_requests
    scan, cursor = folder.scan_once(cursor, 1200)
    assert [(turn.camera_id, turn.files) for turn in scan.run_requests] == [("a", 2)]
    scan, cursor = folder.scan_once(cursor, 1800)
    assert not scan.run_requests


def test_names_as_macos_writes_them_are_found_and_equal_those_of_the_table(folder: Folder) -> None:
    folder.put("a/e\u0301/1.jpg", b"x", date=1_700_000_000)
    folder.put("a/e\u0301/2.jpg")
    folder.tables["a"] = {("é/1.jpg", 1, 1_700_000_000 * 10**9)}
    _, cursor = folder.scan_once("", 0)
    scan, _ = folder.scan_once(cursor, 600)
    assert [(request.camera_id, request.files) for request in scan.run_requests] == [("a", 1)]


def test_a_name_that_is_not_utf8_is_compared_as_the_table_has_it(folder: Folder) -> None:
    folder.put("a/\udcff.jpg", b"x", date=1_700_000_000)
    folder.tables["a"] = {("\\xff.jpg", 1, 1_700_000_000 * 10**9)}
    _, cursor = folder.scan_once("", 0)
    scan, _ = folder.scan_once(cursor, 600)
    assert not scan.run_requests


def test_a_raw_file_beside_its_jpeg_starts_nothing(folder: Folder) -> None:
    for name in ("1.CR2", "1.JPG", "1.NEF"):
        folder.put(f"a/{name}", b"x", date=1_700_000_000)
    folder.tables["a"] = {("1.JPG", 1, 1_700_000_000 * 10**9)}
    _, cursor = folder.scan_once("", 0)
    scan, cursor = folder.scan_once(cursor, 600)
    assert not scan.run_requests
    folder.put("a/2.CR2")
    _, cursor = folder.scan_once(cursor, 1200)
    scan, _ = folder.scan_once(cursor, 1800)
    assert [request.files for request in scan.run_requests] == [1]


def test_a_half_copied_file_is_not_taken_though_its_date_is_the_originals(folder: Folder) -> None:
    folder.put("a/1.mp4", b"x" * 100, date=1_700_000_000)
    _, cursor = folder.scan_once("", 0)
    folder.put("a/1.mp4", b"y" * 100, date=1_700_000_000)  # same size and date: it was set before
    scan, cursor = folder.scan_once(cursor, 600)
    assert not scan.run_requests
    scan, _ = folder.scan_once(cursor, 1200)
    assert [turn.camera_id for turn in scan.run_requests] == ["a"]


def test_a_folder_whose_media_are_all_in_the_tables_starts_nothing(folder: Folder) -> None:
    folder.put("a/1.jpg", b"x", date=1_700_000_000)
    folder.tables["a"] = {("1.jpg", 1, 1_700_000_000 * 10**9)}
    _, cursor = folder.scan_once("", 0)
    scan, _ = folder.scan_once(cursor, 600)
    assert not scan.run_requests


def test_a_card_that_is_taken_out_and_put_back_starts_nothing_new(folder: Folder) -> None:
    folder.put("a/1.jpg", b"x", date=1_700_000_000)
    _, cursor = folder.scan_once("", 0)
    scan, cursor = folder.scan_once(cursor, 600)
    assert len(scan.run_requests) == 1
    folder.tables["a"] = {("1.jpg", 1, 1_700_000_000 * 10**9)}
    shutil.move(folder.root / "a", folder.root.parent / "out")
    scan, cursor = folder.scan_once(cursor, 700)
    assert not scan.run_requests
    shutil.move(folder.root.parent / "out", folder.root / "a")
    _, cursor = folder.scan_once(cursor, 800)
    scan, _ = folder.scan_once(cursor, 1500)
    assert not scan.run_requests


# The sensor in Dagster


def test_a_broken_cursor_is_a_line_of_the_log_and_the_sensor_begins_anew(
    folder: Folder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder.put("a/1.jpg")
    with dg.DagsterInstance.ephemeral() as instance:
        result = tick(
            instance,
            CameraCatalog(tmp_path),
            '{"version": 99}',
            **{"uploads.url": str(folder.root)},
        )
    assert SensorState.read(result.cursor).begun_anew == ""
    assert "the stored cursor cannot be read (it is of version 99" in capfd.readouterr().err


def tick(
    instance: dg.DagsterInstance, catalog: CameraCatalog, cursor: str | None, **overrides: Any
) -> dg.SensorResult:
    settings = RunSettings(profile="local", overrides={**overrides})
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"settings": settings, "catalog": catalog}
    )
    result = new_footage(context)
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result  # type: ignore[return-value]


def test_the_sensor_says_what_is_missing_when_no_place_is_named(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        said = tick(instance, CameraCatalog(tmp_path), None)
    assert "uploads.url" in str(said)


def test_the_sensor_adds_the_camera_and_asks_for_its_run(folder: Folder, tmp_path: Path) -> None:
    folder.put("north-1/1.jpg")
    folder.put("b...d/1.jpg")
    catalog = CameraCatalog(tmp_path / "cameras")
    overrides = {
        "uploads.url": str(folder.root),
        "uploads.quiet_minutes": 0.001,
        "uploads.output": str(tmp_path / "results"),
    }
    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(instance, catalog, None, **overrides)
        assert not first.run_requests
        (seen,) = first.asset_events
        assert seen.asset_key.to_user_string() == "quarantine"
        time.sleep(0.1)
        second = tick(instance, catalog, first.cursor, **overrides)
    (request,) = second.run_requests or ()
    assert request.partition_key == "north-1"
    assert request.tags["munin/new-files"] == "1"
    (added,) = second.dynamic_partitions_requests or ()
    assert added.partition_keys == ["north-1"]
    (camera,) = catalog.list()
    assert camera.output_url == (tmp_path / "results" / "north-1").as_uri()


def two_ticks(
    instance: dg.DagsterInstance, catalog: CameraCatalog, folder: Folder, results: Path
) -> dg.SensorResult:
    """The second of two ticks, in which the uploads of the folder are complete."""
    overrides = {
        "uploads.url": str(folder.root),
        "uploads.quiet_minutes": 0.001,
        "uploads.output": str(results),
    }
    first = tick(instance, catalog, None, **overrides)
    time.sleep(0.1)
    return tick(instance, catalog, first.cursor, **overrides)


def test_uploads_of_a_renamed_camera_run_it_under_its_new_id(
    folder: Folder, tmp_path: Path
) -> None:
    folder.put("ridge/1.jpg")
    catalog = CameraCatalog(tmp_path / "cameras")
    place, results = (folder.root / "ridge").as_uri(), (tmp_path / "results" / "hill").as_uri()
    catalog.put(Camera("hill", place, results, earlier_ids=("ridge",)))
    with dg.DagsterInstance.ephemeral() as instance:
        second = two_ticks(instance, catalog, folder, tmp_path / "results")
    assert [each.partition_key for each in second.run_requests or ()] == ["hill"]
    assert [each.camera_id for each in catalog.list()] == ["hill"]


def test_a_camera_whose_partition_was_deleted_is_not_added_by_its_uploads(
    folder: Folder, tmp_path: Path
) -> None:
    folder.put("ridge/1.jpg")
    catalog = CameraCatalog(tmp_path / "cameras")
    place, results = (folder.root / "ridge").as_uri(), (tmp_path / "results" / "ridge").as_uri()
    catalog.put(Camera("ridge", place, results))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("camera", ["ridge"])
        done, tags = dg.DagsterRunStatus.SUCCESS, {"dagster/partition": "ridge"}
        instance.add_run(dg.DagsterRun("camera", tags=tags, status=done))
        instance.delete_dynamic_partition("camera", "ridge")  # as the button of the UI does
        second = two_ticks(instance, catalog, folder, tmp_path / "results")
    assert not second.run_requests
    asked = second.dynamic_partitions_requests or ()
    assert not [key for each in asked for key in each.partition_keys]
    assert catalog.list() == ()
    (seen,) = second.asset_events
    assert "camera ridge: was forgotten" in str(seen.metadata["arrivals/why"])


def test_what_was_moved_out_of_quarantine_is_told_to_be_out(folder: Folder, tmp_path: Path) -> None:
    folder.put("loose.jpg")
    catalog = CameraCatalog(tmp_path / "cameras")
    overrides = {"uploads.url": str(folder.root)}
    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(instance, catalog, None, **overrides)
        (folder.root / "lake").mkdir()
        (folder.root / "loose.jpg").rename(folder.root / "lake" / "1.jpg")
        second = tick(instance, catalog, first.cursor, **overrides)
        third = tick(instance, catalog, second.cursor, **overrides)
    told = [event for result in (first, second, third) for event in result.asset_events]
    assert [event.metadata["arrivals/refused"].value for event in told] == [1, 0]


def test_a_camera_that_is_known_elsewhere_is_not_run_on_other_footage(
    folder: Folder, tmp_path: Path
) -> None:

    folder.put("North-1/1.jpg")
    catalog = CameraCatalog(tmp_path / "cameras")
    catalog.put(Camera("north-1", "file:///other", "file:///results/north-1"))
    overrides = {"uploads.url": str(folder.root), "uploads.quiet_minutes": 0.001}
    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(instance, catalog, None, **overrides)
        time.sleep(0.1)
        second = tick(instance, catalog, first.cursor, **overrides)
    assert not second.run_requests
    assert "known with its footage in /other" in json.dumps(second.cursor)


def test_the_tables_columns_are_what_the_listing_compares(tmp_path: Path) -> None:
    from odins_ravne_assets.munin.media.media_table import known_files
    from resources.storage.local_store import LocalStore

    row = dict.fromkeys(MEDIA) | {"path": "a.jpg", "bytes": 3, "modified_ns": 7}
    (tmp_path / "tables").mkdir()
    pl.DataFrame([row], schema=MEDIA).write_parquet(tmp_path / "tables" / "media.parquet")
    assert known_files(LocalStore(tmp_path)) == {("a.jpg", 3, 7)}
    assert known_files(LocalStore(tmp_path / "none")) == set()


def test_uploads_of_a_camera_whose_cards_were_read_are_a_further_source(
    folder: Folder, tmp_path: Path
) -> None:
    from odins_ravne_assets.munin.media.sources import Source, save_sources
    from resources.storage.local_store import LocalStore

    folder.put("north-1/1.jpg", date=1_700_000_000)
    card, uploads = "file:///media/CARD", (folder.root / "north-1").as_uri()
    results = LocalStore(tmp_path / "results")
    catalog = CameraCatalog(tmp_path / "cameras")
    catalog.put(Camera("north-1", card, results.url))
    rows = [("1.jpg", None)]

    def turns() -> int:
        """The runs that the sensor requests of these results."""
        table = [
            dict.fromkeys(MEDIA)
            | {"path": path, "bytes": 1, "modified_ns": 1_700_000_000 * 10**9, "source": source}
            for path, source in rows
        ]
        with results.writing("tables/media.parquet") as path:
            pl.DataFrame(table, schema=MEDIA).write_parquet(path)
        overrides = {"uploads.url": str(folder.root), "uploads.quiet_minutes": 0.001}
        with dg.DagsterInstance.ephemeral() as instance:
            first = tick(instance, catalog, None, **overrides)
            time.sleep(0.1)
            return len(tick(instance, catalog, first.cursor, **overrides).run_requests or ())

    # A file of the card has the same name, size and date.
    rows = [("CARD/1.jpg", "CARD"), ("CARD-2/1.jpg", "CARD-2")]
    save_sources(results, "north-1", [Source("CARD", card), Source("CARD-2", "file:///other")])
    assert turns() == 1
    assert catalog.get("north-1").places == (card, uploads)
    rows = [("CARD/1.jpg", "CARD"), ("north-1/1.jpg", "north-1")]
    save_sources(results, "north-1", [Source("CARD", card), Source("north-1", uploads)])
    assert turns() == 0
