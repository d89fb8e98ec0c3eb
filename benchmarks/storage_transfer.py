"""The speed of uploads to S3 and downloads: `python benchmarks/storage_transfer.py`.

Uploads many small files, uploads them again (nothing to do), uploads a large file, downloads it,
and lists all; to moto's server in a separate process, or to another S3 with `--endpoint`
(credentials from the environment). Prints a row for each, and the peak memory of this process. moto
handles about 200 requests a second on one core and is the bottleneck: what counts is that requests
are few and parallel.
"""

import argparse
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Event

from resources.aws.clients import AwsClients
from resources.settings.profile import Aws
from resources.storage.local_store import LocalStore
from resources.storage.s3.store import S3Store
from resources.storage.transfer.footage_upload import UploadProgress, upload_footage

FILES_IN_FOLDER = 500


@contextmanager
def moto_server() -> Iterator[str]:
    """Run moto's server and provide its URL."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    # werkzeug writes a line for each request.
    with subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)], stderr=subprocess.DEVNULL
    ) as server:
        try:
            while server.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                except OSError:
                    time.sleep(0.1)
                else:
                    break
            os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


def timed(what: str, work: Callable[[], object], count: int, size: int) -> None:
    """Do the work and print its speed."""
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    speed = f"{count / seconds:9.0f} files/s {size / seconds / 1e6:8.1f} MB/s"
    print(f"{what:34} {seconds:7.2f} s {speed}")


def upload(source: LocalStore, target: S3Store) -> UploadProgress:
    """Upload, and check that all files are there."""
    progress = upload_footage(source, target, lambda so_far: None, Event())
    assert progress.uploaded + progress.present == progress.total_files, progress.failures
    return progress


def read_back(store: S3Store, key: str) -> None:
    """Download an object to a file, with its checksum."""
    with store.reading(key):
        pass


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--file-kb", type=int, default=50)
    parser.add_argument("--large-mb", type=int, default=200)
    parser.add_argument("--endpoint", help="URL of another S3; default: moto")
    options = parser.parse_args()
    server = nullcontext(options.endpoint) if options.endpoint else moto_server()
    with server as endpoint, tempfile.TemporaryDirectory() as folder:
        clients = AwsClients(Aws(endpoint_url=endpoint))
        bucket = f"benchmark-{uuid.uuid4()}"
        location = {"LocationConstraint": "eu-north-1"}
        clients.of("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
        small, large = LocalStore(Path(folder, "small")), LocalStore(Path(folder, "large"))
        for number in range(options.files):
            name = f"{100 + number // FILES_IN_FOLDER}MEDIA/IMG_{number:05d}.JPG"
            small.write_bytes(name, os.urandom(options.file_kb * 1000))
        with large.writing("long.mp4") as path, path.open("wb") as film_file:
            for _ in range(options.large_mb):  # in parts: the memory of this process is measured
                film_file.write(os.urandom(1_000_000))
        up, film = S3Store(f"s3://{bucket}/up", clients), S3Store(f"s3://{bucket}/film", clients)
        size, large_size = options.files * options.file_kb * 1000, options.large_mb * 1_000_000
        timed(f"{options.files} files uploaded", lambda: upload(small, up), options.files, size)
        timed("again: all are present", lambda: upload(small, up), options.files, size)
        timed("listed", lambda: list(up.list()), options.files, 0)
        timed(f"{options.large_mb} MB uploaded", lambda: upload(large, film), 1, large_size)
        timed(
            f"{options.large_mb} MB downloaded", lambda: read_back(film, "long.mp4"), 1, large_size
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory of this process {peak / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
