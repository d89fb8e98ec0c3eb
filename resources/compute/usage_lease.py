"""The lease by which a run marks machines and queues as in use, so that no cleanup removes them.

A lease is an object in the bucket, below `in-use/`. A run writes it before it checks the queues and
renews it until its end, also while none of its jobs is in a queue. A cleanup disables the queues
first and then lists the leases (`cleanup.py`). So either the run finds the queues disabled, or the
cleanup finds the lease: S3 lists an object as soon as it is written.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread

from resources.clock import Clock
from resources.errors import StoreError
from resources.storage.object_store import ObjectStore

RENEWAL_SECONDS = 300.0
# A lease that is not renewed for this long is that of a run which has died.
EXPIRY_SECONDS = 900.0

log = logging.getLogger(__name__)


def lease_folder(output_url: str) -> str:
    """Return the folder of a camera's leases: a hash, since a URL may exceed a key's length."""
    return hashlib.sha256(output_url.rstrip("/").encode()).hexdigest()[:16]


def list_leases(store: ObjectStore) -> Mapping[str, int]:
    """Return all leases: the last renewal by S3's clock, in nanoseconds since 1970 UTC, by key.

    Args:
        store: of USAGE_LEASES_FOLDER.

    Raises:
        StoreError: it cannot be listed.
    """
    return {found.key: found.modified_ns for found in store.list()}


@contextmanager
def lease_compute(store: ObjectStore, output_url: str, run_id: str, clock: Clock) -> Iterator[None]:
    """Lease the machines and queues for a run.

    Args:
        store: of USAGE_LEASES_FOLDER.

    Raises:
        StoreError: the lease cannot be written.
    """
    key = f"{lease_folder(output_url)}/{run_id}"
    # For a person who opens the object.
    content = f"a run of {output_url} uses the queues\n".encode()
    ended = Event()

    def renew() -> None:
        while not clock.sleep(RENEWAL_SECONDS, ended):
            try:
                store.write_bytes(key, content)
            except StoreError as error:
                # The lease stays valid for two further renewals.
                log.warning("the usage lease of the queues was not renewed: %s", error)

    store.write_bytes(key, content)
    renewal = Thread(target=renew, name="usage-lease", daemon=True)
    renewal.start()
    try:
        yield
    finally:
        ended.set()
        renewal.join()
        try:
            store.delete(key)
        except StoreError as error:
            log.warning(
                "the usage lease of the queues is not deleted and expires in %g s: %s",
                EXPIRY_SECONDS,
                error,
            )
