"""New footage in a local folder: a mounted card, a network disk, a folder of cameras.

Uploads are debounced: a camera's footage is complete when its files (names, sizes, modification and
change times) have not changed for a while. A copy in progress changes them, also where the copying
program preserves modification times. A run is requested when complete footage differs from the
camera's media table.

A scan lists for a bounded time, and the next one continues: see `folder_walk`. Requests are decided
when a round is complete. What was decided is in the cursor until the next scan, which moves it to
the index: the cursor is stored by then, so that no decision is lost with a scan that dies.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from time import monotonic

from odins_ravne_assets.arrivals.folder_index import (
    FolderIndex,
    FootageState,
    ListedFolder,
    open_index,
)
from odins_ravne_assets.arrivals.folder_walk import (
    HOUR_SECONDS,
    MINUTE_SECONDS,
    SUM_BITS,
    FolderWalk,
)
from odins_ravne_assets.arrivals.listing import Known, slow_round
from odins_ravne_assets.arrivals.routing import QuarantinedUpload
from odins_ravne_assets.arrivals.sensor_state import (
    MAX_REPORTED,
    MAX_RUN_REQUESTS,
    CameraRunRequest,
    IsRunning,
    ScanResult,
    SensorState,
)
from odins_ravne_assets.instance_home import home
from resources.errors import RavneError
from resources.settings.profile import Uploads
from resources.storage.layout import UPLOADS_INDEX
from resources.storage.local_store import local_path

# Seconds of listing in one scan, and after which it compares no further camera with its table.
LISTING_SECONDS, SCAN_SECONDS = 20.0, 30.0
# Cameras that one scan compares with their tables; the cursor holds them until the next.
MAX_COMPARED = 500


def _index_file() -> Path:
    return home() / UPLOADS_INDEX


@dataclass(frozen=True)
class FolderUploadSource:
    """A local folder to which footage is uploaded.

    Args:
        known: returns the media of a camera's table.
        is_running: returns True if a run of the camera is in progress.
        index_file: the database of the folders that were listed.
        clock: seconds of a clock that only runs forward, which bounds a scan.
    """

    uploads: Uploads
    known: Known
    is_running: IsRunning
    index_file: Path = field(default_factory=_index_file)
    clock: Callable[[], float] = monotonic

    def scan(self, state: SensorState, now: float) -> ScanResult:
        """See UploadSource.

        Raises:
            StoreError: the index cannot be written.
        """
        state.limit_to(now)
        state.name_index()
        root = local_path(self.uploads.url or "")
        with open_index(
            self.index_file, state.index, str(root), self.uploads.camera_pattern
        ) as index:
            return _Scan(self, state, index, root, now, self.clock()).run()


@dataclass
class _Scan:
    """One scan.

    Args:
        began: when it began, by the clock that bounds it.
    """

    source: FolderUploadSource
    state: SensorState
    index: FolderIndex
    root: Path
    now: float
    began: float
    remarks: list[str] = field(default_factory=list)

    def run(self) -> ScanResult:
        progress = self.index.progress()
        progress.began = min(progress.began, self.now) or self.now
        walk = FolderWalk(
            self.root,
            self.source.uploads,
            self.index,
            progress,
            self.index.folders(),
            self.now,
            lambda: self._is_over(LISTING_SECONDS),
        )
        try:
            is_complete = walk.run()
        except OSError as error:
            remark = f"uploads.url {self.root}: cannot be listed: {error.strerror or error}"
            return ScanResult((), (), 0, 0, (remark,))
        footage = self._footage(walk.known)
        quarantined = self._quarantine(walk, footage, is_complete)
        stated = self.source.uploads.quiet_minutes * MINUTE_SECONDS
        self.remarks += walk.remarks
        if self.now - progress.began > stated and not progress.is_reported:
            progress.is_reported = True
            self.remarks.append(slow_round(str(self.root), self.now - progress.began, stated))
        requests: tuple[CameraRunRequest, ...] = ()
        if is_complete:
            due = self._due(footage, walk.known, progress.began)
            requests = tuple(islice(due, MAX_RUN_REQUESTS))
            progress = replace(progress, began=0.0, after=None, is_reported=False)
        self.index.put_progress(progress)
        pending = sum(1 for key, each in footage.items() if self._is_pending(key, each))
        new_files = sum(each.files for each in requests)
        return ScanResult(requests, quarantined, new_files, pending, tuple(self.remarks))

    def _is_over(self, seconds: float) -> bool:
        return self.source.clock() - self.began > seconds

    def _footage(self, folders: dict[str, ListedFolder]) -> dict[str, FootageState]:
        """Return the footage of all cameras as the folders have it now, and store what changed."""
        before = self.index.footage()
        sums: dict[str, int] = {}
        cameras: dict[str, str] = {}
        for folder in folders.values():
            for key, number in folder.content.sums.items():
                sums[key] = (sums.get(key, 0) + number) % 2**SUM_BITS
                cameras[key] = folder.content.cameras[key]
        footage = {}
        for key, number in sums.items():
            fingerprint = f"{number:016x}"
            known = before.get(key) or FootageState(cameras[key], "", self.now)
            found = replace(known, since=min(known.since, self.now))
            if known.fingerprint != fingerprint:
                found = replace(found, fingerprint=fingerprint, since=self.now)
            found = self._with_decision(key, found)
            if found != before.get(key):
                self.index.put_footage(key, found)
            footage[key] = found
        self.index.delete_footage(before.keys() - footage.keys())
        self.state.settling = {}
        return footage

    def _with_decision(self, key: str, found: FootageState) -> FootageState:
        """Return the state with the decision of the last scan, whose cursor is stored by now."""
        decided = self.state.settling.get(key)
        if decided and decided["done"] and decided["is"] == found.fingerprint:
            found = replace(found, compared=decided["is"], compared_at=decided["done"])
        hours = self.source.uploads.listing_hours
        if found.compared and self.now - found.compared_at >= hours * HOUR_SECONDS:
            # The run may have failed: compare with its table again.
            found = replace(found, since=self.now, compared="")
        return found

    def _quarantine(
        self, walk: FolderWalk, footage: dict[str, FootageState], is_complete: bool
    ) -> tuple[QuarantinedUpload, ...]:
        refused: dict[str, str] = {}
        for folder in walk.known.values():
            refused |= folder.content.refused
        if is_complete:
            self.state.release(self.state.quarantined.keys() - refused.keys() - footage.keys())
        if len(refused) > MAX_REPORTED:  # more than the cursor holds
            refused = {}
            for path in walk.listed:
                refused |= walk.known[path].content.refused
        return self.state.quarantine_new(refused)

    def _is_pending(self, key: str, found: FootageState) -> bool:
        return found.compared != found.fingerprint and key not in self.state.settling

    def _due(
        self, footage: dict[str, FootageState], folders: dict[str, ListedFolder], round_began: float
    ) -> Iterator[CameraRunRequest]:
        """Yield the requests of complete footage, which the round has found unchanged."""
        quiet = self.source.uploads.quiet_minutes * MINUTE_SECONDS
        paths: dict[str, list[str]] = {}
        for path, folder in folders.items():
            for key in folder.content.sums:
                paths.setdefault(key, []).append(path)
        for key, found in sorted(footage.items()):
            if found.compared == found.fingerprint or round_began - found.since < quiet:
                continue
            if len(self.state.settling) == MAX_COMPARED or self._is_over(SCAN_SECONDS):
                return
            if self.source.is_running(found.camera_id):
                continue  # compare with its table after the run
            try:
                known = self.source.known(found.camera_id)
            except RavneError as error:  # harms this camera alone
                self.remarks.append(f"camera {found.camera_id}: {error}")
                continue
            new = sum(1 for each in self.index.media(key, paths[key]) if each not in known)
            self.state.settling[key] = {
                "is": found.fingerprint,
                "since": found.since,
                "done": self.now,
            }
            if new:
                run_key = f"{found.camera_id}@{found.fingerprint}-{found.since:.0f}"
                yield CameraRunRequest(found.camera_id, key, run_key, new)
