"""Cameras with pending uploads: debounce them, and decide which uploads are new.

An upload of an event is new if it arrived later than everything that the camera's last requested
run has seen. A run lists the camera's footage itself, and is requested only after a quiet period
(a debounce); so it sees everything up to the last upload known at that time. This makes duplicate
and late events harmless. A sensor that dies between any two steps neither loses an upload nor runs
one twice: the run key is derived from the uploads, and Dagster starts no two runs with one key.

An upload that a listing finds and the camera's media table does not hold is always new: see
`listing.py`.

Times are seconds since 1970 UTC: `at` by the clock of S3 in whole seconds, `heard` by the clock of
this machine.
"""

from collections.abc import Iterator
from dataclasses import dataclass

# The cameras whose last upload the cursor holds, and for how long: SQS stores a message for at most
# 14 days. An older event that is repeated costs a run that finds nothing new.
MAX_SEEN, SEEN_SECONDS = 5000, 15 * 86_400.0


@dataclass
class PendingUpload:
    """The pending uploads of one camera.

    Args:
        footage: the folder of its footage, below `uploads.url`.
        first_at, last_at: when the first and the last of its new uploads arrived.
        first_heard, last_heard: when the sensor learned of them.
        files: the number of events; a duplicate counts twice.
        listed: when the listing began that found some of them; 0: all are of events.
    """

    footage: str
    first_at: float
    last_at: float
    first_heard: float
    last_heard: float
    files: int = 1
    listed: float = 0.0

    def key(self, camera: str) -> str:
        """Return the run key: the same for the same uploads."""
        listed = f"/{self.listed:.0f}" if self.listed else ""
        return f"{camera}@{self.first_at:.0f}-{self.last_at:.0f}{listed}"


@dataclass
class PendingCameras:
    """The pending uploads of all cameras.

    Args:
        pending: by camera id.
        seen_until: by camera with a requested run, the time up to which the run sees all uploads.
    """

    pending: dict[str, PendingUpload]
    seen_until: dict[str, float]

    def add_event(self, camera: str, footage: str, at: float, now: float) -> bool:
        """Add an upload of an event; return True if it is new."""
        at = float(int(at))
        if at <= self.seen_until.get(camera, float("-inf")):
            return False
        self._add(camera, footage, at, now)
        return True

    def add_listed(self, camera: str, footage: str, at: float, now: float, listed: float) -> None:
        """Add uploads that a listing found and the camera's table does not hold.

        Args:
            at: when the newest of them arrived.
            listed: when the listing began.
        """
        self._add(camera, footage, float(int(at)), now)
        self.pending[camera].listed = listed

    def _add(self, camera: str, footage: str, at: float, now: float) -> None:
        known = self.pending.get(camera)
        if known is None:
            self.pending[camera] = PendingUpload(footage, at, at, now, now)
            return
        if at > known.last_at:  # a duplicate does not restart the quiet period
            known.last_at, known.last_heard = at, now
        known.first_at = min(known.first_at, at)
        known.files += 1

    def due(self, now: float, quiet: float, longest: float) -> Iterator[tuple[str, PendingUpload]]:
        """Yield the cameras that are due, the longest pending first.

        Args:
            quiet: seconds without a new upload after which a card counts as complete.
            longest: seconds after the first upload after which it counts as complete in any case.
        """
        for camera, waits in sorted(self.pending.items(), key=lambda item: item[1].first_heard):
            if now - waits.last_heard >= quiet or now - waits.first_heard >= longest:
                yield camera, waits

    def limit_to(self, now: float) -> None:
        """Replace future times of this machine by `now`."""
        for waits in self.pending.values():
            waits.first_heard = min(waits.first_heard, now)
            waits.last_heard = min(waits.last_heard, now)

    def forget_old(self, now: float) -> None:
        """Forget cameras whose events SQS no longer holds, and the oldest of too many."""
        recent = [item for item in self.seen_until.items() if now - item[1] < SEEN_SECONDS]
        self.seen_until = dict(sorted(recent, key=lambda item: item[1])[-MAX_SEEN:])

    def mark_requested(self, camera: str) -> None:
        """Record that a run of the camera is requested: it sees all uploads so far."""
        last_at = self.pending.pop(camera).last_at
        self.seen_until[camera] = max(last_at, self.seen_until.get(camera, last_at))
