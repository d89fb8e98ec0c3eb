"""New footage in a local folder: a mounted card, a network disk, a folder of cameras.

Uploads are debounced: a camera's footage is complete when its files (names, sizes, modification and
change times) have not changed for a while. A copy in progress changes them, also where the copying
program preserves modification times. A run is requested when complete footage differs from the
camera's media table.
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
from odins_ravne_assets.munin.media.media_files import path_in_table
from odins_ravne_assets.munin.media.raw_pairs import without_raw_copies
from resources.settings.profile import Uploads
from resources.storage.local_store import LocalStore, local_path

MINUTE_SECONDS, HOUR_SECONDS = 60.0, 3600.0
Medium = tuple[str, int, int]


@dataclass(frozen=True)
class FolderUploadSource:
    """A local folder to which footage is uploaded.

    Args:
        known: returns the media of a camera's table.
        is_running: returns True if a run of the camera is in progress.
    """

    uploads: Uploads
    known: Known
    is_running: IsRunning

    def scan(self, state: SensorState, now: float) -> ScanResult:
        """See UploadSource."""
        state.limit_to(now)
        root = local_path(self.uploads.url or "")
        found: dict[str, list[tuple[Medium, int]]] = {}
        footage: dict[str, str] = {}
        refused: dict[str, QuarantinedUpload] = {}
        for key, medium, changed in _media(root, refused):
            owner = camera_of_key(key, self.uploads.camera_pattern)
            if isinstance(owner, QuarantinedUpload):
                refused[owner.path] = owner
            elif isinstance(owner, CameraMedium):
                found.setdefault(owner.camera_id, []).append((medium, changed))
                footage.setdefault(owner.camera_id, owner.footage)
        state.settling = {c: state.settling.get(c) for c in found}
        due = (
            request
            for camera, media in sorted(found.items())
            if (request := self._run_request(state, camera, footage[camera], media, now))
        )
        requests = list(islice(due, MAX_RUN_REQUESTS))
        state.release(state.quarantined.keys() - refused.keys() - set(footage.values()))
        new = tuple(each for each in refused.values() if state.quarantine(each))
        pending = sum(1 for each in state.settling.values() if each and not each["done"])
        return ScanResult(tuple(requests), new, len(requests), pending)

    def _run_request(
        self,
        state: SensorState,
        camera: str,
        footage: str,
        media: list[tuple[Medium, int]],
        now: float,
    ) -> CameraRunRequest | None:
        fingerprint = _fingerprint(media)
        upload = state.settling[camera]
        if upload is None or upload["is"] != fingerprint:
            state.settling[camera] = {"is": fingerprint, "since": now, "done": 0.0}
            return None
        if upload["done"] and now - upload["done"] >= self.uploads.listing_hours * HOUR_SECONDS:
            # The run may have failed: compare with its table again.
            upload.update(since=now, done=0.0)
        if upload["done"] or now - upload["since"] < self.uploads.quiet_minutes * MINUTE_SECONDS:
            return None
        if self.is_running(camera):
            return None  # compare with its table after the run
        below = len(footage) + 1 if footage else 0
        known = self.known(camera)
        new = [path for (path, size, date), _ in media if (path[below:], size, date) not in known]
        upload["done"] = now
        if not new:
            return None
        return CameraRunRequest(
            camera, footage, f"{camera}@{fingerprint}-{upload['since']:.0f}", len(new)
        )


def _media(root: Path, closed: dict[str, QuarantinedUpload]) -> Iterator[tuple[str, Medium, int]]:
    """Yield key, (key, bytes, modified_ns) and change time (ns) of each file."""

    def note(key: str, reason: str) -> None:
        if key.endswith("/"):
            folder = key.removesuffix("/")
            closed[folder] = QuarantinedUpload(folder, f"cannot be listed: {reason}")

    store = LocalStore(root)
    for found in without_raw_copies(store.list("", on_error=note), lambda each: each.key):
        try:
            changed = store.path(found.key).stat().st_ctime_ns
        except OSError:
            continue  # deleted meanwhile: the next scan sees the rest
        # As the table has it: invalid UTF-8 in a name would be new in every scan.
        key = path_in_table(found.key)
        yield key, (key, found.size, found.modified_ns), changed


def _fingerprint(media: list[tuple[Medium, int]]) -> str:
    return hashlib.sha256(repr(sorted(media)).encode()).hexdigest()[:16]
