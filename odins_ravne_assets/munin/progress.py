"""Progress reports and log lines of a worker, independent of their receiver."""

from typing import Any, NamedTuple, Protocol


class StageProgress(NamedTuple):
    """The progress of a stage."""

    stage: str  # the asset: footage | detections | classifications | observations | exports
    done: int  # of `unit`
    total: int | None  # None if unknown
    unit: str  # media | crops | visits


class Reporter(Protocol):
    """Receives the log lines and the progress of a worker."""

    def info(self, message: str) -> None:
        """Log a line."""

    def warning(self, message: str) -> None:
        """Log a line that needs the user's attention."""

    def progress(self, progress: StageProgress) -> None:
        """Report progress; may be called at any rate."""


# The metadata of a stage's asset: flat; keys with the prefix `md:` hold Markdown.
Metadata = dict[str, Any]
