"""Counters of a worker's work and time, as the cost ledger stores them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic


@dataclass
class WorkCounters:
    """Counts of one worker since its start.

    Attributes:
        media: newly processed media; `images` of them are stills.
        frames: frames of these media that the detector processed.
        video_seconds: the length of the videos among them.
        crops: newly labelled crops.
        visits: rows of the observations table that was written; None: none was written.
    """

    media: int = 0
    images: int = 0
    frames: int = 0
    video_seconds: float = 0.0
    crops: int = 0
    visits: int | None = None
    _seconds: dict[str, float] = field(default_factory=dict)
    _running: tuple[str, float] | None = None
    _started: float = field(default_factory=monotonic)
    _useful: float = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        self._running = (name, monotonic())
        try:
            yield
            self.record_progress()
        finally:
            self._seconds = self._stage_seconds()
            self._running = None

    def record_progress(self) -> None:
        """Count the time until now as useful: its results are saved whatever happens next."""
        self._useful = monotonic() - self._started

    def as_work(self) -> dict[str, float]:
        """Return the counts by the ledger's columns.

        `useful_seconds` is the time from the worker's start to the last recorded progress.
        """
        counts = {
            "media": self.media,
            "images": self.images,
            "frames": self.frames,
            "video_seconds": round(self.video_seconds, 3),
            "crops": self.crops,
            "useful_seconds": round(self._useful, 3),
        }
        times = {f"{name}_seconds": round(s, 3) for name, s in self._stage_seconds().items()}
        visits = {} if self.visits is None else {"visits": self.visits}
        return {**counts, **visits, **times}

    def _stage_seconds(self) -> dict[str, float]:
        """Return the seconds of each stage, the running one included."""
        if self._running is None:
            return self._seconds
        name, since = self._running
        elapsed = monotonic() - since
        return {**self._seconds, name: self._seconds.get(name, 0.0) + elapsed}
