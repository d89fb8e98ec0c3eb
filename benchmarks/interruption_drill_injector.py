"""Trouble for runs in a sandbox, on time: when a drill takes machines away and kills orchestrators.

What a worker is at is seen by what it asks S3 for. A strike for each moment is armed all the time.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, RLock, Thread, Timer
from time import sleep

from resources.sandbox.model.config import CREDENTIALS
from resources.sandbox.sandbox import Sandbox
from resources.sandbox.wire.protocol import AwsRequest

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
FOOTAGE, MEDIA_TABLE, DETECTIONS = "/footage/", "/tables/media.parquet", "/tables/detections"
WRITTEN = ("/journal/stage1/", "/journal/stage2/", "/tables/", "/stage3/", "/launches/")
# An orchestrator dies at one of so many of its requests: about as many as a run takes that loses
# some machines.
ORCHESTRATOR_REQUESTS = 150
KILLS_PER_RUN = 2
# Of a machine that boots, or a job that starts, each time it is looked at.
CHANCE = 0.1
# Real seconds: of Stage 2 in a run of a few media, of a look at machines, and how long a worker
# is held in a write while its machine goes.
STAGE2_SECONDS, LOOK_SECONDS, HELD_SECONDS = 1.0, 0.05, 0.15


@dataclass
class _Trigger:
    """When the next strike of a moment is due."""

    skip: int  # requests that fit are let pass first
    written: str  # part of the keys that `while writing` means
    delay: float  # real seconds


@dataclass
class InterruptionInjector:
    """Strikes until `wanted` have hit, each moment as often. Requests tell it the time, see
    Sandbox.on_request.

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
    _in_run: Counter[str] = field(default_factory=Counter)
    _killed_in_run: int = 0
    _struck: set[str] = field(default_factory=set)  # machines
    _media_known: bool = False
    _kill: Callable[[], None] | None = None
    _requests_left: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._armed = {moment: self._arm() for moment in MOMENTS}
        self._thread = Thread(target=self._look_at_machines, daemon=True)

    @property
    def done(self) -> bool:
        return self.hit.total() >= self.wanted and self.killed >= self.kills

    def __enter__(self) -> "InterruptionInjector":
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
            self._in_run.clear()
            self._killed_in_run, self._media_known = 0, False

    def begin_orchestrator(self, kill: Callable[[], None]) -> None:
        """A process of a run begins; the first ones of each run may be killed."""
        with self._lock:
            spared = self.killed >= self.kills or self._killed_in_run >= KILLS_PER_RUN
            self._kill = None if spared else kill
            self._requests_left = self._random.randint(1, ORCHESTRATOR_REQUESTS)

    # when

    def _arm(self) -> _Trigger:
        pick = self._random
        return _Trigger(pick.randint(0, 2), pick.choice(WRITTEN), pick.random())

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
                self._killed_in_run += 1

    def _worker_asked(self, request: AwsRequest) -> None:
        with self._lock:
            written = request.path if request.method == "PUT" else ""
            read = request.path if request.method == "GET" else ""
            self._media_known = self._media_known or MEDIA_TABLE in written
            moment = self._struck_at([each for each in MOMENTS if self._fits(each, read, written)])
        if moment == "while writing":
            sleep(HELD_SECONDS)

    def _fits(self, moment: str, read: str, written: str) -> bool:
        match moment:
            case "in Stage 0":
                return FOOTAGE in read and not self._media_known
            case "in Stage 1" | "with a notice" | "within the notice":
                return FOOTAGE in read and self._media_known
            case "in Stage 2":
                return DETECTIONS in written
            case "while writing":
                return self._armed[moment].written in written
        return False

    def _struck_at(self, moments: Sequence[str]) -> str | None:
        """Strike at one of the moments that it is now, if its strike is due."""
        for moment in sorted(moments, key=lambda each: self.hit[each]):
            armed = self._armed[moment]
            if armed.skip > 0 and moment != "in Stage 2":  # there is one such request in an attempt
                armed.skip -= 1
            elif self._is_wanted(moment) and self._strike(moment):
                return moment
        return None

    def _is_wanted(self, moment: str) -> bool:
        """Whether there have been too few of them, in the drill and in this run."""
        if self.hit.total() >= self.wanted or self._in_run.total() >= self.per_run:
            return False
        of_each = [-(-most // len(MOMENTS)) for most in (self.wanted, self.per_run)]
        return self.hit[moment] < of_each[0] and self._in_run[moment] < of_each[1]

    def _look_at_machines(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            with self._lock:
                if any(each["state"] == "booting" for each in self.sandbox.instances()):
                    self._maybe("while it boots")
                if any(each["status"] == "STARTING" for each in self.sandbox.jobs()):
                    self._maybe("before the worker starts")

    def _maybe(self, moment: str) -> None:
        if self._random.random() < CHANCE and self._is_wanted(moment):
            self._strike(moment)

    # how

    def _strike(self, moment: str) -> bool:
        """Take the machine of the run, if it has one that is not taken already."""
        machine = next(
            (
                each["instance_id"]
                for each in self.sandbox.instances()
                if each["lifecycle"] == "spot"
                and each["state"] != "terminated"
                and each["instance_id"] not in self._struck
            ),
            None,
        )
        if machine is None:
            return False
        armed, self._armed[moment] = self._armed[moment], self._arm()
        self._struck.add(machine)
        self._in_run[moment] += 1
        self.hit[moment] += 1
        if moment == "in Stage 2":
            Timer(armed.delay * STAGE2_SECONDS, self._take, [machine, False]).start()
            return True
        self._take(machine, notice="notice" in moment)
        if moment == "within the notice":
            notice = self.sandbox.config.notice_seconds / self.sandbox.config.scale
            Timer(armed.delay * notice, self._take, [machine, False]).start()
        return True

    def _take(self, machine: str, notice: bool) -> None:
        try:
            self.sandbox.interrupt(instance_id=machine, notice=notice)
        except LookupError:
            return  # it ended by itself meanwhile
