"""What a worker has done so far, and in how many seconds: what the cost ledger keeps of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic


@dataclass
class WorkCounters:
    """Counts of one worker, from its start.

    Attributes:
        media: newly looked at; `images` of these are stills, `frames` were looked at in all, and
            the videos among them are `video_seconds` long.
        crops: newly labelled.
        visits: in the table of observations that was made; None: none was.
    """

    media: int = 0
    images: int = 0
    frames: int = 0
    video_seconds: float = 0.0
    crops: int = 0
    visits: int | None = None
    _seconds: dict[str, float] = field(default_factory=dict)
    _running: tuple[str, float] | None = None
    _began: float = field(default_factory=monotonic)
    _useful: float = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        self._running = (name, monotonic())
        try:
            yield
            self.finished_something()
        finally:
            self._seconds = self._stage_seconds()
            self._running = None

    def finished_something(self) -> None:
        """What was done until now is kept, whatever happens."""
        self._useful = monotonic() - self._began

    def as_work(self) -> dict[str, float]:
        """By the ledger's columns; and `useful_seconds`, from the worker's start to the last time
        that it finished something."""
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
        """With those of the stage that is running."""
        if self._running is None:
            return self._seconds
        name, since = self._running
        passed = monotonic() - since
        return {**self._seconds, name: self._seconds.get(name, 0.0) + passed}
