"""The state of the new-footage sensor between ticks (its cursor), and the result of one tick."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

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
    """

    cameras: PendingCameras = field(default_factory=lambda: PendingCameras({}, {}))
    receipts: list[str] = field(default_factory=list)
    quarantined: dict[str, str] = field(default_factory=dict)
    reported: list[str] = field(default_factory=list)
    sweep: Sweep = field(default_factory=Sweep)
    listed_at: float = 0.0
    settling: dict[str, Any] = field(default_factory=dict)

    def limit_to(self, now: float) -> None:
        """Replace future times, which the state has if the time was set back, by `now`."""
        self.listed_at, self.sweep.began = min(self.listed_at, now), min(self.sweep.began, now)
        self.cameras.limit_to(now)
        for upload in filter(None, self.settling.values()):
            upload.update(since=min(upload["since"], now), done=min(upload["done"], now))

    def quarantine(self, upload: QuarantinedUpload) -> bool:
        """Add an upload to the quarantine; return True if it was not reported before."""
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

    def release(self, paths: Iterable[str]) -> None:
        """Remove paths that no longer exist from the quarantine."""
        for path in paths:
            del self.quarantined[path]

    def text(self) -> str:
        """Return the state as the text of a cursor."""
        return json.dumps(
            {
                "cameras": self.cameras.to_json(),
                "receipts": self.receipts,
                "refused": self.quarantined,
                "reported": self.reported,
                "sweep": self.sweep.to_json(),
                "listed_at": self.listed_at,
                "settling": self.settling,
            }
        )

    @classmethod
    def read(cls, cursor: str | None) -> "SensorState":
        if not cursor:
            return cls()
        tree = json.loads(cursor)
        return cls(
            PendingCameras.from_json(tree["cameras"]),
            tree["receipts"],
            tree["refused"],
            tree.get("reported", []),  # earlier versions kept none
            Sweep(**tree["sweep"]),
            tree["listed_at"],
            tree["settling"],
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
    """

    run_requests: tuple[CameraRunRequest, ...]
    quarantined: tuple[QuarantinedUpload, ...]
    new_files: int
    pending: int


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
