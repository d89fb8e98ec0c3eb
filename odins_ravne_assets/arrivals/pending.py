"""Cameras whose card is still coming, and the rule by which an upload is news.

An upload that an event tells is news if it arrived after all that the camera's last requested run
is known to have found. A run lists the camera's footage itself, and is asked for only when nothing
was heard of the camera for a while; so whatever had arrived by the last upload that was heard of
then, the run found. By this rule it is harmless to hear of an upload twice, or late; and a sensor
that died between any two steps neither loses an upload nor runs one twice: the key of a run holds
the uploads that it stands for, and Dagster starts no two runs of one key.

What a listing finds that the camera's media table does not hold is always news: see `listing.py`.

Times are seconds since 1970 UTC: `at` by the clock of S3 in whole seconds, `heard` by ours.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass


@dataclass
class PendingUpload:
    """A camera of which uploads were heard.

    Args:
        footage: where below `uploads.url` its footage lies.
        first_at, last_at: when the first and the last of its uploads that are news arrived.
        first_heard, last_heard: when we heard of them.
        files: how many were heard of; one that was told twice counts twice.
        listed: when the listing began that found some of them; 0: events told of all.
    """

    footage: str
    first_at: float
    last_at: float
    first_heard: float
    last_heard: float
    files: int = 1
    listed: float = 0.0

    def key(self, camera: str) -> str:
        """The key of the run that this asks for; the same for the same uploads."""
        listed = f"/{self.listed:.0f}" if self.listed else ""
        return f"{camera}@{self.first_at:.0f}-{self.last_at:.0f}{listed}"


@dataclass
class PendingCameras:
    """What is remembered from tick to tick.

    Args:
        waiting: by camera id.
        found_by: of cameras that a run was asked for: the arrival up to which it found everything.
    """

    waiting: dict[str, PendingUpload]
    found_by: dict[str, float]

    def hear(self, camera: str, footage: str, at: float, now: float) -> bool:
        """An event told of an upload; whether it is news."""
        at = float(int(at))
        if at <= self.found_by.get(camera, float("-inf")):
            return False
        self._wait(camera, footage, at, now)
        return True

    def missed(self, camera: str, footage: str, at: float, now: float, listed: float) -> None:
        """A listing found what the camera's tables do not hold.

        Args:
            at: when the newest of it arrived.
            listed: when the listing began.
        """
        self._wait(camera, footage, float(int(at)), now)
        self.waiting[camera].listed = listed

    def _wait(self, camera: str, footage: str, at: float, now: float) -> None:
        known = self.waiting.get(camera)
        if known is None:
            self.waiting[camera] = PendingUpload(footage, at, at, now, now)
            return
        if at > known.last_at:  # what is told once more leaves a camera as quiet as it was
            known.last_at, known.last_heard = at, now
        known.first_at = min(known.first_at, at)
        known.files += 1

    def due(self, now: float, quiet: float, longest: float) -> Iterator[tuple[str, PendingUpload]]:
        """Cameras that have been quiet long enough, or have waited too long, longest first.

        Args:
            quiet: seconds without news after which a card counts as complete.
            longest: seconds after the first news by which it counts so all the same.
        """
        for camera, waits in sorted(self.waiting.items(), key=lambda item: item[1].first_heard):
            if now - waits.last_heard >= quiet or now - waits.first_heard >= longest:
                yield camera, waits

    def asked_for(self, camera: str) -> None:
        """A run of the camera is asked for: it finds all that has arrived so far."""
        last_at = self.waiting.pop(camera).last_at
        self.found_by[camera] = max(last_at, self.found_by.get(camera, last_at))

    def to_json(self) -> dict[str, object]:
        return {"waiting": {k: asdict(v) for k, v in self.waiting.items()}, "by": self.found_by}

    @classmethod
    def from_json(cls, tree: dict[str, dict[str, dict[str, object]]]) -> "PendingCameras":
        waiting = {k: PendingUpload(**v) for k, v in tree["waiting"].items()}  # type: ignore[arg-type]
        return cls(waiting, dict(tree["by"]))  # type: ignore[arg-type]
