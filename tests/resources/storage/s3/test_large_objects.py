"""Large objects on S3: multipart uploads, ranged downloads, temporary files."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from s3_rig import (
    Forward,
    Request,
    Response,
    S3Rig,
    lose_response,
    refuse,
    s3,
    s3_server,
    small_parts,
    truncate,
)
from s3_store_rig import FOREVER, error_message, make_store, staged_copies, store, write

from resources.errors import StoreError
from resources.storage.s3.store import S3Store

__all__ = [
    "make_store",
    "s3",
    "s3_server",
    "small_parts",
    "store",
]  # pytest finds fixtures by their names


def test_a_large_object_is_uploaded_and_downloaded_in_parts(
    store: S3Store, s3: S3Rig, small_parts: int
) -> None:
    data = os.urandom(10 * small_parts + 1)
    write(store, "large", data)
    assert len(s3.requested_keys("UploadPart")) == 11
    s3.reset()
    with store.reading("large") as path:
        assert path.read_bytes() == data
    assert len(s3.requested_keys("GetObject")) == 12
    assert store.read_bytes("large") == data
    assert staged_copies(store) == []


def test_only_an_interrupted_part_is_downloaded_again(
    store: S3Store, s3: S3Rig, small_parts: int
) -> None:
    data = os.urandom(6 * small_parts)
    write(store, "large", data)
    s3.reset()
    s3.fail("GetObject", truncate, times=2, after=3)
    with store.reading("large") as path:
        assert path.read_bytes() == data
    assert len(s3.requested_keys("GetObject")) == 1 + 6 + 2


def test_an_object_that_is_replaced_during_a_download_is_downloaded_again(
    store: S3Store, s3: S3Rig, small_parts: int
) -> None:
    old, new = os.urandom(6 * small_parts), os.urandom(7 * small_parts)
    write(store, "large", old)

    def replace(request: Request, forward: Forward) -> Response:
        store.location.client.put_object(**store.location.name_of("large"), Body=new)
        return forward(request)

    s3.fail("GetObject", replace, after=3)
    with store.reading("large") as path:
        assert path.read_bytes() == new


def test_an_object_that_keeps_being_replaced_is_reported(
    store: S3Store, s3: S3Rig, small_parts: int
) -> None:
    write(store, "large", os.urandom(3 * small_parts))

    def replace(request: Request, forward: Forward) -> Response:
        if "range" in request.headers:
            store.location.client.put_object(
                **store.location.name_of("large"), Body=os.urandom(3 * small_parts)
            )
        return forward(request)

    s3.fail("GetObject", replace, FOREVER)
    with pytest.raises(StoreError, match="is being replaced"), store.reading("large"):
        pass


def test_a_failed_multipart_upload_leaves_nothing(
    store: S3Store, s3: S3Rig, small_parts: int
) -> None:
    store.write_bytes("large", b"old")
    s3.fail("UploadPart", refuse(400, "ExpiredToken"), FOREVER, after=3)
    assert "expired" in error_message(lambda: write(store, "large", os.urandom(9 * small_parts)))
    assert store.read_bytes("large") == b"old"
    bucket = store.location.bucket
    assert "Uploads" not in store.location.client.list_multipart_uploads(Bucket=bucket)
    assert staged_copies(store) == []


@pytest.mark.parametrize("operation", ["UploadPart", "CompleteMultipartUpload", "PutObject"])
def test_a_lost_response_loses_no_object(
    store: S3Store, s3: S3Rig, small_parts: int, operation: str
) -> None:
    data = os.urandom(3 * small_parts)
    s3.fail(operation, lose_response)
    write(store, "large", data)
    store.write_bytes("small", b"1")
    assert store.read_bytes("large") == data
    assert store.read_bytes("small") == b"1"


def test_objects_without_our_metadata_are_read(store: S3Store, small_parts: int) -> None:
    data = os.urandom(3 * small_parts)
    store.location.client.put_object(**store.location.name_of("video.mp4"), Body=data)
    with store.reading("video.mp4") as path:
        assert path.read_bytes() == data
    assert store.read_bytes("video.mp4") == data


@pytest.mark.skipif(sys.platform != "linux", reason="mounting a small disk needs Linux")
def test_too_small_a_staging_disk_is_reported_before_it_is_full(
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
        message = r"disk: no room for copies .*film\.mp4, 0\.0 GiB"
        with pytest.raises(StoreError, match=message), small.reading("film.mp4"):
            pass
        with pytest.raises(StoreError, match="no room"), small.writing("film.mp4") as path:
            path.write_bytes(b"x" * 2_000_000)
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_temporary_copies_are_separate_and_deleted(store: S3Store) -> None:
    for number in range(5):
        store.write_bytes(f"{number}.parquet", str(number).encode())
    with ExitStack() as stack:
        paths = [stack.enter_context(store.reading(f"{number}.parquet")) for number in range(5)]
        assert [path.read_text() for path in paths] == ["0", "1", "2", "3", "4"]
        assert len(staged_copies(store)) == 5
    assert staged_copies(store) == []
