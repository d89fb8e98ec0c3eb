"""The state of the new-footage sensor between ticks (its cursor), and the result of one tick."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol
from uuid import uuid4

from odins_ravne_assets.arrivals.cursor import StoredCursor, read_cursor
from odins_ravne_assets.arrivals.listing import Sweep
from odins_ravne_assets.arrivals.pending import PendingCameras, PendingUpload
from odins_ravne_assets.arrivals.routing import QuarantinedUpload

# The newest entries of the quarantine that the cursor holds, and paths that were reported before
# them, by a hash: a bucket with many of them is not reported again after every listing.
MAX_QUARANTINED = 100
MAX_REPORTED = 5000
# Run requests of one tick, which Dagster limits to a minute; the next tick requests the others.
MAX_RUN_REQUESTS = 50

IsRunning = Callable[[str], bool]


@dataclass
class SensorState:
    """The content of the sensor's cursor.

    Args:
        receipts: of messages whose content is in this state: they may be deleted.
        quarantined: paths that belong to no camera, and the reason.
        reported: hashes of paths that were in quarantine before; see MAX_REPORTED.
        listed_at: when the last full listing began.
        settling: by the key of a camera's footage, what the last scan decided: see folder_source.
        index: the id of the index of folders; "": none yet.
        begun_anew: why the stored cursor was not used; "": it was.
    """

    cameras: PendingCameras = field(default_factory=lambda: PendingCameras({}, {}))
    receipts: list[str] = field(default_factory=list)
    quarantined: dict[str, str] = field(default_factory=dict)
    reported: list[str] = field(default_factory=list)
    sweep: Sweep = field(default_factory=Sweep)
    listed_at: float = 0.0
    settling: dict[str, Any] = field(default_factory=dict)
    index: str = ""
    begun_anew: str = field(default="", compare=False)

    def name_index(self) -> None:
        """Give a new state an index of its own: an operator who resets the cursor begins anew."""
        self.index = self.index or uuid4().hex[:12]

    def limit_to(self, now: float) -> None:
        """Replace future times, which the state has if the time was set back, by `now`."""
        self.listed_at, self.sweep.began = min(self.listed_at, now), min(self.sweep.began, now)
        self.cameras.limit_to(now)
        self.cameras.forget_old(now)
        for upload in filter(None, self.settling.values()):
            upload.update(since=min(upload["since"], now), done=min(upload["done"], now))

    def quarantine(self, upload: QuarantinedUpload) -> bool:
        """Add an upload to the quarantine; return True if it was not reported before."""
        path = upload.path.encode(errors="backslashreplace").decode()  # cursors are UTF-8
        upload = QuarantinedUpload(path, upload.reason)
        new = upload.path not in self.quarantined
        if new and _digest(upload.path) in self.reported:
            return False
        self.quarantined.pop(upload.path, None)
        self.quarantined[upload.path] = upload.reason
        for path in list(self.quarantined)[:-MAX_QUARANTINED]:
            del self.quarantined[path]
            self.reported.append(_digest(path))
        del self.reported[:-MAX_REPORTED]
        return new

    def quarantine_new(self, refused: Mapping[str, str]) -> tuple[QuarantinedUpload, ...]:
        """Add paths, with their reasons, to the quarantine; return those not reported before."""
        reported = set(self.reported)
        return tuple(
            each
            for each in (QuarantinedUpload(path, why) for path, why in refused.items())
            if self.quarantined.get(each.path) != each.reason
            and (each.path in self.quarantined or _digest(each.path) not in reported)
            and self.quarantine(each)
        )

    def release(self, paths: Iterable[str]) -> None:
        """Remove paths that no longer exist from the quarantine."""
        for path in paths:
            del self.quarantined[path]

    def text(self) -> str:
        """Return the state as the text of a cursor."""
        return StoredCursor(
            cameras={"waiting": self.cameras.pending, "by": self.cameras.seen_until},
            receipts=self.receipts,
            refused=self.quarantined,
            reported=self.reported,
            sweep=self.sweep,
            listed_at=self.listed_at,
            settling=self.settling,
            index=self.index,
        ).model_dump_json()

    @classmethod
    def read(cls, cursor: str | None) -> "SensorState":
        """Return the state of a cursor; a new one, which says why, if it cannot be read."""
        if not cursor:
            return cls()
        stored = read_cursor(cursor)
        if isinstance(stored, str):
            return cls(begun_anew=stored)
        return cls(
            PendingCameras(stored.cameras.waiting, stored.cameras.by),
            stored.receipts,
            stored.refused,
            stored.reported,
            stored.sweep,
            stored.listed_at,
            {key: each.model_dump() for key, each in stored.settling.items() if each},
            stored.index,
        )


def _digest(path: str) -> str:
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:8]


@dataclass(frozen=True)
class CameraRunRequest:
    """The run of a camera to request.

    Args:
        footage: the key of its footage, below `uploads.url`.
        files: the least number of new files.
    """

    camera_id: str
    footage: str
    run_key: str
    files: int


@dataclass(frozen=True)
class ScanResult:
    """The result of one scan.

    Args:
        quarantined: uploads that belong to no camera and were not in the quarantine before.
        new_files: uploads that this scan added.
        pending: cameras whose upload is in progress.
        remarks: what an operator should know, such as a listing that takes long.
    """

    run_requests: tuple[CameraRunRequest, ...]
    quarantined: tuple[QuarantinedUpload, ...]
    new_files: int
    pending: int
    remarks: tuple[str, ...] = ()


class UploadSource(Protocol):
    """A place to which footage is uploaded."""

    def scan(self, state: SensorState, now: float) -> ScanResult:
        """Find new footage and the cameras that are complete; update the state.

        Args:
            now: seconds since 1970 UTC.
        """


def request_due_runs(
    cameras: PendingCameras, now: float, quiet: float, longest: float
) -> Iterator[CameraRunRequest]:
    """Yield a run request for each camera whose card is complete, and record it."""
    for camera, waits in islice(list(cameras.due(now, quiet, longest)), MAX_RUN_REQUESTS):
        yield run_request_of(camera, waits)
        cameras.mark_requested(camera)


def run_request_of(camera: str, waits: PendingUpload) -> CameraRunRequest:
    return CameraRunRequest(camera, waits.footage, waits.key(camera), waits.files)
