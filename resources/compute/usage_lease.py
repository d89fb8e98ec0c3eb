"""What says that a run uses the machines and queues, so that nobody takes them away.

A hold is an object in the bucket, below `in-use/`, written before a run looks at the queues and
renewed while it goes on, also while nothing of it is in a queue. Whoever wants to take the queues
away disables them first and then looks for holds (`cleanup.py`). So either the run sees that
they are disabled, or its hold is seen: S3 shows what is written at once.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread

from resources.clock import Clock
from resources.errors import StoreError
from resources.storage.object_store import ObjectStore

RENEW_SECONDS = 300.0
# A hold that was not renewed for so long is that of a run which is gone.
EXPIRY_SECONDS = 900.0

log = logging.getLogger(__name__)


def lease_folder(output_url: str) -> str:
    """The folder of a camera's holds: a hash, since an OUTPUT can be longer than a name may be."""
    return hashlib.sha256(output_url.rstrip("/").encode()).hexdigest()[:16]


def list_leases(store: ObjectStore) -> Mapping[str, int]:
    """All holds: when each was renewed last, by S3's clock, in nanoseconds since 1970 UTC.

    Args:
        store: of FOLDER.

    Raises:
        StoreError: it cannot be listed.
    """
    return {found.key: found.modified_ns for found in store.list()}


@contextmanager
def lease_compute(store: ObjectStore, output_url: str, run_id: str, clock: Clock) -> Iterator[None]:
    """Hold the machines and queues for a run.

    Args:
        store: of FOLDER.

    Raises:
        StoreError: the hold cannot be written.
    """
    key = f"{lease_folder(output_url)}/{run_id}"
    ended = Event()

    def renew() -> None:
        while not clock.sleep(RENEW_SECONDS, ended):
            try:
                store.write_bytes(key, _text(output_url))
            except StoreError as error:
                # Not the end yet: there are two further tries before it expires.
                log.warning("the hold on the queues could not be renewed: %s", error)

    store.write_bytes(key, _text(output_url))
    renewing = Thread(target=renew, name="compute-hold", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        try:
            store.delete(key)
        except StoreError as error:
            log.warning("the hold on the queues is free in %g s only: %s", EXPIRY_SECONDS, error)


def _text(output_url: str) -> bytes:
    """For people who wonder what it is."""
    return f"a run of {output_url} uses the queues\n".encode()
