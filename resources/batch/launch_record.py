"""The record of a launch: its work units, their attempts and states, stored as JSON.

A launch writes its record before it acts (write-ahead): SubmitJob has no idempotency token, so
whoever resumes a launch after its orchestrator died finds the job of each intended attempt by its
name, which is unique.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from resources.batch.names import Queue
from resources.batch.outcome import AttemptOutcome
from resources.errors import StoreError
from resources.storage.layout import LAUNCH_RECORD
from resources.storage.object_store import ObjectStore


class UnitOutcome(StrEnum):
    """The state of a work unit in its launch."""

    OPEN = "open"
    DONE = "done"
    SET_ASIDE = "set aside"  # skipped: its workers crashed again and again


@dataclass
class Attempt:
    """One job of Batch. Times are seconds since 1970 UTC.

    Args:
        name: of the job.
        reason: why it was submitted, and to this queue.
        job_id: None if it is intended, but not known to be submitted.
        moving: why it is moved to on-demand; it is cancelled first.
        stopping: why the launcher asked it to stop.
        end: its outcome; None while it is queued or running.
        said: the reason for its end, as AWS Batch or the worker reported it.
        finished_media: media that its worker has finished, in the stage with the most.
        looked_at: media analysed in Stage 1.
        to_look_at: media to analyse in Stage 1; None if not reported yet.
        looking_since: the time of Stage 1's first progress.
        host: instance_id, instance_type, zone and market of its machine.
        work: counters and seconds of its worker, see worker/work_counters.py.
    """

    name: str
    queue: Queue
    reason: str
    intended_at: float
    job_id: str | None = None
    moving: str | None = None
    stopping: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    end: AttemptOutcome | None = None
    said: str | None = None
    finished_media: int = 0
    looked_at: int = 0
    to_look_at: int | None = None
    looking_since: float | None = None
    host: dict[str, str] = field(default_factory=dict)
    work: dict[str, int | float] = field(default_factory=dict)

    def age(self, now: float, asked: dict[str, float]) -> float:
        """Return the seconds since it was intended.

        If the time was set back since, by another process, they count from the first call.

        Args:
            asked: the time of the first call by name, to which this one is added.
        """
        return now - min(self.intended_at, asked.setdefault(self.name, now))

    @property
    def active(self) -> bool:
        """True while it is intended, queued or running."""
        return self.end is None


@dataclass
class Refusal:
    """A job that a budget did not allow."""

    at: float
    queue: Queue
    reason: str


@dataclass
class UnitRecord:
    """A work unit: a range of the camera's usable media, or the whole camera.

    Args:
        start, stop: the range of its media, half open; None for the whole camera.
        seconds: expected work.
        why: the reason why it was set aside.
        interruptions: spot machines that EC2 reclaimed from it.
        fruitless_deaths: crashes in a row without progress.
        failed_starts: attempts in a row whose container did not start.
    """

    number: int
    start: int | None
    stop: int | None
    seconds: float
    outcome: UnitOutcome = UnitOutcome.OPEN
    why: str | None = None
    attempts: list[Attempt] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    interruptions: int = 0
    fruitless_deaths: int = 0
    failed_starts: int = 0

    @property
    def slot(self) -> str:
        """The name of its slot, see `LaunchSlots`."""
        return f"unit {self.number}"

    @property
    def active(self) -> Attempt | None:
        """Its attempt that is queued or running, if any."""
        return self.attempts[-1] if self.attempts and self.attempts[-1].active else None


@dataclass
class LaunchRecord:
    """One launch of one camera.

    Args:
        work: hash of the work: settings, stages and units; see `identity_hash`.
        settings: hash of the settings alone, whichever stages run.
        number: of the launch among those of the same work, from 1.
        runs: ids of the Dagster runs it is part of: the one that started it, and those that
            resumed it.
    """

    work: str
    settings: str
    number: int
    began_at: float
    units: list[UnitRecord]
    finished: bool = False
    runs: list[str] = field(default_factory=list)

    @property
    def identity(self) -> str:
        """The name of this launch, unique for the camera."""
        return f"{self.work}-{self.number}"

    @property
    def attempts(self) -> Iterator[Attempt]:
        return (attempt for unit in self.units for attempt in unit.attempts)

    def save(self, store: ObjectStore) -> None:
        """Write the record. It is durable when this returns.

        Args:
            store: the folder `launches` of the camera's output.
        """
        data = _serializer().dump_json(self, indent=1)
        store.write_bytes(f"{self.identity}/{LAUNCH_RECORD}", data)


@cache
def _serializer() -> TypeAdapter[LaunchRecord]:
    return TypeAdapter(LaunchRecord)


def identity_hash(content: Mapping[str, Any]) -> str:
    """Return a hash that identifies the work or settings of a launch."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def records_of_run(records: Iterable[LaunchRecord], run_id: str) -> list[LaunchRecord]:
    """Return the launches of a run, of the runs whose launches it resumed, and so on."""
    left, found, runs = list(records), list[LaunchRecord](), {run_id}
    while ours := [record for record in left if runs & set(record.runs)]:
        found += ours
        left = [record for record in left if record not in ours]
        runs |= {run for record in ours for run in record.runs}
    return found


def load_records(store: ObjectStore, remarks: list[str] | None = None) -> list[LaunchRecord]:
    """Return the records of all launches of a camera.

    Args:
        store: the folder `launches` of the camera's output.
        remarks: receives a sentence for each record that cannot be used, which is left out; None,
            where its jobs may run and would be bought again: the first one raises.

    Raises:
        StoreError: the store refuses; a record is damaged or of another version.
    """
    keys = [found.key for found in store.list() if found.key.endswith(f"/{LAUNCH_RECORD}")]
    records = []
    for key in keys:
        data = store.read_bytes(key)
        try:
            records.append(_parse(data, f"{store.url}/{key}"))
        except StoreError as error:
            if remarks is None:
                raise
            remarks.append(f"a launch is left out: {error}")
    return records


def _parse(data: bytes, shown: str) -> LaunchRecord:
    try:
        return _serializer().validate_json(data)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise StoreError(
            f"{shown}: is damaged or of another version ({reason}); use the version that "
            "wrote it, or, once no job of its launch runs, delete it"
        ) from None
