"""The monitor of a running job: its Pipes session, and its worker's own messages."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from resources.batch.launch_record import Attempt, UnitRecord
from resources.clock import Clock
from resources.launch.hooks import LaunchHooks
from resources.launch.pipes import StoreContextInjector, StoreMessageReader
from resources.spot.queue_state import StarvationTimer
from resources.storage.layout import PIPES_CONTEXT
from resources.storage.object_store import ObjectStore


@dataclass
class JobMonitor:
    """The job of an attempt, while this process monitors it.

    Args:
        clock: of the launch.
        hooks: called with the worker's progress and warnings.
        starvation: how long it has starved in a spot queue.
        error: the error that its worker reported.
        last_message: the last line logged about its state in the queue.
        is_known: True once DescribeJobs has returned it.
        is_cancelled: True once this process has cancelled it, to move it to another queue.
    """

    unit: UnitRecord
    attempt: Attempt
    clock: Clock
    hooks: LaunchHooks
    starvation: StarvationTimer = field(default_factory=StarvationTimer)
    error: str | None = None
    last_message: str = ""
    is_known: bool = False
    is_cancelled: bool = False
    pipes: dg.PipesSession = field(init=False)
    _reader: StoreMessageReader = field(init=False)
    _session: ExitStack = field(default_factory=ExitStack, init=False)

    def open(
        self,
        context: dg.AssetExecutionContext,
        store: ObjectStore,
        folder: str,
        extras: dict[str, Any],
    ) -> None:
        """Open the Pipes session.

        Args:
            folder: in the store, for context and messages. The same folder resumes a session of
                an earlier process.
            extras: the request to the worker.
        """
        self._reader = StoreMessageReader(store, folder, self._on_message)
        injector = StoreContextInjector(store, f"{folder}/{PIPES_CONTEXT}")
        session = dg.open_pipes_session(context, injector, self._reader, extras)
        self.pipes = self._session.enter_context(session)

    def read_new(self) -> None:
        """Handle the worker's messages since the last call."""
        self._reader.read_new()

    def close(self) -> None:
        """Close the session without reading: `read_new` reads what remains, and may fail."""
        self._reader.stop()
        self._session.close()

    def _on_message(self, message: Mapping[str, Any]) -> None:
        """Handle a custom message: error, warning, host, work or progress."""
        if "error" in message:
            self.error = message["error"]
        if "warning" in message:
            self.hooks.on_warning(message["warning"])
        if "host" in message:
            self.attempt.host = message["host"]
        if "work" in message:
            self.attempt.work = message["work"]
        if "progress" in message:
            progress = message["progress"]
            self.attempt.finished_media = max(self.attempt.finished_media, progress["done"])
            if progress["stage"] == "detections":
                self.attempt.looking_since = self.attempt.looking_since or self.clock.now()
                self.attempt.looked_at = progress["done"]
                self.attempt.to_look_at = progress["total"]
            self.hooks.on_progress(progress)
