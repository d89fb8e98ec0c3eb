"""One look for new footage: what was heard, whose turn it is, what is to be remembered."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

from odins_ravne_assets.arrivals.listing import Sweep
from odins_ravne_assets.arrivals.pending import PendingCameras, PendingUpload
from odins_ravne_assets.arrivals.routing import QuarantinedUpload

# As many of what is in quarantine are remembered; the newest.
MAX_QUARANTINED = 100
# Runs that one look asks for: Dagster gives a look a minute. The next look asks for others.
MAX_RUN_REQUESTS = 50

IsRunning = Callable[[str], bool]


@dataclass
class SensorState:
    """What a sensor's cursor holds.

    Args:
        receipts: of messages that are heard and kept here: they may be deleted.
        refused: what is nobody's, and why.
        listed_at: when the last listing of everything began.
    """

    cameras: PendingCameras = field(default_factory=lambda: PendingCameras({}, {}))
    receipts: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    sweep: Sweep = field(default_factory=Sweep)
    listed_at: float = 0.0
    settling: dict[str, Any] = field(default_factory=dict)

    def refuse(self, refused: QuarantinedUpload) -> bool:
        """Keep what is nobody's; whether it is new."""
        new = refused.of not in self.refused
        self.refused.pop(refused.of, None)
        self.refused[refused.of] = refused.reason
        for of in list(self.refused)[:-MAX_QUARANTINED]:
            del self.refused[of]
        return new

    def release(self, gone: Iterable[str]) -> None:
        """Forget what was nobody's and lies there no more."""
        for of in gone:
            del self.refused[of]

    def text(self) -> str:
        """As a cursor."""
        return json.dumps(
            {
                "cameras": self.cameras.to_json(),
                "receipts": self.receipts,
                "refused": self.refused,
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
            Sweep(**tree["sweep"]),
            tree["listed_at"],
            tree["settling"],
        )


@dataclass(frozen=True)
class CameraRunRequest:
    """A camera whose run is to be asked for.

    Args:
        footage: the key of its footage, below `uploads.url`.
        files: how many new ones were heard of; at least.
    """

    camera_id: str
    footage: str
    run_key: str
    files: int


@dataclass(frozen=True)
class ScanResult:
    """What one look came to.

    Args:
        refused: what is nobody's and was not known to be.
    """

    request_due_runs: tuple[CameraRunRequest, ...]
    refused: tuple[QuarantinedUpload, ...]
    heard: int
    waiting: int


class UploadSource(Protocol):
    """Where footage arrives."""

    def look(self, memory: SensorState, now: float) -> ScanResult:
        """Hear what is new and say whose turn it is; what is to be remembered is put into memory.

        Args:
            now: seconds since 1970 UTC.
        """


def request_due_runs(cameras: PendingCameras, now: float, quiet: float, longest: float) -> Iterator[CameraRunRequest]:
    """The cameras whose cards are complete; from now on their runs are asked for."""
    for camera, waits in islice(list(cameras.due(now, quiet, longest)), MAX_RUN_REQUESTS):
        yield run_request_of(camera, waits)
        cameras.asked_for(camera)


def run_request_of(camera: str, waits: PendingUpload) -> CameraRunRequest:
    return CameraRunRequest(camera, waits.footage, waits.key(camera), waits.files)
