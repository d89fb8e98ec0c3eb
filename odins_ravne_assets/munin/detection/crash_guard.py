"""Find the medium that crashes the worker, and skip it.

Decoders crash in their own process, but a medium may still crash the whole worker: by the memory
it needs, or by a fault in the engine. After an unexplained crash the next worker processes the
media that may have been in progress one at a time, and writes a marker to the store before each.
A marker that is present at a worker's start names the medium that crashed the previous one. After
its second crash the medium is recorded as failed.
"""

import json
from collections.abc import Iterator
from itertools import islice
from threading import Event

from odins_ravne_assets.munin.detection.decode_pool import Medium, MediumFailed
from odins_ravne_assets.munin.tables.journal import PART_MEDIA
from resources.storage.layout import MEDIA_IN_PROGRESS
from resources.storage.object_store import ObjectStore

MAX_CRASHES = 1
# Media that may have been in progress at the crash: an unfinished part, and those being decoded.
MAX_SUSPECTS = PART_MEDIA + 64


class CrashGuard:
    """Passes one medium at a time, as long as there are suspects."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._finished = Event()
        self.active = True

    def suspects_first(self, media: Iterator[Medium]) -> Iterator[Medium | MediumFailed]:
        """Yield all media, the suspects one at a time; the decoding thread iterates over them.

        A medium with too many crashes is yielded as `MediumFailed`. Like the others it is journaled
        before the next one starts, so that a later crash does not lose it.
        """
        suspect, crashes = self._read_marker()
        for medium in islice(media, MAX_SUSPECTS):
            count = crashes + 1 if medium.content_hash == suspect else 0
            self._finished.clear()
            if count > MAX_CRASHES:
                reason = f"skipped: the worker crashed {count} times on this file"
                yield MediumFailed(medium, reason)
            else:
                marker = {"content_hash": medium.content_hash, "deaths": count}
                self._store.write_bytes(MEDIA_IN_PROGRESS, json.dumps(marker).encode())
                yield medium
            self._finished.wait()
        self._store.delete(MEDIA_IN_PROGRESS)
        self.active = False
        yield from media

    def medium_finished(self) -> None:
        """Allow the next medium; the current one is saved in the journal."""
        self._finished.set()

    def _read_marker(self) -> tuple[str | None, int]:
        """Return the content hash of the suspect and its earlier crashes."""
        if not self._store.exists(MEDIA_IN_PROGRESS):
            return None, 0
        try:
            marker = json.loads(self._store.read_bytes(MEDIA_IN_PROGRESS))
            return str(marker["content_hash"]), int(marker["deaths"])
        except (ValueError, KeyError, TypeError):
            return None, 0  # damaged: the media are suspects anyway
