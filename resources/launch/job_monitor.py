"""A job as a launch watches it: the Pipes session with its worker, and what the worker says."""

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
from resources.storage.object_store import ObjectStore


@dataclass
class JobMonitor:
    """What is known of an attempt only while its job is watched.

    Args:
        clock: of the launch.
        hooks: called with the worker's progress and warnings.
    """

    unit: UnitRecord
    attempt: Attempt
    clock: Clock
    hooks: LaunchHooks
    starved: StarvationTimer = field(default_factory=StarvationTimer)
    error: str | None = None  # the worker's own words on why it cannot go on
    said_last: str = ""
    seen: bool = False  # DescribeJobs knows it
    pipes: dg.PipesSession = field(init=False)
    _reader: StoreMessageReader = field(init=False)
    _session: ExitStack = field(default_factory=ExitStack, init=False)

    @property
    def job_id(self) -> str:
        """The job's id in AWS Batch; a job is watched from its submission on."""
        return self.attempt.job_id or ""

    def open(
        self,
        context: dg.AssetExecutionContext,
        store: ObjectStore,
        folder: str,
        extras: dict[str, Any],
    ) -> None:
        """Open the session.

        Args:
            folder: of the store, for context and messages: where a later process finds them again.
            extras: what the worker is asked to do.
        """
        self._reader = StoreMessageReader(store, folder, self._hear)
        injector = StoreContextInjector(store, f"{folder}/context.json")
        opened = dg.open_pipes_session(context, injector, self._reader, extras)
        self.pipes = self._session.enter_context(opened)

    def read_new(self) -> None:
        """Hear what the worker has said since the last call."""
        self._reader.read_new()

    def close(self) -> None:
        """Hear the rest, and end the session."""
        self._session.close()

    def _hear(self, message: Mapping[str, Any]) -> None:
        """A worker's own message: error, warning, progress, host, work."""
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
