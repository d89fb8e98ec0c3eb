"""A lease on S3: the lock of one writer, which must be renewed and expires with its holder.

The lease is an object that is written only on the condition that it is still the version that was
read. Clocks of two machines are never compared: the holder renews it every RENEW_SECONDS, and a
waiting writer takes it over once it stays unchanged for EXPIRY_SECONDS of the waiter's clock. Its
age by S3's clock avoids that wait if the holder died long ago. A holder counts from before its
write, a successor from after its read, so the holder gives up first.
"""

import json
import logging
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from threading import Event, Lock, Thread
from typing import NamedTuple

from resources.clock import Clock
from resources.errors import LeaseLostError, StoreError
from resources.storage.s3.download import S3Downloader
from resources.storage.s3.errors import RUN_AGAIN, NoSuchObjectError
from resources.storage.s3.location import S3Location
from resources.storage.s3.upload import PreconditionFailedError, S3Uploader

RENEW_SECONDS = 20.0
EXPIRY_SECONDS = 90.0
# A holder gives up this much earlier, so that a write that it has begun can end in time.
MARGIN_SECONDS = 15.0
POLL_SECONDS = 5.0

log = logging.getLogger(__name__)


class _LeaseObject(NamedTuple):
    """The lease object, as read from S3."""

    etag: str
    text: bytes
    age: float  # seconds, by S3's clock

    def is_free(self) -> bool:
        """Return True if it is known to be released or expired."""
        return self.text == _text(None, 0) or self.age >= EXPIRY_SECONDS


def _text(holder: str | None, renewals: int) -> bytes:
    """Return the object's content; the count gives each renewal a different ETag."""
    return json.dumps({"holder": holder, "renewed": renewals}).encode() + b"\n"


class Lease:
    """The exclusive right to write to a location, for one holder, once.

    Args:
        key: of the lease object.
    """

    def __init__(
        self,
        location: S3Location,
        key: str,
        downloader: S3Downloader,
        uploader: S3Uploader,
        clock: Clock,
    ) -> None:
        self._location = location
        self._key = key
        self._downloader = downloader
        self._uploader = uploader
        self._clock = clock
        # The host and process tell a user which run holds the lease.
        self._holder = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex}"
        self._renewals = 0
        self._etag = ""
        self._renewed_at = 0.0  # start of the last successful renewal
        self._lost = False  # to another holder
        self._renew_lock = Lock()
        self._ended = Event()

    @contextmanager
    def hold(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """Hold the lease while the context lasts; wait until another holder's lease ends.

        Args:
            on_wait: called once if there is another holder; an exception that it raises ends
                the wait.

        Raises:
            StoreError: S3 refuses, or cannot be reached.
        """
        self._acquire(on_wait)
        renewing = Thread(target=self._renew_until_end, name="lease", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            self._ended.set()
            renewing.join()
            self._release()

    def check(self) -> None:
        """Make sure that the lease is still held, before a write.

        After a sleep of this machine or an outage it is renewed here: if no other run took it
        over, nothing is lost.

        Raises:
            LeaseLostError: another run holds it now.
            StoreError: S3 cannot be reached.
        """
        if self._clock.now() - self._renewed_at >= EXPIRY_SECONDS - MARGIN_SECONDS:
            self._renew()
        if self._lost:
            raise LeaseLostError(
                f"{self._location.url}: another run has taken over, because this one was asleep "
                f"or disconnected from S3 for too long; {RUN_AGAIN}"
            )

    def _acquire(self, on_wait: Callable[[], None]) -> None:
        """Create the object if there is none; else poll until it may be taken over."""
        watched, since, has_reported = "", 0.0, False
        acquired = self._write(self._holder, 0, if_absent=True)
        while not acquired:
            current = self._read()
            now = self._clock.now()
            if current is None:
                acquired = self._write(self._holder, 0, if_absent=True)
            elif current.is_free() or (current.etag == watched and now - since >= EXPIRY_SECONDS):
                acquired = self._write(self._holder, 0, if_match=current.etag)
            else:
                if current.etag != watched:
                    watched, since = current.etag, now
                if not has_reported:
                    on_wait()
                    has_reported = True
                self._clock.sleep(POLL_SECONDS)

    def _renew_until_end(self) -> None:
        while not self._lost and not self._clock.sleep(RENEW_SECONDS, self._ended):
            try:
                self._renew()
            except StoreError as error:
                # Not lost yet: `check` decides.
                log.warning("the lease could not be renewed: %s", error)

    def _renew(self) -> None:
        with self._renew_lock:
            self._renewals += 1
            if not self._lost:
                self._lost = not self._write(self._holder, self._renewals, if_match=self._etag)

    def _release(self) -> None:
        if self._lost:
            return
        try:
            self._write(None, 0, if_match=self._etag)
        except StoreError as error:
            # The work is done, and the lease expires by itself.
            log.warning("the lease expires in %g s only: %s", EXPIRY_SECONDS, error)

    def _read(self) -> _LeaseObject | None:
        try:
            data, response = self._downloader.read(self._key)
        except NoSuchObjectError:
            return None
        now = parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"])
        age = (now - response["LastModified"]).total_seconds()
        return _LeaseObject(response["ETag"], data, age)

    def _write(
        self,
        holder: str | None,
        renewals: int,
        *,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> bool:
        """Write the lease conditionally; return True if this holder has it now."""
        text = _text(holder, renewals)
        began = self._clock.now()
        try:
            etag = self._uploader.put(self._key, text, if_match=if_match, if_absent=if_absent)
        except PreconditionFailedError:
            # It may be our own write: the first attempt arrived, its response did not.
            current = self._read()
            if current is None or current.text != text:
                return False
            etag = current.etag
        self._etag, self._renewed_at = etag, began
        return True
