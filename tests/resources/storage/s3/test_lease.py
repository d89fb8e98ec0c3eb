"""One writer of a place on S3: the lease."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from s3_rig import Answer, Forward, Request, S3Rig, drop, lose_answer, s3, s3_server
from s3_store_rig import FOREVER, SCALE, complaint, make_store, store, write

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
    store.location.client.put_object(**store.location.name_of(LOCK_FILE), Body=old)

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
            lambda: write(sleeper, "key", b"late"),
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
        robbed.location.client.put_object(**robbed.location.name_of(LOCK_FILE), Body=other)
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
