"""The cost of a sensor scan with a million stored files: seconds, requests to AWS, state.

    python benchmarks/million_keys.py [--keys 1000000]

S3 and SQS are a small local server that generates the listing of 200 cameras on request, so that
requests have no network latency. Scans are measured

- with a queue and 10 or 1,000 new files,
- without a queue: from the first key to the last, some pages per scan.
"""

import argparse
import hashlib
import json
import os
import re
import resource
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from odins_ravne_assets.arrivals.s3_source import S3UploadSource
from odins_ravne_assets.arrivals.sensor_state import SensorState
from resources.aws.clients import AwsClients
from resources.sandbox.model.config import CREDENTIALS
from resources.settings.profile import Aws, Uploads

BUCKET, CAMERAS, BYTES = "bucket", 200, 2_000_000
MODIFIED, MODIFIED_S = "2026-05-14T21:40:12.000Z", 1_778_794_812
NUMBER = re.compile(r"cam-(\d{3})/(\d{7})")
EVENT = """{{"Records": [{{"eventName": "ObjectCreated:Put", "eventTime": "2026-05-15T00:00:00Z",
"s3": {{"bucket": {{"name": "bucket"}}, "object": {{"key": "cam-{:03}/new-{:07}.JPG"}}}}}}]}}"""


class Responses(BaseHTTPRequestHandler):
    """ListObjectsV2 of a bucket with `keys` keys, and a queue; nothing else."""

    protocol_version = "HTTP/1.1"
    keys = 0
    queue: list[str] = []  # noqa: RUF012 - one for all requests

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answer: dict[str, Any] = {"Successful": [], "Failed": []}
        if self.headers["X-Amz-Target"].endswith("ReceiveMessage"):
            some = [self.queue.pop() for _ in range(min(10, len(self.queue)))]
            answer = {"Messages": [_message(body) for body in some]}
        self._answer(json.dumps(answer).encode())

    def do_GET(self) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        each = self.keys // CAMERAS
        after = query.get("continuation-token") or query.get("start-after", "")
        prefix = NUMBER.match(query.get("prefix", "") + "0000000")
        first, end = (int(prefix[1]) * each, (int(prefix[1]) + 1) * each) if prefix else (0, 1)
        if not prefix:
            end = self.keys
        if found := NUMBER.match(after):
            first = int(found[1]) * each + int(found[2]) + 1
        stop = min(end, first + int(query.get("max-keys", 1000)))
        keys = [f"cam-{n // each:03}/{n % each:07}.JPG" for n in range(first, stop)]
        token = f"<NextContinuationToken>{keys[-1]}</NextContinuationToken>" if stop < end else ""
        contents = "".join(
            f"<Contents><Key>{key}</Key><LastModified>{MODIFIED}</LastModified>"
            f"<Size>{BYTES}</Size></Contents>"
            for key in keys
        )
        body = (
            f"<ListBucketResult><IsTruncated>{str(stop < end).lower()}</IsTruncated>"
            f"{token}{contents}</ListBucketResult>"
        ).encode()
        self._answer(body)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


def _message(body: str) -> dict[str, str]:
    """Return a message with a receipt of the length of SQS's."""
    digest = hashlib.md5(body.encode()).hexdigest()
    return {"MessageId": digest, "ReceiptHandle": digest * 12, "MD5OfBody": digest, "Body": body}


@contextmanager
def server(keys: int) -> Iterator[str]:
    """Run the server and provide its endpoint."""
    Responses.keys = keys
    answers = ThreadingHTTPServer(("127.0.0.1", 0), Responses)
    threading.Thread(target=answers.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{answers.server_port}"
    answers.shutdown()


class Clients(AwsClients):
    """Clients that count their requests."""

    def __init__(self, endpoint_url: str) -> None:
        super().__init__(Aws(endpoint_url=endpoint_url))
        self.endpoint_url = endpoint_url
        self.requests: Counter[str] = Counter()

    def of(self, service: str) -> Any:
        client = super().of(service)
        client.meta.events.register(f"before-send.{service}", self._count, unique_id="count")
        return client

    def _count(self, event_name: str, **_: Any) -> None:
        self.requests[event_name.rpartition(".")[2]] += 1


def known(keys: int, camera: str) -> set[tuple[str, int, int]]:
    """Return the media table of a camera that has everything that is listed."""
    if not camera.startswith("cam-"):
        return set()
    return {(f"{n:07}.JPG", BYTES, MODIFIED_S * 10**9) for n in range(keys // CAMERAS)}


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def scan(what: str, source: S3UploadSource, clients: Clients, cursor: str, now: float) -> str:
    clients.requests.clear()
    began = time.perf_counter()
    state = SensorState.read(cursor)
    source.scan(state, now)
    cursor = state.text()
    seconds, requests = time.perf_counter() - began, clients.requests.total()
    print(f"{what:<44}{seconds:>8.2f} s{requests:>7} requests  cursor {len(cursor) / 1024:.0f} KiB")
    return cursor


def with_queue(keys: int, clients: Clients) -> None:
    queue_url = f"{clients.endpoint_url}/123456789012/uploads"
    uploads = Uploads(url=f"s3://{BUCKET}", queue_url=queue_url)
    source = S3UploadSource(uploads, clients, lambda camera: known(keys, camera), lambda _: False)
    now = time.time()
    cursor = SensorState(listed_at=now).text()
    cursor = scan("with a queue, nothing new", source, clients, cursor, now)
    for new in (10, 1000):
        Responses.queue += [EVENT.format(number % CAMERAS, number) for number in range(new)]
        cursor = scan(f"with a queue, {new:,} new files", source, clients, cursor, now + new)


def without_queue(keys: int, clients: Clients) -> None:
    uploads = Uploads(url=f"s3://{BUCKET}")
    source = S3UploadSource(uploads, clients, lambda camera: known(keys, camera), lambda _: False)
    now, cursor = time.time(), ""
    for what in ("first listing", "second listing, nothing changed"):
        scans: list[float] = []
        clients.requests.clear()
        state = SensorState.read(cursor)
        while not scans or state.sweep.began:
            began = time.perf_counter()
            state = SensorState.read(cursor)
            source.scan(state, now)
            cursor = state.text()
            scans.append(time.perf_counter() - began)
        requests = clients.requests.total()
        each = f"{len(scans)} scans of at most {max(scans):.2f} s"
        size = f"cursor {len(cursor) / 1024:.0f} KiB"
        print(f"{'without a queue, ' + what:<44}{sum(scans):>8.2f} s{requests:>7} requests  {size}")
        print(f"{'':<44}{each}")
        now += 7200


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of a scan with a million files.")
    parser.add_argument("--keys", type=int, default=1_000_000)
    keys = parser.parse_args().keys
    os.environ.update(CREDENTIALS)
    with server(keys) as endpoint_url:
        clients = Clients(endpoint_url)
        clients.of("s3"), clients.of("sqs")
        before = peak_mib()
        with_queue(keys, clients)
        without_queue(keys, clients)
    print(f"peak memory: {peak_mib():.0f} MiB, {peak_mib() - before:.0f} of them for the scans")


if __name__ == "__main__":
    main()
