"""What a launch intends and has done, written down before it is done.

SubmitJob has no idempotency token, so the intent comes first: whoever takes a launch up after its
orchestrator died finds each intended attempt's job by its name, which no other attempt has.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from resources.storage.object_store import ObjectStore

UnitOutcome = Literal["open", "done", "set aside"]


@dataclass
class Attempt:
    """One job of Batch, and what is known of it. Times are seconds since 1970 UTC."""

    name: str  # of the job
    queue: str  # spot-high | spot | ondemand
    reason: str  # why it was submitted, and there
    intended_at: float
    job_id: str | None = None  # None: intended, but not known to be submitted
    moving: str | None = None  # why it is being moved to on-demand; it is cancelled first
    stopping: str | None = None  # why we asked it to stop
    started_at: float | None = None
    ended_at: float | None = None
    end: str | None = None  # an AttemptEnd
    said: str | None = None  # what Batch or the worker said of its end
    finished_media: int = 0
    looked_at: int = 0  # media, in Stage 1
    to_look_at: int | None = None  # of these there are so many; None: not told yet
    looking_since: float | None = None
    host: dict[str, str] = field(default_factory=dict)  # instance_id, instance_type, zone, market
    work: dict[str, float] = field(
        default_factory=dict
    )  # what its worker did, see worker/work_counters.py

    @property
    def active(self) -> bool:
        return self.end is None


@dataclass
class Refusal:
    """A budget that did not allow a job."""

    at: float
    queue: str
    reason: str


@dataclass
class UnitRecord:
    """A stretch of the camera's usable media, or all of them with the tables after."""

    number: int
    start: int | None  # None: the whole camera
    stop: int | None
    seconds: float  # expected work
    outcome: UnitOutcome = "open"
    why: str | None = None  # it was set aside
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
        """Its attempt that is in a queue or running, if any."""
        return self.attempts[-1] if self.attempts and self.attempts[-1].active else None


@dataclass
class LaunchRecord:
    """One launch of one camera.

    Args:
        work: what is to be done, see `identity_hash`.
        settings: what its jobs are asked to do it with, whichever stages; see `identity_hash`.
        number: of the launch among those for the same work, from 1.
        runs: ids of the Dagster runs that it is part of: the one that began it, and those that
            took it up.
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
        """The name of this launch; no other of the camera has it."""
        return f"{self.work}-{self.number}"

    @property
    def attempts(self) -> Iterator[Attempt]:
        return (attempt for unit in self.units for attempt in unit.attempts)

    def save(self, store: ObjectStore) -> None:
        """Write it down; it is safe once this returned."""
        text = json.dumps(asdict(self), indent=1)
        store.write_bytes(f"{self.identity}/record.json", text.encode())


def identity_hash(asked: Mapping[str, Any]) -> str:
    """The name of a launch's work or settings: the same for the same."""
    text = json.dumps(asked, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def records_of_run(records: Iterable[LaunchRecord], run_id: str) -> list[LaunchRecord]:
    """The launches of a run, of the runs whose launches it took up, and so on."""
    left, found, runs = list(records), list[LaunchRecord](), {run_id}
    while ours := [record for record in left if runs & set(record.runs)]:
        found += ours
        left = [record for record in left if record not in ours]
        runs |= {run for record in ours for run in record.runs}
    return found


def load_records(store: ObjectStore) -> list[LaunchRecord]:
    """The records of all launches of a camera."""
    keys = [found.key for found in store.list() if found.key.endswith("/record.json")]
    return [_parse(store.read_bytes(key)) for key in keys]


def _parse(data: bytes) -> LaunchRecord:
    tree = json.loads(data)
    return LaunchRecord(units=[_unit(unit) for unit in tree.pop("units")], **tree)


def _unit(tree: dict[str, Any]) -> UnitRecord:
    attempts = [Attempt(**each) for each in tree.pop("attempts")]
    refusals = [Refusal(**each) for each in tree.pop("refusals", [])]
    return UnitRecord(attempts=attempts, refusals=refusals, **tree)
