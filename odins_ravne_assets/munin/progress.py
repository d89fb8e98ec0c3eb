"""How a worker tells what it is doing, without knowing who listens."""

from typing import Any, NamedTuple, Protocol


class StageProgress(NamedTuple):
    """How far a stage is."""

    stage: str  # the asset: footage | detections | classifications | observations | exports
    done: int  # of `unit`
    total: int | None  # None while it is not known
    unit: str  # media | crops | visits


class Reporter(Protocol):
    """Who is told."""

    def info(self, message: str) -> None:
        """A line for the run's log."""

    def warning(self, message: str) -> None:
        """A line for the run's log that a person should read."""

    def progress(self, progress: StageProgress) -> None:
        """May be called as often as one likes."""


# What a stage has to say of its result: flat, numeric where a number, `md:` values as Markdown.
Metadata = dict[str, Any]
