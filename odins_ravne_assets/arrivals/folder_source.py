"""New footage in a folder of this machine: a mounted card, a network disk, a folder of cameras.

A camera's footage is settled when its files (names, sizes, dates of content and of the file itself)
have been the same for a while: a copy that is going on changes them, also where the copying program
keeps the dates of the originals. A camera's turn comes when what is settled is not what its media
table holds.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from odins_ravne_assets.arrivals.listing import Known
from odins_ravne_assets.arrivals.routing import CameraMedium, QuarantinedUpload, camera_of_key
from odins_ravne_assets.arrivals.sensor_state import (
    MAX_RUN_REQUESTS,
    CameraRunRequest,
    IsRunning,
    ScanResult,
    SensorState,
)
from resources.settings.profile import Uploads
from resources.storage.local_store import LocalStore, local_path

MINUTE_SECONDS, HOUR_SECONDS = 60.0, 3600.0
Medium = tuple[str, int, int]


@dataclass(frozen=True)
class FolderUploadSource:
    """A folder in which cameras' footage arrives.

    Args:
        known: the media that a camera's table holds.
        is_running: whether a run of a camera is under way.
    """

    uploads: Uploads
    known: Known
    is_running: IsRunning

    def look(self, memory: SensorState, now: float) -> ScanResult:
        """See Place."""
        root = local_path(self.uploads.url or "")
        found: dict[str, list[tuple[Medium, int]]] = {}
        footage: dict[str, str] = {}
        refused: dict[str, QuarantinedUpload] = {}
        for key, medium, changed in _media(root, refused):
            owner = camera_of_key(key, self.uploads.camera_pattern)
            if isinstance(owner, QuarantinedUpload):
                refused[owner.of] = owner
            elif isinstance(owner, CameraMedium):
                found.setdefault(owner.camera_id, []).append((medium, changed))
                footage.setdefault(owner.camera_id, owner.footage)
        memory.settling = {c: memory.settling.get(c) for c in found}
        due = (
            turn
            for camera, media in sorted(found.items())
            if (turn := self._turn(memory, camera, footage[camera], media, now))
        )
        turns = list(islice(due, MAX_RUN_REQUESTS))
        memory.release(memory.refused.keys() - refused.keys() - set(footage.values()))
        new = tuple(each for each in refused.values() if memory.refuse(each))
        waiting = sum(1 for state in memory.settling.values() if state and not state["done"])
        return ScanResult(tuple(turns), new, len(turns), waiting)

    def _turn(
        self,
        memory: SensorState,
        camera: str,
        footage: str,
        media: list[tuple[Medium, int]],
        now: float,
    ) -> CameraRunRequest | None:
        fingerprint = _fingerprint(media)
        state = memory.settling[camera]
        if state is None or state["is"] != fingerprint:
            memory.settling[camera] = {"is": fingerprint, "since": now, "done": 0.0}
            return None
        if state["done"] and now - state["done"] >= self.uploads.listing_hours * HOUR_SECONDS:
            state.update(since=now, done=0.0)  # the run may have failed: look at its tables again
        if state["done"] or now - state["since"] < self.uploads.quiet_minutes * MINUTE_SECONDS:
            return None
        if self.is_running(camera):
            return None  # its tables will tell
        below = len(footage) + 1 if footage else 0
        known = self.known(camera)
        new = [path for (path, size, date), _ in media if (path[below:], size, date) not in known]
        state["done"] = now
        if not new:
            return None
        return CameraRunRequest(
            camera, footage, f"{camera}@{fingerprint}-{state['since']:.0f}", len(new)
        )


def _media(root: Path, closed: dict[str, QuarantinedUpload]) -> Iterator[tuple[str, Medium, int]]:
    """Key, (key, bytes, modified_ns) and the date of the file itself, of each file."""

    def note(key: str, reason: str) -> None:
        closed[key] = QuarantinedUpload(key, f"cannot be listed: {reason}")

    for found in LocalStore(root).list("", on_error=note):
        try:
            changed = (root / found.key).stat().st_ctime_ns
        except OSError:
            continue  # it went away meanwhile: the next look sees what there is
        yield found.key, (found.key, found.size, found.modified_ns), changed


def _fingerprint(media: list[tuple[Medium, int]]) -> str:
    return hashlib.sha256(repr(sorted(media)).encode()).hexdigest()[:16]
