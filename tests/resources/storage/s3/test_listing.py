"""Listings of S3: order, errors, memory."""

import bisect
import threading
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from s3_rig import S3Rig, refuse, s3, s3_server
from s3_store_rig import FOREVER, error_message, make_store, store

from resources.aws.clients import AwsClients
from resources.errors import StoreError
from resources.settings.profile import Aws
from resources.storage.object_store import key_order
from resources.storage.s3.listing import S3Listing
from resources.storage.s3.location import S3Location
from resources.storage.s3.store import S3Store

__all__ = ["make_store", "s3", "s3_server", "store"]  # pytest finds fixtures by their names


def test_a_folder_without_permission_is_reported_and_skipped(store: S3Store, s3: S3Rig) -> None:
    for key in ("a/1", "closed/2", "closed/deep/3", "d/4"):
        store.write_bytes(key, b"")
    reported: list[tuple[str, str]] = []
    s3.fail("ListObjectsV2", refuse(403, "AccessDenied"), FOREVER, key="out put/closed/")
    found = store.list("", on_error=lambda key, reason: reported.append((key, reason)))
    assert [stored.key for stored in found] == ["a/1", "d/4"]
    assert reported == [
        (
            "closed/",
            "permission denied: the credentials need s3:ListBucket here; for a requester pays "
            "bucket, set cloud.aws.requester_pays",
        ),
    ]
    assert "closed: cannot be listed: permission denied" in error_message(
        lambda: list(store.list())
    )


def test_a_store_without_permission_is_reported_as_a_whole(store: S3Store, s3: S3Rig) -> None:
    reported: list[str] = []
    s3.fail("ListObjectsV2", refuse(403, "AccessDenied"), FOREVER)
    assert list(store.list("", on_error=lambda key, reason: reported.append(key))) == []
    assert reported == ["."]


def test_an_outage_is_an_error_not_a_skipped_folder(store: S3Store, s3: S3Rig) -> None:
    s3.fail("ListObjectsV2", refuse(500, "InternalError"), FOREVER)
    reported: list[str] = []
    with pytest.raises(StoreError, match="S3 fails in every attempt"):
        list(store.list("", on_error=lambda key, reason: reported.append(key)))
    assert reported == []


def test_names_that_no_file_can_have_are_reported_once_per_folder(store: S3Store) -> None:
    folder_objects = ["", "created in the console/"]
    invalid = ["/leading", "a//b", "a//c/d", "a/../e", "./f", "content under a slash/"]
    for key in [*folder_objects, *invalid, "a/fine"]:
        body = b"content" if key == "content under a slash/" else b""
        store.location.client.put_object(**store.location.name_of(key), Body=body)
    reported: list[str] = []
    found = list(store.list("", on_error=lambda key, reason: reported.append(key)))
    assert [stored.key for stored in found] == ["a/fine"]
    assert reported == ["/", "./", "a//", "a/../", "content under a slash//"]
    assert "no file can have; rename them" in error_message(lambda: list(store.list()))


def test_an_object_can_have_the_name_of_a_folder(store: S3Store) -> None:
    for key in ("a", "a/b", "a-1"):
        store.write_bytes(key, b"")
    assert [stored.key for stored in store.list()] == ["a", "a/b", "a-1"]


class _Keys(BaseHTTPRequestHandler):
    """ListObjectsV2 of any number of keys (moto scans all of them for each page)."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    keys: list[str]
    pages: int

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

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
        self._respond(entries, delimiter, more)

    def _respond(self, entries: list[str], delimiter: str, more: bool) -> None:
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
    """A bucket with settable keys, and its client."""
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


def test_any_keys_are_listed_once_and_in_order_for_any_page_size(
    keys_server: tuple[type[_Keys], Any],
) -> None:
    handler, client = keys_server

    @settings(max_examples=100, deadline=None)
    @given(KEYS, st.integers(1, 5))
    def check(keys: list[str], page: int) -> None:
        handler.keys = sorted(set(keys))
        listing = S3Listing(S3Location(client, "bucket", ""), page)
        found = [stored.key for stored in listing.objects("", None)]
        assert found == sorted(handler.keys, key=key_order)

    check()


def test_a_hundred_thousand_objects_are_streamed(keys_server: tuple[type[_Keys], Any]) -> None:
    handler, client = keys_server
    handler.keys = sorted(f"DCIM/{n // 9999}EK/cam-1 2024-05-{n:06d}.JPG" for n in range(100_000))
    objects = S3Listing(S3Location(client, "bucket", "DCIM/")).objects("", None)
    next(objects)
    # The folders, a page of the first, and whether a folder "cam" or "cam-1 2024" sorts before.
    assert handler.pages <= 8
    tracemalloc.start()
    for _ in islice(objects, 3_000):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 2**20


def test_a_key_in_five_hundred_folders_is_listed(keys_server: tuple[type[_Keys], Any]) -> None:
    handler, client = keys_server
    handler.keys = ["a/" * 511 + "b"]
    listing = S3Listing(S3Location(client, "bucket", ""))
    assert [stored.key for stored in listing.objects("", None)] == handler.keys
