"""How fast does footage go up to S3, and down again? `python benchmarks/staging.py`.

Copies many small files, copies them again (nothing to do), copies one large file, reads it back,
and lists all; against moto's server in a process of its own, or any other S3 with `--endpoint`
(credentials from the environment). Prints a row for each, and the peak memory of this process.
moto answers about 200 requests a second on one core, so this measures it more than us: what counts
is that the requests are few and go out together.
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
    """Its URL, for as long as the context lasts."""
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
    """Do the work and print how fast it went."""
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    speed = f"{count / seconds:9.0f} files/s {size / seconds / 1e6:8.1f} MB/s"
    print(f"{what:34} {seconds:7.2f} s {speed}")


def copy(source: LocalStore, target: S3Store) -> UploadProgress:
    """Copy, and make sure that all was copied."""
    staged = upload_footage(source, target, lambda so_far: None, Event())
    assert staged.uploaded + staged.present == staged.total_files, staged.failures
    return staged


def read_back(store: S3Store, key: str) -> None:
    """Read one object into a file; it is compared with its checksum."""
    with store.reading(key):
        pass


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--file-kb", type=int, default=50)
    parser.add_argument("--large-mb", type=int, default=200)
    parser.add_argument("--endpoint", help="another S3 than moto's")
    asked = parser.parse_args()
    server = nullcontext(asked.endpoint) if asked.endpoint else moto_server()
    with server as endpoint, tempfile.TemporaryDirectory() as folder:
        clients = AwsClients(Aws(endpoint_url=endpoint))
        bucket = f"benchmark-{uuid.uuid4()}"
        location = {"LocationConstraint": "eu-north-1"}
        clients.of("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
        small, large = LocalStore(Path(folder, "small")), LocalStore(Path(folder, "large"))
        for number in range(asked.files):
            name = f"{100 + number // FILES_IN_FOLDER}MEDIA/IMG_{number:05d}.JPG"
            small.write_bytes(name, os.urandom(asked.file_kb * 1000))
        with large.writing("long.mp4") as path, path.open("wb") as film_file:
            for _ in range(asked.large_mb):  # not at once: this process's memory is measured
                film_file.write(os.urandom(1_000_000))
        up, film = S3Store(f"s3://{bucket}/up", clients), S3Store(f"s3://{bucket}/film", clients)
        size, large_size = asked.files * asked.file_kb * 1000, asked.large_mb * 1_000_000
        timed(f"{asked.files} files go up", lambda: copy(small, up), asked.files, size)
        timed("again: all are there", lambda: copy(small, up), asked.files, size)
        timed("listed", lambda: list(up.list()), asked.files, 0)
        timed(f"{asked.large_mb} MB go up", lambda: copy(large, film), 1, large_size)
        timed(f"{asked.large_mb} MB come down", lambda: read_back(film, "long.mp4"), 1, large_size)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory of this process {peak / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
