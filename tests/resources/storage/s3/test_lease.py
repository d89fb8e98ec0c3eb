"""The lease of a store on S3: one writer at a time."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from s3_rig import Forward, Request, Response, S3Rig, drop, lose_response, s3, s3_server
from s3_store_rig import FOREVER, SCALE, error_message, make_store, store, write

from resources.clock import ScaledClock
from resources.errors import StoreError
from resources.storage.layout import LOCK_FILE
from resources.storage.s3.lease import EXPIRY_SECONDS
from resources.storage.s3.store import S3Store

__all__ = ["make_store", "s3", "s3_server", "store"]  # pytest finds fixtures by their names

HOLD = """
import sys, time
from resources.aws.clients import AwsClients
from resources.clock import ScaledClock
from resources.settings.profile import Aws
from resources.storage.s3.store import S3Store
clock = ScaledClock(float(sys.argv[3]))
store = S3Store(sys.argv[1], AwsClients(Aws(endpoint_url=sys.argv[2])), None, clock)
with store.exclusive(lambda: print("waiting", flush=True)):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def holding(store: S3Store, s3: S3Rig) -> Iterator["subprocess.Popen[str]"]:
    """Run another process that holds the lease until it is killed."""
    arguments = [store.url, s3.url, str(SCALE)]
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout and process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_the_lease_of_a_killed_holder_expires(store: S3Store, s3: S3Rig) -> None:
    waited = threading.Event()
    with holding(store, s3) as process:

        def kill() -> None:
            waited.set()
            process.kill()

        with store.exclusive(kill):
            store.write_bytes("key", b"1")
    assert waited.is_set()
    assert process.returncode


def test_a_living_holder_renews_its_lease(store: S3Store, s3: S3Rig) -> None:
    """The wait is much longer than a lease without renewals."""
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


def test_a_lease_that_is_expired_by_s3s_clock_is_taken_over_at_once(
    store: S3Store, s3: S3Rig
) -> None:
    old = json.dumps({"holder": "dead", "renewed": 3}).encode()
    store.location.client.put_object(**store.location.name_of(LOCK_FILE), Body=old)

    def later(request: Request, forward: Forward) -> Response:
        response = forward(request)
        headers = [(n, v) for n, v in response.headers if n.lower() != "last-modified"]
        headers.append(("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"))
        return Response(response.status, headers, response.body)

    s3.fail("GetObject", later, times=2)
    with store.exclusive(lambda: pytest.fail("waits for a holder that died")):
        pass


class _SuspendedClock(ScaledClock):
    """Time passes, but sleep never ends by itself, as on a suspended laptop."""

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> bool:
        return (wake or threading.Event()).wait(60)


def suspended_store(store: S3Store, s3: S3Rig) -> S3Store:
    return S3Store(store.url, s3.clients(), None, _SuspendedClock(SCALE))


def test_a_suspended_holder_cannot_write_after_another_took_over(store: S3Store, s3: S3Rig) -> None:
    suspended = suspended_store(store, s3)
    with suspended.exclusive(lambda: None), store.exclusive(lambda: None):
        for work in (
            lambda: suspended.write_bytes("key", b"late"),
            lambda: write(suspended, "key", b"late"),
            lambda: suspended.delete("key"),
        ):
            assert "another run has taken over" in error_message(work)
        assert not store.exists("key")
        store.write_bytes("key", b"1")
    with store.exclusive(lambda: pytest.fail("the suspended holder has it")):
        assert store.read_bytes("key") == b"1"


def test_a_suspended_holder_renews_an_expired_lease_that_is_still_its_own(
    store: S3Store, s3: S3Rig
) -> None:
    suspended = suspended_store(store, s3)
    with suspended.exclusive(lambda: None):
        time.sleep(1.2 * EXPIRY_SECONDS / SCALE)
        before = suspended.read_bytes(LOCK_FILE)
        suspended.write_bytes("key", b"1")
        assert suspended.read_bytes(LOCK_FILE) != before
    assert store.read_bytes("key") == b"1"


def test_a_disconnected_holder_cannot_write_after_expiry(store: S3Store, s3: S3Rig) -> None:
    suspended = suspended_store(store, s3)
    with suspended.exclusive(lambda: None):
        time.sleep(1.2 * EXPIRY_SECONDS / SCALE)
        s3.fail("PutObject", drop, FOREVER, key="out put/.lock")
        assert "check the network" in error_message(lambda: suspended.write_bytes("key", b"1"))
        assert s3.requested_keys("PutObject")[-1] == "out put/.lock"
        s3.reset()


def test_a_holder_notices_that_its_lease_was_overwritten(
    make_store: Callable[[], S3Store], s3: S3Rig
) -> None:
    former = make_store()
    other = json.dumps({"holder": "another", "renewed": 0}).encode()
    with former.exclusive(lambda: None):
        former.location.client.put_object(**former.location.name_of(LOCK_FILE), Body=other)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                former.write_bytes("key", b"")
            except StoreError:
                break
        assert "another run has taken over" in error_message(lambda: former.write_bytes("key", b""))
    assert former.read_bytes(LOCK_FILE) == other


def test_a_lost_response_does_not_lose_the_lease(store: S3Store, s3: S3Rig) -> None:
    s3.fail("PutObject", lose_response)
    with store.exclusive(lambda: pytest.fail("waits for itself")):
        s3.fail("PutObject", lose_response)
        time.sleep(1.5 * EXPIRY_SECONDS / SCALE)
        store.write_bytes("key", b"1")
    assert store.read_bytes("key") == b"1"


def test_of_many_writers_one_at_a_time_holds_the_lease(make_store: Callable[[], S3Store]) -> None:
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
