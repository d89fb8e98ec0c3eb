"""Heartbeats of runs: a lease that the process of a run renews, wherever it runs.

A process id means something on its own machine only. A run of another machine, or of a container
that was recreated, is alive as long as its heartbeat changes. Clocks of two machines are never
compared: a watching process counts for how long a heartbeat has not changed, by its own clock. It
counts at most MAX_GAP_SECONDS between two readings, since a run cannot renew its heartbeat while
the database is unreachable or everything sleeps.
"""

import json
import logging
import os
import signal
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Event, Lock, Thread

import dagster as dg

from resources.clock import Clock, system_clock

RENEWAL_SECONDS = 60.0
# A run whose heartbeat has not changed for this long, on a machine that cannot be asked, has died.
EXPIRY_SECONDS = 600.0
MAX_GAP_SECONDS = 60.0
# Of the keys in the key-value table of Dagster's run storage; the rest is the run's id.
KEY_PREFIX = "munin/heartbeat/"
# Linux: the id of the system's installation or of its start, and the space of process ids.
MACHINE_ID, BOOT_ID = Path("/etc/machine-id"), Path("/proc/sys/kernel/random/boot_id")
PROCESS_NAMESPACE = Path("/proc/self/ns/pid")

ENDED_ELSEWHERE = (
    "run %s was ended by another process, because this one was asleep or disconnected from the "
    "database for too long: it stops; its jobs on AWS continue, and finished work is saved"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Heartbeat:
    """A stored heartbeat.

    Args:
        machine: `this_machine` of the process that wrote it.
        renewals: increases with each renewal.
    """

    machine: str
    renewals: int

    def text(self) -> str:
        """Return the stored form."""
        return json.dumps({"machine": self.machine, "renewals": self.renewals})

    @classmethod
    def read(cls, text: str) -> "Heartbeat | None":
        """Return the heartbeat of a stored text; None if it has another form."""
        try:
            fields = json.loads(text)
            return cls(str(fields["machine"]), int(fields["renewals"]))
        except (ValueError, KeyError, TypeError):
            return None


def this_machine() -> str:
    """Return a name of this machine, within which process ids are unique.

    The host name does not suffice: containers may share one, and a recreated container may have
    that of the one before.
    """
    return f"{socket.gethostname()} {_identity()}"


@cache
def _identity() -> str:
    for path in (MACHINE_ID, BOOT_ID):
        try:
            found = path.read_text().strip()
        except OSError:
            continue
        if found:
            break
    else:
        return ""  # not Linux, which alone has containers
    try:
        return f"{found} {PROCESS_NAMESPACE.readlink()}"
    except OSError:
        return found


def read_heartbeats(
    instance: dg.DagsterInstance, run_ids: Collection[str]
) -> Mapping[str, Heartbeat]:
    """Return the heartbeats of those runs that have one, by id."""
    if not run_ids:
        return {}
    keys = {KEY_PREFIX + run_id for run_id in run_ids}
    stored = instance.daemon_cursor_storage.get_cursor_values(keys)
    read = {key.removeprefix(KEY_PREFIX): Heartbeat.read(text) for key, text in stored.items()}
    return {run_id: found for run_id, found in read.items() if found}


def interrupt_this_process() -> None:
    """Interrupt the main thread, as Ctrl-C and "Terminate" in the UI do."""
    os.kill(os.getpid(), signal.SIGINT)


class RunHeartbeat:
    """Renews the heartbeat of a run, from the run's process.

    Args:
        clock: times the renewals.
        interrupt: called if another process has ended the run.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        run_id: str,
        clock: Clock,
        interrupt: Callable[[], None] = interrupt_this_process,
    ) -> None:
        self._instance = instance
        self._run_id = run_id
        self._clock = clock
        self._interrupt = interrupt
        self._stopped = Event()
        self._renewals = 0

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Renew the heartbeat while the context lasts."""
        found = read_heartbeats(self._instance, [self._run_id]).get(self._run_id)
        self._renewals = found.renewals if found else 0
        self.renew()
        thread = Thread(target=self._renew_until_end, name="run-heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()

    def renew(self) -> bool:
        """Renew the heartbeat; return False, and interrupt the run, if another process ended it."""
        run = self._instance.get_run_by_id(self._run_id)
        if run is None or run.is_finished:
            log.error(ENDED_ELSEWHERE, self._run_id)
            self._interrupt()
            return False
        self._renewals += 1
        text = Heartbeat(this_machine(), self._renewals).text()
        key = KEY_PREFIX + self._run_id
        self._instance.daemon_cursor_storage.set_cursor_values({key: text})
        return True

    def _renew_until_end(self) -> None:
        while not self._clock.sleep(RENEWAL_SECONDS, self._stopped):
            try:
                if not self.renew():
                    return
            # The heartbeat remains valid for a while.
            except Exception as error:  # noqa: BLE001 (each database has errors of its own)
                log.warning("the heartbeat of run %s was not renewed: %s", self._run_id, error)


@dataclass
class _Sight:
    heartbeat: Heartbeat | None
    seen_at: float  # by the clock of this process
    unchanged: float = 0.0  # seconds


class HeartbeatWatch:
    """Counts for how long heartbeats have not changed, over all readings by this process.

    Args:
        clock: of this process; only the seconds between two readings matter.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sights: dict[str, _Sight] = {}
        self._lock = Lock()

    def expired(self, heartbeats: Mapping[str, Heartbeat | None]) -> set[str]:
        """Return the runs whose heartbeats have expired.

        Args:
            heartbeats: of all unfinished runs of other machines, just read, by id; None for a run
                without one, of a version that has none.
        """
        now = self._clock.now()
        with self._lock:
            before, self._sights = self._sights, {}
            for run_id, heartbeat in heartbeats.items():
                sight = before.get(run_id)
                if sight is None or sight.heartbeat != heartbeat:
                    sight = _Sight(heartbeat, now)
                gap = now - sight.seen_at
                sight.unchanged += min(max(0.0, gap), MAX_GAP_SECONDS)
                sight.seen_at = now
                self._sights[run_id] = sight
            return {
                run_id
                for run_id, sight in self._sights.items()
                if sight.unchanged >= EXPIRY_SECONDS
            }


# Of this process.
WATCH = HeartbeatWatch(system_clock())
