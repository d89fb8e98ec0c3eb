"""The worker's side of probing: asks a child process for what a media file's header says."""

from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from odins_ravne_assets.munin.media.child_process import ChildProcess, ChildDiedError, ChildHungError
from odins_ravne_assets.munin.media.probe import Probe
from resources.errors import MediaError
from resources.settings.profile import Stage0

# A header is read in milliseconds; a file on a slow card may take seconds.
PROBE_TIMEOUT = 30.0


class ProbeClient:
    """Call it with a path. A file that kills or hangs the reader raises MediaError like others."""

    def __init__(self, settings: Stage0) -> None:
        self._settings = settings
        self._child: ChildProcess | None = None

    def __call__(self, path: Path) -> Probe:
        """What the header says.

        Raises:
            MediaError: the file cannot be used, and why.
        """
        try:
            child = self._ready_child()
            child.send({"probe": str(path)})
            answer = child.receive(PROBE_TIMEOUT)
        except ChildHungError as error:
            self.close()
            raise MediaError(f"its header hangs the reader: {error}") from None
        except ChildDiedError as error:
            self.close()
            raise MediaError(f"its header crashes the reader, which {error}") from None
        if "failed" in answer:
            raise MediaError(answer["failed"])
        try:
            return Probe.from_message(answer["probe"])
        except ValidationError:
            self.close()  # taken over, perhaps, by what it read
            raise MediaError("its header makes the reader talk nonsense") from None

    def _ready_child(self) -> ChildProcess:
        if self._child is None:
            self._child = ChildProcess("odins_ravne_assets.munin.media.probe_process")
            self._child.send({"settings": self._settings.model_dump()})
        return self._child

    def close(self) -> None:
        """End the child."""
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
