"""Trouble for runs in a sandbox, on time: when a drill takes machines away and kills orchestrators.

What a worker is at is seen by what it asks S3 for; a strike waits for its moment, from one run
to the next if need be.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Event, RLock, Thread, Timer
from time import sleep

from resources.sandbox.config import CREDENTIALS
from resources.sandbox.protocol import AwsRequest
from resources.sandbox.sandbox import Sandbox

# When a machine is taken, and how; without a notice but for the last two.
MOMENTS = (
    "while it boots",
    "before the worker starts",
    "in Stage 0",
    "in Stage 1",
    "in Stage 2",
    "while writing",
    "with a notice",
    "within the notice",
)
IN_STAGE_1 = ("in Stage 1", "with a notice", "within the notice")
AFTER_STAGE_1 = ("in Stage 2", "while writing")
FOOTAGE, MEDIA_TABLE, DETECTIONS = "/footage/", "/tables/media.parquet", "/tables/detections"
STAGE1_JOURNAL = "/journal/stage1/"
WRITTEN = (STAGE1_JOURNAL, "/journal/stage2/", "/tables/", "/stage3/", "/launches/")
# Requests of an orchestrator for a run that nothing comes across, roughly.
ORCHESTRATOR_REQUESTS = 80
# Real seconds: of Stage 2 in a run of a few media, of a look at machines, and how long a worker
# is held in a write while its machine goes.
STAGE2_SECONDS, LOOK_SECONDS, HELD_SECONDS = 1.0, 0.05, 0.15


@dataclass
class _Armed:
    """The strike that comes next."""

    moment: str
    skip: int  # requests that fit are let pass first
    written: str  # part of the keys that `while writing` means
    delay: float  # real seconds


@dataclass
class Strikes:
    """Strikes until `wanted` have hit. Requests tell it the time, see Sandbox.on_request.

    Args:
        wanted: machines to take away.
        per_run: the most that one run has to bear.
        kills: orchestrators to kill, at one of their requests.
    """

    sandbox: Sandbox
    wanted: int
    per_run: int
    kills: int
    seed: int
    hit: Counter[str] = field(default_factory=Counter)
    killed: int = 0
    _lock: RLock = field(default_factory=RLock)
    _over: Event = field(default_factory=Event)
    _in_run: int = 0
    _struck: set[str] = field(default_factory=set)  # machines
    _media_known: bool = False
    _kill: Callable[[], None] | None = None
    _requests_left: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._moments = self._all_moments()
        self._missed: list[str] = []
        self._armed = self._arm(next(self._moments))
        self._thread = Thread(target=self._look_at_machines, daemon=True)

    @property
    def done(self) -> bool:
        return self.hit.total() >= self.wanted and self.killed >= self.kills

    def __enter__(self) -> "Strikes":
        self.sandbox.on_request = self._asked
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.sandbox.on_request = lambda request: None
        self._over.set()
        self._thread.join()

    def begin_run(self) -> None:
        """Another camera's run begins."""
        with self._lock:
            self._in_run, self._media_known = 0, False
            if self._missed:
                self._missed.append(self._armed.moment)
                self._armed = self._arm(self._missed.pop(0))

    def begin_orchestrator(self, kill: Callable[[], None], first: bool) -> None:
        """A process of a run begins; the first of each run may be killed."""
        with self._lock:
            self._kill = kill if first and self.killed < self.kills else None
            self._requests_left = self._random.randint(1, ORCHESTRATOR_REQUESTS)

    # when

    def _all_moments(self) -> Iterator[str]:
        while True:
            yield from self._random.sample(MOMENTS, len(MOMENTS))

    def _next_moment(self) -> str:
        moment = next(self._moments)
        if moment == "in Stage 0" and self._media_known:  # it is over in this run
            self._missed.append(moment)
            moment = next(self._moments)
        return moment

    def _arm(self, moment: str) -> _Armed:
        pick = self._random
        return _Armed(moment, pick.randint(0, 2), pick.choice(WRITTEN), pick.random())

    def _see(self, written: str) -> None:
        """What is written tells how far a run is. A moment that it has passed comes in another."""
        moment = self._armed.moment
        instead: tuple[str, ...] = ()
        if MEDIA_TABLE in written:
            self._media_known = True
            instead = IN_STAGE_1 if moment == "in Stage 0" else ()
        at_stage_1 = moment == "while writing" and self._armed.written == STAGE1_JOURNAL
        if DETECTIONS in written and (moment in IN_STAGE_1 or at_stage_1):
            instead = AFTER_STAGE_1
        if instead:
            self._missed.append(moment)
            self._armed = self._arm(self._random.choice(instead))

    def _asked(self, request: AwsRequest) -> None:
        if request.access_key == CREDENTIALS["AWS_ACCESS_KEY_ID"]:
            self._orchestrator_asked()
        elif request.service == "s3":
            self._worker_asked(request)

    def _orchestrator_asked(self) -> None:
        with self._lock:
            self._requests_left -= 1
            if self._kill is not None and self._requests_left <= 0:
                self._kill()
                self._kill = None
                self.killed += 1

    def _worker_asked(self, request: AwsRequest) -> None:
        with self._lock:
            written = request.path if request.method == "PUT" else ""
            read = request.path if request.method == "GET" else ""
            self._see(written)
            if not self._fits(read, written):
                return
            if self._armed.skip > 0:
                self._armed.skip -= 1
                return
            in_a_write = self._armed.moment == "while writing"
            self._strike()
        if in_a_write:
            sleep(HELD_SECONDS)

    def _fits(self, read: str, written: str) -> bool:
        match self._armed.moment:
            case "in Stage 0":
                return FOOTAGE in read and not self._media_known
            case "in Stage 1" | "with a notice" | "within the notice":
                return FOOTAGE in read and self._media_known
            case "in Stage 2":
                self._armed.skip = 0
                return DETECTIONS in written
            case "while writing":
                return self._armed.written in written
        return False

    def _look_at_machines(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            with self._lock:
                if self._armed.moment == "while it boots":
                    booting = any(each["state"] == "booting" for each in self.sandbox.instances())
                elif self._armed.moment == "before the worker starts":
                    booting = any(each["status"] == "STARTING" for each in self.sandbox.jobs())
                else:
                    booting = False
                if booting:
                    self._strike()

    # how

    def _strike(self) -> None:
        if self.hit.total() >= self.wanted or self._in_run >= self.per_run:
            return
        machine = next(
            (
                each["instance_id"]
                for each in self.sandbox.instances()
                if each["lifecycle"] == "spot"
                and each["state"] != "terminated"
                and each["instance_id"] not in self._struck  # nothing is taken twice
            ),
            None,
        )
        if machine is None:
            return
        armed, self._armed = self._armed, self._arm(self._next_moment())
        self._struck.add(machine)
        self._in_run += 1
        self.hit[armed.moment] += 1
        if armed.moment == "in Stage 2":
            Timer(armed.delay * STAGE2_SECONDS, self._take, [machine, False]).start()
            return
        self._take(machine, notice="notice" in armed.moment)
        if armed.moment == "within the notice":
            notice = self.sandbox.config.notice_seconds / self.sandbox.config.scale
            Timer(armed.delay * notice, self._take, [machine, False]).start()

    def _take(self, machine: str, notice: bool) -> None:
        try:
            self.sandbox.interrupt(instance_id=machine, notice=notice)
        except LookupError:
            return  # it ended by itself meanwhile
