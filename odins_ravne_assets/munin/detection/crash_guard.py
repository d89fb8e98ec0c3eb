"""Finding the medium that kills workers.

Decoders die in their own process, but a medium may still take a whole worker along: by the memory
it needs, or by a fault in the engine. After a death nobody asked for, the next worker takes the
media that may have been in hand one at a time and marks each in the store before it begins. A
mark that is still there when a worker starts names the culprit; on the second death the medium is
set aside with that reason and the rest goes on.
"""

import json
from collections.abc import Iterator
from itertools import islice
from threading import Event

from odins_ravne_assets.munin.detection.decode_pool import MediumFailed, Medium
from odins_ravne_assets.munin.tables.journal import PART_MEDIA
from resources.storage.layout import MEDIA_IN_PROGRESS
from resources.storage.object_store import ObjectStore

MAX_CRASHES = 1
# Media that a dead worker may have had in hand: an unfinished part, and what was being decoded.
MAX_SUSPECTS = PART_MEDIA + 64


class CrashGuard:
    """One medium at a time, for as long as there are suspects."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._settled = Event()
        self.active = True

    def suspects_first(self, media: Iterator[Medium]) -> Iterator[Medium | MediumFailed]:
        """All of `media`, the suspects among them one at a time; drawn by the decoding thread.

        What is set aside comes as Failed. It is settled as the others are, before the next one is
        begun: a worker that dies of that one must not forget it.
        """
        culprit, deaths = self._culprit()
        for medium in islice(media, MAX_SUSPECTS):
            died = deaths + 1 if medium.content_hash == culprit else 0
            self._settled.clear()
            if died > MAX_CRASHES:
                reason = f"set aside: its worker died {died} times while looking at it"
                yield MediumFailed(medium, reason)
            else:
                mark = {"content_hash": medium.content_hash, "deaths": died}
                self._store.write_bytes(MEDIA_IN_PROGRESS, json.dumps(mark).encode())
                yield medium
            self._settled.wait()
        self._store.delete(MEDIA_IN_PROGRESS)
        self.active = False
        yield from media

    def settled(self) -> None:
        """Say that the medium in hand is in the journal, safe."""
        self._settled.set()

    def _culprit(self) -> tuple[str | None, int]:
        if not self._store.exists(MEDIA_IN_PROGRESS):
            return None, 0
        mark = json.loads(self._store.read_bytes(MEDIA_IN_PROGRESS))
        return mark["content_hash"], mark["deaths"]
