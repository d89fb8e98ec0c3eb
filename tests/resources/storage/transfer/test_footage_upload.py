"""Footage uploads: idempotent, complete, resumable."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

import pytest
from s3_rig import (
    Forward,
    Request,
    Response,
    S3Rig,
    corrupt_request,
    drop,
    hide_missing,
    lose_response,
    refuse,
    s3,
    s3_server,
    small_parts,
)

from resources.aws import clients as aws_clients
from resources.clock import ScaledClock
from resources.errors import StoreError
from resources.storage.layout import UPLOAD_MANIFEST
from resources.storage.local_store import LocalStore
from resources.storage.s3.store import S3Store
from resources.storage.s3.upload import UploadStopped, digest_file
from resources.storage.transfer.footage_upload import (
    PARALLEL_FILES,
    UploadFailure,
    UploadProgress,
    upload_footage,
)
from resources.storage.transfer.upload_manifest import UploadManifest

# Fixtures, and the parts that they make files of.
__all__ = ["s3", "s3_server", "small_parts"]
PART = 2**16


@pytest.fixture
def target(s3: S3Rig, small_parts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    retries = {"mode": "standard", "total_max_attempts": 2}
    monkeypatch.setitem(aws_clients.CLIENT_OPTIONS, "retries", retries)
    clients = s3.clients()
    url = f"s3://{s3.bucket(clients)}/footage/cam 1"
    store = S3Store(url, clients, tmp_path / "staging", ScaledClock(20))
    s3.reset()
    assert small_parts == PART
    return store


@pytest.fixture
def card(tmp_path: Path) -> LocalStore:
    """A memory card."""
    return LocalStore(tmp_path / "card")


def put(card: LocalStore, key: str, data: bytes = b"picture") -> Path:
    card.write_bytes(key, data)
    return card.root / key


def large(card: LocalStore, key: str, parts: int) -> Path:
    """Write a random file that is uploaded in this many parts."""
    return put(card, key, os.urandom((parts - 1) * PART + 5))


def upload(card: LocalStore, target: S3Store) -> UploadProgress:
    return upload_footage(card, target, lambda so_far: None, Event())


def copies(target: S3Store) -> dict[str, bytes]:
    return {found.key: target.read_bytes(found.key) for found in target.list()}


def test_a_card_is_uploaded_with_its_names(card: LocalStore, target: S3Store) -> None:
    wanted = {
        "DCIM/100EK113/IMG_0001.JPG": b"1",
        "a b": b"2",
        "50% #1?x=y+z&é": b"3",
        "日本/🦊.mp4": b"4",
        "empty": b"",
    }
    for key, data in wanted.items():
        put(card, key, data)
    result = upload(card, target)
    assert copies(target) == wanted
    assert (result.total_files, result.uploaded, result.uploaded_bytes) == (5, 5, 4)
    assert (result.failures, result.stopped, result.present) == ([], False, 0)


def test_a_second_upload_sends_nothing_and_makes_no_request_per_file(
    card: LocalStore,
    target: S3Store,
    s3: S3Rig,
) -> None:
    for number in range(50):
        put(card, f"{number % 3}/{number}.jpg")
    upload(card, target)
    s3.reset()
    result = upload(card, target)
    assert (result.uploaded, result.present) == (0, 50)
    requests = [request.operation for request in s3.requests]
    assert requests.count("ListObjectsV2") == 5 and len(requests) == 7
    assert s3.requested_keys("PutObject") == [f"footage/cam 1/{UPLOAD_MANIFEST}"]


def test_without_a_manifest_contents_are_compared(
    card: LocalStore,
    target: S3Store,
    s3: S3Rig,
) -> None:
    put(card, "same")
    put(card, "other", b"content")
    large(card, "large", 2)
    upload(card, target)
    target.delete(UPLOAD_MANIFEST)
    put(card, "other", b"as long")
    s3.reset()
    result = upload(card, target)
    assert (result.uploaded, result.present) == (1, 2)
    assert sorted(s3.requested_keys("HeadObject")) == [
        f"footage/cam 1/{key}" for key in ("large", "other", "same")
    ]
    assert target.read_bytes("other") == b"as long"


def test_files_that_changed_on_either_side_are_uploaded_again(
    card: LocalStore, target: S3Store
) -> None:
    for key in ("same", "changed locally", "changed on S3", "deleted on S3"):
        put(card, key)
    upload(card, target)
    put(card, "changed locally", b"new")
    target.write_bytes("changed on S3", b"broken!")
    target.delete("deleted on S3")
    result = upload(card, target)
    assert (result.uploaded, result.present) == (3, 1)
    expected = dict.fromkeys(("same", "changed on S3", "deleted on S3"), b"picture")
    assert copies(target) == expected | {"changed locally": b"new"}


def test_files_deleted_from_the_card_stay_on_s3(card: LocalStore, target: S3Store) -> None:
    put(card, "stays")
    put(card, "z/goes").chmod(0o600)
    upload(card, target)
    card.delete("z/goes")
    result = upload(card, target)
    assert result.present == 1
    assert set(copies(target)) == {"stays", "z/goes"}


def test_a_target_that_answers_403_for_missing_objects_works(
    card: LocalStore, target: S3Store, s3: S3Rig
) -> None:
    for operation in ("GetObject", "HeadObject"):
        s3.fail(operation, hide_missing, times=1000)
    put(card, "a.jpg")
    assert upload(card, target).uploaded == 1
    assert upload(card, target).present == 1


def test_only_included_files_are_uploaded(card: LocalStore, target: S3Store) -> None:
    put(card, "a.jpg")
    put(card, "backup.zip")
    result = upload_footage(card, target, lambda so_far: None, Event(), lambda key: ".jpg" in key)
    assert list(copies(target)) == ["a.jpg"]
    assert (result.total_files, result.uploaded) == (1, 1)


def test_files_that_cannot_be_uploaded_are_reported_and_the_rest_continues(
    card: LocalStore, target: S3Store
) -> None:
    put(card, "fine")
    Path(os.fsencode(card.root).decode("utf-8", "surrogateescape"), "b\udce9d").write_bytes(b"1")
    put(card, "/".join(["long" * 50] * 6))
    os.mkfifo(card.root / "pipe")
    result = upload(card, target)
    assert set(copies(target)) == {"fine"}
    assert [failure.key[:4] for failure in result.failures] == ["b\ufffdd", "long", "pipe"]
    reasons = [failure.reason for failure in result.failures]
    assert "UTF-8" in reasons[0] and "1024 bytes" in reasons[1] and "named pipe" in reasons[2]


def test_an_unreadable_file_is_reported(
    card: LocalStore,
    target: S3Store,
    unreadable: Path,
) -> None:
    put(card, "fine")
    result = upload(card, target)
    assert set(copies(target)) == {"fine"}
    assert result.failures == [UploadFailure("broken", "cannot be read: Input/output error")]


@pytest.fixture
def unreadable(card: LocalStore) -> Path:
    """A file on the card whose every read fails: a process's memory at address 0."""
    card.root.mkdir(parents=True, exist_ok=True)
    (card.root / "broken").symlink_to("/proc/self/mem")
    return card.root / "broken"


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path, target: S3Store) -> None:
    card = _Locked(tmp_path / "card", "closed")
    put(card, "open/a")
    put(card, "closed/b")
    result = upload(card, target)
    assert set(copies(target)) == {"open/a"}
    assert result.failures == [UploadFailure("closed/", "Permission denied")]


class _Locked(LocalStore):
    """A store with a folder without read permission, also for root."""

    def __init__(self, root: Path, locked: str) -> None:
        super().__init__(root)
        self._locked = root / locked

    def _entries(self, folder, key, on_error, seen):  # type: ignore[no-untyped-def]
        if folder == self._locked:
            on_error(f"{key}/", "Permission denied")
        else:
            yield from super()._entries(folder, key, on_error, seen)


def test_a_file_that_grows_during_its_upload_is_complete_in_the_end(
    card: LocalStore,
    target: S3Store,
    s3: S3Rig,
) -> None:
    for key in ("small", "large"):
        data = os.urandom(2 * PART if key == "large" else 10)
        path = put(card, key, data)

        def grow(request: Request, forward: Forward, path: Path = path) -> Response:
            with path.open("ab") as file:
                file.write(b"more")
            return forward(request)

        s3.fail("UploadPart" if key == "large" else "PutObject", grow, key=f"footage/cam 1/{key}")
    result = upload(card, target)
    assert (result.uploaded, result.failures) == (2, [])
    for key in ("small", "large"):
        assert target.read_bytes(key) == (card.root / key).read_bytes()
        assert target.read_bytes(key).endswith(b"more")


def test_a_file_that_keeps_changing_is_reported(
    card: LocalStore,
    target: S3Store,
    s3: S3Rig,
) -> None:
    path = put(card, "growing")

    def grow(request: Request, forward: Forward) -> Response:
        with path.open("ab") as file:
            file.write(b"more")
        return forward(request)

    s3.fail("PutObject", grow, times=3, key="footage/cam 1/growing")
    result = upload(card, target)
    assert result.uploaded == 0
    assert result.failures[0].reason == "keeps changing: run again when it is complete"
    assert upload(card, target).uploaded == 1


def test_corrupted_requests_and_lost_responses_are_retried(
    card: LocalStore,
    target: S3Store,
    s3: S3Rig,
) -> None:
    put(card, "small")
    path = large(card, "large", 3)
    s3.fail("PutObject", corrupt_request, times=2)
    s3.fail("UploadPart", corrupt_request)
    s3.fail("UploadPart", refuse(503, "SlowDown"))
    s3.fail("CompleteMultipartUpload", lose_response)
    assert upload(card, target).failures == []
    assert copies(target) == {"small": b"picture", "large": path.read_bytes()}


def test_a_target_that_refuses_ends_the_upload_with_an_error(
    card: LocalStore,
    target: S3Store,
    s3: S3Rig,
) -> None:
    for number in range(300):
        put(card, f"{number}.jpg")
    s3.fail("PutObject", refuse(400, "ExpiredToken"), times=1000, after=50)
    with pytest.raises(StoreError, match=r"s3://.*\.jpg: the credentials have expired; log in"):
        upload(card, target)
    assert len(s3.requested_keys("PutObject")) < 50 + 4 * PARALLEL_FILES
    s3.reset()
    result = upload(card, target)
    assert result.uploaded + result.present == 300
    assert result.present >= 48


def test_an_interrupted_large_file_sends_only_missing_parts(
    card: LocalStore,
    target: S3Store,
    s3: S3Rig,
) -> None:
    path = large(card, "large", 10)
    s3.fail("UploadPart", refuse(403, "AccessDenied"), times=1000, after=4)
    with pytest.raises(StoreError, match="s3:PutObject"):
        upload(card, target)
    s3.reset()
    assert upload(card, target).uploaded == 1
    assert len(s3.requested_keys("UploadPart")) == 6
    assert s3.requested_keys("CreateMultipartUpload") == []
    assert target.read_bytes("large") == path.read_bytes()


def test_an_upload_that_s3_deleted_starts_again(
    card: LocalStore,
    target: S3Store,
    s3: S3Rig,
) -> None:
    path = large(card, "large", 10)
    s3.fail("UploadPart", refuse(403, "AccessDenied"), times=1000, after=4)
    with pytest.raises(StoreError):
        upload(card, target)
    begun = UploadManifest(target).pending_upload("large")
    assert begun
    target.uploader.abort_upload("large", begun.upload_id)
    s3.reset()
    assert upload(card, target).uploaded == 1
    assert target.read_bytes("large") == path.read_bytes()


def test_parts_of_an_earlier_version_are_not_reused(
    card: LocalStore,
    target: S3Store,
    s3: S3Rig,
) -> None:
    large(card, "large", 9)
    s3.fail("UploadPart", refuse(403, "AccessDenied"), times=1000, after=4)
    with pytest.raises(StoreError):
        upload(card, target)
    path = large(card, "large", 9)
    s3.reset()
    assert upload(card, target).uploaded == 1
    assert target.read_bytes("large") == path.read_bytes()
    bucket = target.location.bucket
    assert "Uploads" not in target.location.client.list_multipart_uploads(Bucket=bucket)


def test_a_stop_ends_soon_and_the_next_upload_resumes(
    card: LocalStore,
    target: S3Store,
    s3: S3Rig,
) -> None:
    for number in range(300):
        put(card, f"{number:03d}.jpg")
    large(card, "large", 20)
    stop = Event()

    def on_progress(so_far: UploadProgress) -> None:
        if so_far.uploaded >= 20:
            stop.set()

    result = upload_footage(card, target, on_progress, stop)
    assert result.stopped and 20 <= result.uploaded < 200
    s3.reset()
    second = upload(card, target)
    assert not second.stopped
    assert second.uploaded + second.present == 301
    assert second.uploaded == 301 - result.uploaded
    assert s3.requested_keys("HeadObject") == []


def test_a_stop_in_a_large_file_saves_its_parts(
    card: LocalStore,
    target: S3Store,
    s3: S3Rig,
) -> None:
    large(card, "large", 24)
    stop = Event()

    def stopping(request: Request, forward: Forward) -> Response:
        stop.set()
        return forward(request)

    s3.fail("UploadPart", stopping, after=3)
    result = upload_footage(card, target, lambda so_far: None, stop)
    assert result.stopped and result.uploaded == 0
    sent = len(s3.requested_keys("UploadPart"))
    assert 4 <= sent < 24
    s3.reset()
    assert upload(card, target).uploaded == 1
    assert len(s3.requested_keys("UploadPart")) == 24 - sent


KILLED = """
import sys
from pathlib import Path
from threading import Event
from resources.storage.s3 import download, upload
from resources.storage.transfer import footage_upload
from resources.aws.clients import AwsClients
from resources.storage.local_store import LocalStore
from resources.settings.profile import Aws
from resources.storage.s3.store import S3Store
from resources.storage.transfer.footage_upload import upload_footage
for module in (download, upload, footage_upload):
    module.PART_BYTES = 2**16
footage_upload.RESUMABLE_BYTES = 8 * 2**16
target = S3Store(sys.argv[2], AwsClients(Aws(endpoint_url=sys.argv[3])))
upload_footage(LocalStore(Path(sys.argv[1])), target, lambda so_far: None, Event())
"""


def test_a_killed_upload_is_resumed(
    card: LocalStore,
    target: S3Store,
    s3: S3Rig,
) -> None:
    for number in range(20):
        put(card, f"{number:02d}.jpg", os.urandom(1000))
    upload(card, target)
    path = large(card, "large", 12)

    def forever(request: Request, forward: Forward) -> None:
        Event().wait(60)

    s3.fail("UploadPart", forever, times=1000, after=5)
    arguments = [str(card.root), target.url, s3.url]
    with subprocess.Popen([sys.executable, "-c", KILLED, *arguments]) as copying:
        while len(s3.requested_keys("UploadPart")) < 6:
            assert copying.poll() is None
            time.sleep(0.05)
        copying.kill()
    s3.reset()
    result = upload(card, target)
    assert (result.uploaded, result.present, result.failures) == (1, 20, [])
    assert len(s3.requested_keys("UploadPart")) <= 12 - 4
    assert target.read_bytes("large") == path.read_bytes()


@pytest.mark.parametrize("seed", range(4))
def test_after_any_faults_the_next_upload_completes(
    card: LocalStore, target: S3Store, s3: S3Rig, seed: int
) -> None:
    chance = random.Random(seed)
    slow_down = refuse(503, "SlowDown")
    faults = [drop, lose_response, corrupt_request, slow_down, refuse(400, "ExpiredToken")]
    operations = ["PutObject", "UploadPart", "CreateMultipartUpload", "CompleteMultipartUpload"]
    refused = 0
    for _ in range(5):
        for _ in range(6):
            size = chance.choice([0, 10, 10, PART, PART + 1, 9 * PART])
            put(card, f"{chance.choice('abc')}/{chance.randrange(5)}", chance.randbytes(size))
        for _ in range(chance.randrange(3)):
            times, after = chance.choice([1, 1, 3]), chance.randrange(6)
            operation = chance.choice([*operations, "ListObjectsV2", "HeadObject", "ListParts"])
            s3.fail(operation, chance.choice(faults), times, after=after)
        try:
            assert upload(card, target).failures == []
        except StoreError:
            refused += 1
        s3.reset()
    result = upload(card, target)
    assert result.uploaded + result.present == result.total_files
    assert copies(target) == {found.key: card.read_bytes(found.key) for found in card.list()}
    assert refused < 5
    again = upload(card, target)
    assert again.present == again.total_files


def test_a_stop_ends_the_checksum_of_a_large_file(card: LocalStore, target: S3Store) -> None:
    path = large(card, "large", 2)
    with pytest.raises(UploadStopped):
        digest_file(path, lambda: True)


def test_a_damaged_manifest_is_reported(card: LocalStore, target: S3Store) -> None:
    target.write_bytes(UPLOAD_MANIFEST, b"nonsense")
    with pytest.raises(StoreError, match=r"\.staged: is damaged; delete it"):
        upload(card, target)
