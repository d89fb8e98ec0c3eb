"""One writer at a time on S3: a lease that must be renewed, and ends with its holder.

The lease is an object that is only ever written on condition that it is still the one that was
read. Nobody compares two machines' clocks: a holder renews it every RENEW_SECONDS, and whoever sees
it unchanged for EXPIRY_SECONDS of their own clock takes it over. Its age by S3's clock spares that
waiting where the holder is long gone. A holder counts from before it wrote, a successor from after
it read, so the holder gives up first.
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
from resources.errors import StoreError
from resources.storage.s3.download import S3Download
from resources.storage.s3.errors import RUN_AGAIN, NoSuchObjectError
from resources.storage.s3.location import S3Location
from resources.storage.s3.upload import PreconditionFailedError, S3Upload

RENEW_SECONDS = 20.0
EXPIRY_SECONDS = 90.0
# A holder gives up so much earlier: a write that it has begun may end in this time.
MARGIN_SECONDS = 15.0
POLL_SECONDS = 5.0

log = logging.getLogger(__name__)


class _Seen(NamedTuple):
    """The lease as S3 has it."""

    etag: str
    text: bytes
    age: float  # seconds, by S3's clock

    def is_over(self) -> bool:
        """Whether nobody holds it, as far as one look can tell."""
        return self.text == _text(None, 0) or self.age >= EXPIRY_SECONDS


def _text(holder: str | None, count: int) -> bytes:
    """What the object says; the count makes each renewal an object of its own."""
    return json.dumps({"holder": holder, "renewed": count}).encode() + b"\n"


class Lease:
    """The right to write to a place, for one holder, once.

    Args:
        key: of the object that stands for it.
    """

    def __init__(
        self, place: S3Location, key: str, download: S3Download, upload: S3Upload, clock: Clock
    ) -> None:
        self._place = place
        self._key = key
        self._download = download
        self._upload = upload
        self._clock = clock
        # The host and process are for people who wonder whom they wait for.
        self._holder = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex}"
        self._renewals = 0
        self._etag = ""
        self._renewed = 0.0  # when the last renewal that arrived was begun
        self._taken = False  # by another
        self._renewing = Lock()
        self._ended = Event()

    @contextmanager
    def held(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """Hold the lease; another holder's end is waited for.

        Args:
            on_wait: called at each look while there is another; what it raises ends the waiting.

        Raises:
            StoreError: S3 cannot be asked.
        """
        self._acquire(on_wait)
        renewing = Thread(target=self._keep_renewing, name="lease", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            self._ended.set()
            renewing.join()
            self._release()

    def check(self) -> None:
        """Make sure that the lease is still held.

        After a sleep or an outage it is renewed here: if nobody took it over, nothing is lost.

        Raises:
            StoreError: another holds it now, or S3 cannot be asked.
        """
        if self._clock.now() - self._renewed >= EXPIRY_SECONDS - MARGIN_SECONDS:
            self._renew()
        if self._taken:
            raise StoreError(
                f"{self._place.url}: another run has taken over, because this one was asleep or "
                f"cut off from S3 for too long; {RUN_AGAIN}"
            )

    def _acquire(self, on_wait: Callable[[], None]) -> None:
        """Make the object if there is none; else look until it may be taken over."""
        watched, since, told = "", 0.0, False
        won = self._write(self._holder, 0, IfNoneMatch="*")
        while not won:
            seen = self._look()
            now = self._clock.now()
            if seen is None:
                won = self._write(self._holder, 0, IfNoneMatch="*")
            elif seen.is_over() or (seen.etag == watched and now - since >= EXPIRY_SECONDS):
                won = self._write(self._holder, 0, IfMatch=seen.etag)
            else:
                if seen.etag != watched:
                    watched, since = seen.etag, now
                if not told:
                    on_wait()
                    told = True
                self._clock.sleep(POLL_SECONDS)

    def _keep_renewing(self) -> None:
        while not self._taken and not self._clock.sleep(RENEW_SECONDS, self._ended):
            try:
                self._renew()
            except StoreError as error:
                # Not the end yet: `check` tells when it is.
                log.warning("the lease could not be renewed: %s", error)

    def _renew(self) -> None:
        with self._renewing:
            self._renewals += 1
            if not self._taken:
                self._taken = not self._write(self._holder, self._renewals, IfMatch=self._etag)

    def _release(self) -> None:
        if self._taken:
            return
        try:
            self._write(None, 0, IfMatch=self._etag)
        except StoreError as error:
            # The work is done, and the lease ends by itself.
            log.warning("the lease is free in %g s only: %s", EXPIRY_SECONDS, error)

    def _look(self) -> _Seen | None:
        try:
            data, answer = self._download.whole(self._key)
        except NoSuchObjectError:
            return None
        said = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        return _Seen(answer["ETag"], data, (said - answer["LastModified"]).total_seconds())

    def _write(self, holder: str | None, renewals: int, **condition: str) -> bool:
        """Write the lease; tells whether it is ours now."""
        text = _text(holder, renewals)
        began = self._clock.now()
        try:
            etag = self._upload.put(self._key, text, **condition)
        except PreconditionFailedError:
            # It may be our own write that is there: the first try arrived, its answer did not.
            seen = self._look()
            if seen is None or seen.text != text:
                return False
            etag = seen.etag
        self._etag, self._renewed = etag, began
        return True
