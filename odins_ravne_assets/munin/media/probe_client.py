"""The client of the probe process, which reads the headers of media files."""

from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from odins_ravne_assets.munin.media.child_process import (
    ChildDiedError,
    ChildHungError,
    ChildProcess,
    Message,
    one_line,
)
from odins_ravne_assets.munin.media.probe import Probe
from resources.errors import MediaError
from resources.settings.profile import Stage0

# Seconds. A header takes milliseconds, a file on a slow card may take seconds.
PROBE_TIMEOUT = 30.0


class ProbeClient:
    """Reads headers when called with a path; a file that crashes or hangs it raises MediaError."""

    def __init__(self, settings: Stage0) -> None:
        self._settings = settings
        self._child: ChildProcess | None = None

    def __call__(self, path: Path) -> Probe:
        """Read the header of a file.

        Raises:
            MediaError: the file cannot be used, with the reason.
        """
        answer = self._ask(path)
        if "failed" in answer:
            raise MediaError(one_line(str(answer["failed"])))
        try:
            return Probe.from_message(answer.get("probe", {}))
        except ValidationError:
            self.close()  # the file may have taken it over
            raise MediaError("its header makes the reader send an invalid answer") from None

    def _ask(self, path: Path) -> Message:
        """Return the answer of the child, of a new one if that of earlier files hangs or dies."""
        while True:
            is_new = self._child is None
            try:
                child = self._ready_child()
                child.send({"probe": str(path)})
                return child.receive(PROBE_TIMEOUT)
            except ChildHungError as error:
                reason = f"its header hangs the reader: {error}"
            except ChildDiedError as error:
                reason = f"its header crashes the reader, which {error}"
            self.close()
            if is_new:
                raise MediaError(reason)

    def _ready_child(self) -> ChildProcess:
        if self._child is None:
            self._child = ChildProcess("odins_ravne_assets.munin.media.probe_process")
            self._child.send({"settings": self._settings.model_dump()})
        return self._child

    def close(self) -> None:
        """Terminate the child process."""
        if self._child:
            self._child.stop()
            self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
