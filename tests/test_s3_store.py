"""What is S3's own: refusals in words, broken bodies, parts, the lease, listings of any size."""

import bisect
import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from s3_rig import (
    Answer,
    Forward,
    Request,
    S3Rig,
    drop,
    hide_missing,
    lose_answer,
    refuse,
    s3,
    s3_server,
    small_parts,
    spoil_answer,
    spoil_request,
    truncate,
)

from resources import aws_clients
from resources.aws_clients import AwsClients
from resources.clock import ScaledClock
from resources.errors import StoreError, UsageError
from resources.object_store import LOCK_FILE, key_order
from resources.profile import Aws
from resources.s3_errors import NoSuchObject
from resources.s3_lease import EXPIRY_SECONDS
from resources.s3_listing import S3Listing
from resources.s3_place import S3Place
from resources.s3_store import S3Store

# Fixtures.
__all__ = ["s3", "s3_server", "small_parts"]

FOREVER = 10**6
SCALE = 50


@pytest.fixture
def make_store(s3: S3Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], S3Store]:
    """Makes stores of one place; botocore gives up after the second try."""
    retries = {"mode": "standard", "total_max_attempts": 2}
    monkeypatch.setitem(aws_clients.OPTIONS, "retries", retries)
    clients = s3.clients()
    url = f"s3://{s3.bucket(clients)}/out put"
    s3.reset()
    return lambda: S3Store(url, clients, tmp_path / "staging", ScaledClock(SCALE))


@pytest.fixture
def store(make_store: Callable[[], S3Store]) -> S3Store:
    return make_store()


def complaint(work: Callable[[], object]) -> str:
    with pytest.raises(StoreError) as caught:
        work()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def staged_copies(store: S3Store) -> list[Path]:
    folder = store._staging_folder
    return list(folder.iterdir()) if folder and folder.exists() else []


# Refusals


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (
            403,
            "AccessDenied",
            "permission denied, or there is no such object: the credentials need s3:GetObject",
        ),
        (404, "NoSuchBucket", "there is no such bucket; check its name"),
        (404, "NoSuchKey", "there is no such object"),
        (400, "ExpiredToken", "the credentials have expired; log in again"),
        (403, "InvalidAccessKeyId", "AWS does not know the access key"),
        (403, "SignatureDoesNotMatch", "AWS does not accept the secret key"),
        (403, "RequestTimeTooSkewed", "this machine's clock is more than 15 minutes wrong"),
        (403, "InvalidObjectState", r"is archived .*; `munin cost restore 's3://.+/a'` tells"),
        (503, "SlowDown", "S3 keeps asking to slow down; wait a while and run again"),
        (500, "InternalError", r"S3 keeps failing \(InternalError\)"),
        (301, "PermanentRedirect", "the bucket lies in another region; set cloud.aws.region"),
        (418, "Teapot", "S3 refused GetObject: Teapot: short and stout"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_to_do(
    store: S3Store, s3: S3Rig, status: int, code: str, words: str
) -> None:
    store.write_bytes("a/key", b"1")
    s3.fail("GetObject", refuse(status, code, "short\nand stout"), FOREVER)
    said = complaint(lambda: store.read_bytes("a/key"))
    assert said.startswith(f"{store.url}/a/key: ")
    with pytest.raises(StoreError, match=words), store.reading("a/key"):
        pass
    assert staged_copies(store) == []


@pytest.mark.parametrize(
    ("operation", "permission", "work"),
    [
        ("PutObject", "s3:PutObject", lambda store: store.write_bytes("k", b"")),
        ("UploadPart", "s3:PutObject", lambda store: _write(store, "k", b"x" * 100_000)),
        ("CreateMultipartUpload", "s3:PutObject", lambda store: _write(store, "k", b"x" * 99_999)),
        ("DeleteObject", "s3:DeleteObject", lambda store: store.delete("k")),
        ("HeadObject", "s3:GetObject", lambda store: store.head("k")),
        ("ListObjectsV2", "s3:ListBucket", lambda store: store.exists("k")),
        ("ListObjectsV2", "s3:ListBucket", lambda store: list(store.list())),
    ],
)
def test_a_missing_permission_is_named(
    store: S3Store,
    s3: S3Rig,
    small_parts: int,
    operation: str,
    permission: str,
    work: Callable[[S3Store], object],
) -> None:
    s3.fail(operation, refuse(403, "AccessDenied"), FOREVER)
    assert f"the credentials need {permission} here" in complaint(lambda: work(store))


def _write(store: S3Store, key: str, data: bytes) -> None:
    with store.writing(key) as path:
        path.write_bytes(data)


def test_a_bucket_that_is_not_there_is_said(s3: S3Rig) -> None:
    store = S3Store("s3://no-such-bucket/x", s3.clients())
    for work in (lambda: list(store.list()), lambda: store.write_bytes("k", b"")):
        assert "there is no such bucket" in complaint(work)


def test_what_is_missing_may_be_forbidden_to_look_at(store: S3Store, s3: S3Rig) -> None:
    for operation in ("GetObject", "HeadObject"):
        s3.fail(operation, hide_missing, FOREVER)
    assert not store.exists("key")
    with store.exclusive(lambda: pytest.fail("nobody has it")):
        store.write_bytes("keys", b"1")
        assert not store.exists("key")
        assert store.exists("keys")


def test_missing_credentials_are_said(
    s3: S3Rig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    store = S3Store("s3://bucket/x", s3.clients())
    assert "there are no AWS credentials; log in" in complaint(lambda: store.read_bytes("k"))


def test_an_s3_that_is_not_there_is_said(s3: S3Rig, make_store: Callable[[], S3Store]) -> None:
    clients = AwsClients(Aws(endpoint_url="http://127.0.0.1:9"))
    store = S3Store("s3://bucket/x", clients)
    assert "S3 cannot be reached; check the network" in complaint(lambda: store.read_bytes("k"))


@pytest.mark.parametrize("url", ["s3://", "s3:///x", "s3://Bucket/x", "s3://bucket//x", "s3://b/x"])
def test_a_url_that_names_no_place_is_refused(s3: S3Rig, url: str) -> None:
    with pytest.raises(UsageError, match="s3://"):
        S3Store(url, s3.clients())


# Faults that pass


@pytest.mark.parametrize("fault", [refuse(503, "SlowDown"), refuse(500, "InternalError"), drop])
def test_a_fault_that_passes_is_not_noticed(store: S3Store, s3: S3Rig, fault: Any) -> None:
    for operation in ("PutObject", "GetObject", "ListObjectsV2", "DeleteObject"):
        s3.fail(operation, fault)
    store.write_bytes("key", b"data")
    assert store.exists("key")
    assert store.read_bytes("key") == b"data"
    assert [found.key for found in store.list()] == ["key"]
    store.delete("key")
    assert not store.exists("key")


@pytest.mark.parametrize("fault", [truncate, spoil_answer])
def test_a_body_that_arrives_broken_is_read_again(store: S3Store, s3: S3Rig, fault: Any) -> None:
    store.write_bytes("key", b"data" * 1000)
    s3.fail("GetObject", fault, times=3)
    assert store.read_bytes("key") == b"data" * 1000
    s3.fail("GetObject", fault, times=3)
    with store.reading("key") as path:
        assert path.read_bytes() == b"data" * 1000


@pytest.mark.parametrize(
    ("fault", "words"), [(truncate, "breaks off again and again"), (spoil_answer, "is damaged")]
)
def test_a_body_that_never_arrives_whole_is_said(
    store: S3Store, s3: S3Rig, fault: Any, words: str
) -> None:
    store.write_bytes("key", b"data" * 1000)
    s3.fail("GetObject", fault, FOREVER)
    assert words in complaint(lambda: store.read_bytes("key"))


def test_a_body_that_is_spoiled_on_its_way_up_is_sent_again(store: S3Store, s3: S3Rig) -> None:
    s3.fail("PutObject", spoil_request, times=2)
    store.write_bytes("key", b"data")
    assert store.read_bytes("key") == b"data"
    s3.fail("PutObject", spoil_request, FOREVER)
    said = complaint(lambda: store.write_bytes("key", b"new"))
    assert "what arrives is not what was sent" in said
    assert store.read_bytes("key") == b"data"


def test_damage_in_the_store_is_found_by_the_objects_own_checksum(store: S3Store) -> None:
    wrong = hashlib.sha256(b"what it was").hexdigest()
    store.place.client.put_object(
        **store.place.name_of("key"), Body=b"what it is", Metadata={"sha256": wrong}
    )
    assert "does not match its SHA-256" in complaint(lambda: store.read_bytes("key"))
    with pytest.raises(StoreError, match="does not match its SHA-256"), store.reading("key"):
        pass


@pytest.mark.parametrize("seed", range(3))
def test_whatever_goes_wrong_what_is_read_was_written(
    store: S3Store, s3: S3Rig, small_parts: int, seed: int
) -> None:
    """A write that is refused leaves the old object or the new one, never a mixture."""
    chance = random.Random(seed)
    faults = [drop, lose_answer, truncate, spoil_answer, spoil_request, refuse(503, "SlowDown")]
    operations = ["PutObject", "GetObject", "UploadPart", "CompleteMultipartUpload"]
    possible: dict[str, set[bytes]] = {}
    for _ in range(40):
        s3.fail(chance.choice(operations), chance.choice(faults), chance.choice([0, 0, 1, 4]))
        key = chance.choice("abc")
        data = chance.randbytes(chance.choice([1, 10, small_parts, 3 * small_parts]))
        try:
            _write(store, key, data)
            possible[key] = {data}
        except StoreError:
            possible.setdefault(key, set()).add(data)
        with suppress(StoreError):
            read = store.read_bytes(key)
            assert read in possible[key]
            possible[key] = {read}
        s3.reset()
    for key, contents in possible.items():
        with suppress(NoSuchObject):
            assert store.read_bytes(key) in contents
    assert len(possible) == 3


def test_a_name_that_s3_cannot_have_is_said(store: S3Store) -> None:
    said = complaint(lambda: store.write_bytes("a\udce9\nb", b""))
    assert said.endswith("/a\ufffd\ufffdb: the name is not valid UTF-8: rename it")


# Large objects


def test_a_large_object_goes_up_and_comes_down_in_parts(
    store: S3Store, s3: S3Rig, small_parts: int
) -> None:
    data = os.urandom(10 * small_parts + 1)
    _write(store, "large", data)
    assert len(s3.asked("UploadPart")) == 11
    s3.reset()
    with store.reading("large") as path:
        assert path.read_bytes() == data
    assert len(s3.asked("GetObject")) == 12
    assert store.read_bytes("large") == data
    assert staged_copies(store) == []


def test_a_part_that_breaks_off_alone_is_read_again(
    store: S3Store, s3: S3Rig, small_parts: int
) -> None:
    data = os.urandom(6 * small_parts)
    _write(store, "large", data)
    s3.reset()
    s3.fail("GetObject", truncate, times=2, after=3)
    with store.reading("large") as path:
        assert path.read_bytes() == data
    assert len(s3.asked("GetObject")) == 1 + 6 + 2


def test_an_object_that_is_replaced_while_it_is_read_is_read_anew(
    store: S3Store, s3: S3Rig, small_parts: int
) -> None:
    old, new = os.urandom(6 * small_parts), os.urandom(7 * small_parts)
    _write(store, "large", old)

    def replace(request: Request, forward: Forward) -> Answer:
        store.place.client.put_object(**store.place.name_of("large"), Body=new)
        return forward(request)

    s3.fail("GetObject", replace, after=3)
    with store.reading("large") as path:
        assert path.read_bytes() == new


def test_an_object_that_is_replaced_all_the_time_is_said(
    store: S3Store, s3: S3Rig, small_parts: int
) -> None:
    _write(store, "large", os.urandom(3 * small_parts))

    def replace(request: Request, forward: Forward) -> Answer:
        if "range" in request.headers:
            store.place.client.put_object(
                **store.place.name_of("large"), Body=os.urandom(3 * small_parts)
            )
        return forward(request)

    s3.fail("GetObject", replace, FOREVER)
    with pytest.raises(StoreError, match="is being replaced"), store.reading("large"):
        pass


def test_a_large_object_that_cannot_go_up_leaves_nothing(
    store: S3Store, s3: S3Rig, small_parts: int
) -> None:
    store.write_bytes("large", b"old")
    s3.fail("UploadPart", refuse(400, "ExpiredToken"), FOREVER, after=3)
    assert "expired" in complaint(lambda: _write(store, "large", os.urandom(9 * small_parts)))
    assert store.read_bytes("large") == b"old"
    bucket = store.place.bucket
    assert "Uploads" not in store.place.client.list_multipart_uploads(Bucket=bucket)
    assert staged_copies(store) == []


@pytest.mark.parametrize("operation", ["UploadPart", "CompleteMultipartUpload", "PutObject"])
def test_a_lost_answer_is_no_lost_object(
    store: S3Store, s3: S3Rig, small_parts: int, operation: str
) -> None:
    data = os.urandom(3 * small_parts)
    s3.fail(operation, lose_answer)
    _write(store, "large", data)
    store.write_bytes("small", b"1")
    assert store.read_bytes("large") == data
    assert store.read_bytes("small") == b"1"


def test_an_object_of_another_program_is_read_too(store: S3Store, small_parts: int) -> None:
    data = os.urandom(3 * small_parts)
    store.place.client.put_object(**store.place.name_of("video.mp4"), Body=data)
    with store.reading("video.mp4") as path:
        assert path.read_bytes() == data
    assert store.read_bytes("video.mp4") == data


@pytest.mark.skipif(sys.platform != "linux", reason="mounting a small disk needs Linux")
def test_a_staging_disk_that_is_too_small_is_said_before_it_is_full(
    store: S3Store, tmp_path: Path, s3: S3Rig
) -> None:
    if os.getuid() != 0:
        pytest.skip("mounting a small disk needs root")
    store.write_bytes("film.mp4", b"x" * 5_000_000)
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    try:
        small = S3Store(store.url, s3.clients(), disk)
        said = r"disk: no room for copies .*film\.mp4, 0\.0 GiB"
        with pytest.raises(StoreError, match=said), small.reading("film.mp4"):
            pass
        with pytest.raises(StoreError, match="no room"), small.writing("film.mp4") as path:
            path.write_bytes(b"x" * 2_000_000)
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_copies_of_many_readers_are_kept_apart_and_removed(store: S3Store) -> None:
    for number in range(5):
        store.write_bytes(f"{number}.parquet", str(number).encode())
    with ExitStack() as stack:
        paths = [stack.enter_context(store.reading(f"{number}.parquet")) for number in range(5)]
        assert [path.read_text() for path in paths] == ["0", "1", "2", "3", "4"]
        assert len(staged_copies(store)) == 5
    assert staged_copies(store) == []


# One writer


HOLD = """
import sys, time
from resources.aws_clients import AwsClients
from resources.clock import ScaledClock
from resources.profile import Aws
from resources.s3_store import S3Store
clock = ScaledClock(float(sys.argv[3]))
store = S3Store(sys.argv[1], AwsClients(Aws(endpoint_url=sys.argv[2])), None, clock)
with store.exclusive(lambda: print("waiting", flush=True)):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def holding(store: S3Store, s3: S3Rig) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the store, until it is killed."""
    arguments = [store.url, s3.url, str(SCALE)]
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout and process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_holder_that_was_killed_is_followed_after_the_lease_expired(
    store: S3Store, s3: S3Rig
) -> None:
    waited = threading.Event()
    with holding(store, s3) as process:

        def kill() -> None:
            waited.set()
            process.kill()

        with store.exclusive(kill):
            store.write_bytes("key", b"1")
    assert waited.is_set()
    assert process.returncode


def test_a_holder_that_lives_is_waited_for_as_long_as_it_takes(store: S3Store, s3: S3Rig) -> None:
    """Much longer than a lease lasts: the holder renews it."""
    taken = threading.Event()

    def wait() -> None:
        with store.exclusive(lambda: None):
            taken.set()

    with holding(store, s3):
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        assert not taken.wait(2.5 * EXPIRY_SECONDS / SCALE)
    assert taken.wait(60)
    thread.join(60)


def test_a_lease_that_is_old_by_s3s_clock_is_taken_at_once(store: S3Store, s3: S3Rig) -> None:
    old = json.dumps({"holder": "gone", "renewed": 3}).encode()
    store.place.client.put_object(**store.place.name_of(LOCK_FILE), Body=old)

    def later(request: Request, forward: Forward) -> Answer:
        answer = forward(request)
        headers = [(n, v) for n, v in answer.headers if n.lower() != "last-modified"]
        headers.append(("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"))
        return Answer(answer.status, headers, answer.body)

    s3.fail("GetObject", later, times=2)
    with store.exclusive(lambda: pytest.fail("waits for a holder that is gone")):
        pass


class _Asleep(ScaledClock):
    """Time goes by, but who sleeps is only woken by others, as in a laptop that was closed."""

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> bool:
        return (wake or threading.Event()).wait(60)


def sleeper_of(store: S3Store, s3: S3Rig) -> S3Store:
    return S3Store(store.url, s3.clients(), None, _Asleep(SCALE))


def test_who_slept_past_the_lease_may_not_write_when_another_took_over(
    store: S3Store, s3: S3Rig
) -> None:
    sleeper = sleeper_of(store, s3)
    with sleeper.exclusive(lambda: None), store.exclusive(lambda: None):
        for work in (
            lambda: sleeper.write_bytes("key", b"late"),
            lambda: _write(sleeper, "key", b"late"),
            lambda: sleeper.delete("key"),
        ):
            assert "another run has taken over" in complaint(work)
        assert not store.exists("key")
        store.write_bytes("key", b"1")
    with store.exclusive(lambda: pytest.fail("the sleeper has it")):
        assert store.read_bytes("key") == b"1"


def test_who_slept_past_the_lease_goes_on_when_nobody_took_over(store: S3Store, s3: S3Rig) -> None:
    sleeper = sleeper_of(store, s3)
    with sleeper.exclusive(lambda: None):
        time.sleep(1.2 * EXPIRY_SECONDS / SCALE)
        before = sleeper.read_bytes(LOCK_FILE)
        sleeper.write_bytes("key", b"1")
        assert sleeper.read_bytes(LOCK_FILE) != before
    assert store.read_bytes("key") == b"1"


def test_who_is_cut_off_past_the_lease_may_not_write(store: S3Store, s3: S3Rig) -> None:
    sleeper = sleeper_of(store, s3)
    with sleeper.exclusive(lambda: None):
        time.sleep(1.2 * EXPIRY_SECONDS / SCALE)
        s3.fail("PutObject", drop, FOREVER, key="out put/.lock")
        assert "check the network" in complaint(lambda: sleeper.write_bytes("key", b"1"))
        assert s3.asked("PutObject")[-1] == "out put/.lock"
        s3.reset()


def test_who_was_robbed_of_the_lease_notices(make_store: Callable[[], S3Store], s3: S3Rig) -> None:
    robbed = make_store()
    other = json.dumps({"holder": "another", "renewed": 0}).encode()
    with robbed.exclusive(lambda: None):
        robbed.place.client.put_object(**robbed.place.name_of(LOCK_FILE), Body=other)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                robbed.write_bytes("key", b"")
            except StoreError:
                break
        assert "another run has taken over" in complaint(lambda: robbed.write_bytes("key", b""))
    assert robbed.read_bytes(LOCK_FILE) == other


def test_a_lost_answer_does_not_lose_the_lease(store: S3Store, s3: S3Rig) -> None:
    s3.fail("PutObject", lose_answer)
    with store.exclusive(lambda: pytest.fail("waits for itself")):
        s3.fail("PutObject", lose_answer)
        time.sleep(1.5 * EXPIRY_SECONDS / SCALE)
        store.write_bytes("key", b"1")
    assert store.read_bytes("key") == b"1"


def test_of_many_who_want_the_lease_one_has_it(make_store: Callable[[], S3Store]) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        with make_store().exclusive(lambda: None):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.02)
            inside.remove(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1] * 6


# Listing


def test_a_folder_that_may_not_be_listed_is_told_and_the_rest_goes_on(
    store: S3Store, s3: S3Rig
) -> None:
    for key in ("a/1", "closed/2", "closed/deep/3", "d/4"):
        store.write_bytes(key, b"")
    told: list[tuple[str, str]] = []
    s3.fail("ListObjectsV2", refuse(403, "AccessDenied"), FOREVER, key="out put/closed/")
    found = store.list("", on_error=lambda key, reason: told.append((key, reason)))
    assert [stored.key for stored in found] == ["a/1", "d/4"]
    assert told == [
        ("closed", "permission denied: the credentials need s3:ListBucket here"),
    ]
    assert "closed: cannot be listed: permission denied" in complaint(lambda: list(store.list()))


def test_a_place_that_may_not_be_listed_is_told_as_a_whole(store: S3Store, s3: S3Rig) -> None:
    told: list[str] = []
    s3.fail("ListObjectsV2", refuse(403, "AccessDenied"), FOREVER)
    assert list(store.list("", on_error=lambda key, reason: told.append(key))) == []
    assert told == ["."]


def test_an_outage_is_no_closed_folder(store: S3Store, s3: S3Rig) -> None:
    s3.fail("ListObjectsV2", refuse(500, "InternalError"), FOREVER)
    told: list[str] = []
    with pytest.raises(StoreError, match="S3 keeps failing"):
        list(store.list("", on_error=lambda key, reason: told.append(key)))
    assert told == []


def test_objects_that_no_file_can_be_are_told_once_for_each_folder(store: S3Store) -> None:
    folder_objects = ["", "made in the console/"]
    odd = ["/leading", "a//b", "a//c/d", "a/../e", "./f", "content under a slash/"]
    for key in [*folder_objects, *odd, "a/fine"]:
        body = b"content" if key == "content under a slash/" else b""
        store.place.client.put_object(**store.place.name_of(key), Body=body)
    told: list[str] = []
    found = list(store.list("", on_error=lambda key, reason: told.append(key)))
    assert [stored.key for stored in found] == ["a/fine"]
    assert told == ["/", "./", "a//", "a/../", "content under a slash//"]
    assert "no file can have; rename them" in complaint(lambda: list(store.list()))


def test_an_object_may_have_the_name_of_a_folder(store: S3Store) -> None:
    for key in ("a", "a/b", "a-1"):
        store.write_bytes(key, b"")
    assert [stored.key for stored in store.list()] == ["a", "a/b", "a-1"]


class _Keys(BaseHTTPRequestHandler):
    """ListObjectsV2 of any number of keys (moto looks at all of them for each page)."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    keys: list[str]
    pages: int

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        type(self).pages += 1
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        most = int(query["max-keys"])
        after = bytes.fromhex(query.get("continuation-token", "")).decode()
        entries: list[str] = []
        place = bisect.bisect_left(self.keys, max(prefix, after))
        more = False
        while place < len(self.keys) and self.keys[place].startswith(prefix):
            key = self.keys[place]
            end = key.find(delimiter, len(prefix)) + 1 if delimiter else 0
            entry = key[:end] if end else key
            if entry > after:
                if len(entries) == most:
                    more = True
                    break
                entries.append(entry)
            beyond = f"{entry[:-1]}0" if end else f"{entry}\0"  # 0 follows the slash
            place = bisect.bisect_left(self.keys, beyond, place)
        self._answer(entries, delimiter, more)

    def _answer(self, entries: list[str], delimiter: str, more: bool) -> None:
        text = ["<ListBucketResult><EncodingType>url</EncodingType>"]
        text.append(f"<IsTruncated>{str(more).lower()}</IsTruncated>")
        if more:
            token = entries[-1].encode().hex()
            text.append(f"<NextContinuationToken>{token}</NextContinuationToken>")
        for entry in entries:
            name = quote(entry, safe="")
            if delimiter and entry.endswith(delimiter):
                text.append(f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>")
            else:
                text.append(
                    f"<Contents><Key>{name}</Key><Size>1</Size><ETag>&quot;e&quot;</ETag>"
                    "<LastModified>2024-05-01T10:00:00.000Z</LastModified></Contents>"
                )
        body = "".join([*text, "</ListBucketResult>"]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def keys_server(s3: S3Rig) -> Iterator[tuple[type[_Keys], Any]]:
    """A bucket whose keys can be set, and a client of it."""
    handler = type("Handler", (_Keys,), {"keys": [], "pages": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    clients = AwsClients(Aws(endpoint_url=f"http://127.0.0.1:{server.server_port}"))
    yield handler, clients.of("s3")
    server.shutdown()
    thread.join()
    server.server_close()


NAME = st.text("ab-./!~", min_size=1, max_size=6)
KEYS = st.lists(NAME.filter(lambda key: not set(key.split("/")) & {"", ".", ".."}), max_size=40)


def test_any_keys_are_listed_once_and_in_order_whatever_the_page(
    keys_server: tuple[type[_Keys], Any],
) -> None:
    handler, client = keys_server

    @settings(max_examples=100, deadline=None)
    @given(KEYS, st.integers(1, 5))
    def check(keys: list[str], page: int) -> None:
        handler.keys = sorted(set(keys))
        listing = S3Listing(S3Place(client, "bucket", ""), page)
        found = [stored.key for stored in listing.objects("", None)]
        assert found == sorted(handler.keys, key=key_order)

    check()


def test_a_hundred_thousand_objects_are_a_stream(keys_server: tuple[type[_Keys], Any]) -> None:
    handler, client = keys_server
    handler.keys = sorted(f"DCIM/{n // 9999}EK/cam-1 2024-05-{n:06d}.JPG" for n in range(100_000))
    objects = S3Listing(S3Place(client, "bucket", "DCIM/")).objects("", None)
    next(objects)
    # The folders, a page of the first, and whether a folder "cam" or "cam-1 2024" sorts before.
    assert handler.pages <= 8
    tracemalloc.start()
    for _ in islice(objects, 3_000):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 2**20


def test_a_key_of_five_hundred_folders_is_listed(keys_server: tuple[type[_Keys], Any]) -> None:
    handler, client = keys_server
    handler.keys = ["a/" * 511 + "b"]
    listing = S3Listing(S3Place(client, "bucket", ""))
    assert [stored.key for stored in listing.objects("", None)] == handler.keys
