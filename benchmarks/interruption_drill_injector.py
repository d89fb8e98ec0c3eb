"""Fault injection for the interruption drill: interrupts machines and kills orchestrators.

The requests of a worker to S3 show its stage. For each moment of `Moment`, one interruption is
armed at all times.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Event, RLock, Thread, Timer
from time import sleep

from resources.aws.batch_states import JobStatus
from resources.sandbox.fleet.instances import InstanceState
from resources.sandbox.model.config import CREDENTIALS
from resources.sandbox.model.prices import SPOT
from resources.sandbox.sandbox import Sandbox
from resources.sandbox.wire.protocol import AwsRequest


class Moment(StrEnum):
    """The moment of an interruption; all but the last two are without a notice."""

    BOOT = "while it boots"
    START = "before the worker starts"
    STAGE_0 = "in Stage 0"
    STAGE_1 = "in Stage 1"
    STAGE_2 = "in Stage 2"
    WRITE = "during a write"
    NOTICE = "with a notice"
    WITHIN_NOTICE = "within the notice"


WITH_NOTICE = {Moment.NOTICE, Moment.WITHIN_NOTICE}
FOOTAGE, MEDIA_TABLE, DETECTIONS = "/footage/", "/tables/media.parquet", "/tables/detections"
WRITTEN = ("/journal/stage1/", "/journal/stage2/", "/tables/", "/stage3/", "/launches/")
# An orchestrator is killed at one of its first requests: about as many as a run makes that loses
# some machines.
ORCHESTRATOR_REQUESTS = 150
KILLS_PER_RUN = 2
# Probability of an interruption at each check of a booting machine or a starting job.
CHANCE = 0.1
# Real seconds: Stage 2 of a run with a few media; the interval of checks of the machines; the delay
# of a write while the machine is interrupted.
STAGE2_SECONDS, CHECK_SECONDS, WRITE_DELAY_SECONDS = 1.0, 0.05, 0.15


@dataclass
class _Trigger:
    """The trigger of the next interruption at a moment."""

    skip: int  # matching requests to skip
    written: str  # part of the key, for Moment.WRITE
    delay: float  # real seconds


@dataclass
class InterruptionInjector:
    """Interrupts machines until `wanted` are interrupted, at each moment equally often.

    Requests are its clock, see Sandbox.on_request.

    Args:
        wanted: machines to interrupt.
        per_run: maximum of interruptions of one run.
        kills: orchestrators to kill, at one of their requests.
    """

    sandbox: Sandbox
    wanted: int
    per_run: int
    kills: int
    seed: int
    interrupted: Counter[Moment] = field(default_factory=Counter)
    killed: int = 0
    _lock: RLock = field(default_factory=RLock)
    _ended: Event = field(default_factory=Event)
    _in_run: Counter[Moment] = field(default_factory=Counter)
    _killed_in_run: int = 0
    _machines: set[str] = field(default_factory=set)  # that were interrupted
    _has_media_table: bool = False
    _kill: Callable[[], None] | None = None
    _requests_left: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._triggers = {moment: self._arm() for moment in Moment}
        self._thread = Thread(target=self._check_machines, daemon=True)

    @property
    def done(self) -> bool:
        return self.interrupted.total() >= self.wanted and self.killed >= self.kills

    def __enter__(self) -> "InterruptionInjector":
        self.sandbox.on_request = self._on_request
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.sandbox.on_request = lambda request: None
        self._ended.set()
        self._thread.join()

    def begin_run(self) -> None:
        """Reset the counts of a run."""
        with self._lock:
            self._in_run.clear()
            self._killed_in_run, self._has_media_table = 0, False

    def begin_orchestrator(self, kill: Callable[[], None]) -> None:
        """Register a new process of the run; the first ones of each run may be killed."""
        with self._lock:
            is_enough = self.killed >= self.kills or self._killed_in_run >= KILLS_PER_RUN
            self._kill = None if is_enough else kill
            self._requests_left = self._random.randint(1, ORCHESTRATOR_REQUESTS)

    # triggers

    def _arm(self) -> _Trigger:
        pick = self._random
        return _Trigger(pick.randint(0, 2), pick.choice(WRITTEN), pick.random())

    def _on_request(self, request: AwsRequest) -> None:
        if request.access_key == CREDENTIALS["AWS_ACCESS_KEY_ID"]:
            self._on_orchestrator_request()
        elif request.service == "s3":
            self._on_worker_request(request)

    def _on_orchestrator_request(self) -> None:
        with self._lock:
            self._requests_left -= 1
            if self._kill is not None and self._requests_left <= 0:
                self._kill()
                self._kill = None
                self.killed += 1
                self._killed_in_run += 1

    def _on_worker_request(self, request: AwsRequest) -> None:
        with self._lock:
            written = request.path if request.method == "PUT" else ""
            read = request.path if request.method == "GET" else ""
            self._has_media_table = self._has_media_table or MEDIA_TABLE in written
            moments = [each for each in Moment if self._matches(each, read, written)]
            moment = self._interrupt_at(moments)
        if moment == Moment.WRITE:
            sleep(WRITE_DELAY_SECONDS)

    def _matches(self, moment: Moment, read: str, written: str) -> bool:
        match moment:
            case Moment.STAGE_0:
                return FOOTAGE in read and not self._has_media_table
            case Moment.STAGE_1 | Moment.NOTICE | Moment.WITHIN_NOTICE:
                return FOOTAGE in read and self._has_media_table
            case Moment.STAGE_2:
                return DETECTIONS in written
            case Moment.WRITE:
                return self._triggers[moment].written in written
        return False

    def _interrupt_at(self, moments: Sequence[Moment]) -> Moment | None:
        """Interrupt the machine at one of the present moments, if its trigger is due."""
        for moment in sorted(moments, key=lambda each: self.interrupted[each]):
            trigger = self._triggers[moment]
            # An attempt makes only one request that matches Stage 2.
            if trigger.skip > 0 and moment != Moment.STAGE_2:
                trigger.skip -= 1
            elif self._is_wanted(moment) and self._interrupt(moment):
                return moment
        return None

    def _is_wanted(self, moment: Moment) -> bool:
        """True if there have been too few of them, in the drill and in this run."""
        if self.interrupted.total() >= self.wanted or self._in_run.total() >= self.per_run:
            return False
        in_drill, in_run = (-(-most // len(Moment)) for most in (self.wanted, self.per_run))
        return self.interrupted[moment] < in_drill and self._in_run[moment] < in_run

    def _check_machines(self) -> None:
        while not self._ended.wait(CHECK_SECONDS):
            with self._lock:
                machines, jobs = self.sandbox.instances(), self.sandbox.jobs()
                if any(each["state"] == InstanceState.BOOTING for each in machines):
                    self._maybe_interrupt(Moment.BOOT)
                if any(each["status"] == JobStatus.STARTING for each in jobs):
                    self._maybe_interrupt(Moment.START)

    def _maybe_interrupt(self, moment: Moment) -> None:
        if self._random.random() < CHANCE and self._is_wanted(moment):
            self._interrupt(moment)

    # interruptions

    def _interrupt(self, moment: Moment) -> bool:
        """Interrupt the run's machine; return False if it has none that is not interrupted yet."""
        machine = next(
            (
                each["instance_id"]
                for each in self.sandbox.instances()
                if each["lifecycle"] == SPOT
                and each["state"] != InstanceState.TERMINATED
                and each["instance_id"] not in self._machines
            ),
            None,
        )
        if machine is None:
            return False
        trigger, self._triggers[moment] = self._triggers[moment], self._arm()
        self._machines.add(machine)
        self._in_run[moment] += 1
        self.interrupted[moment] += 1
        if moment == Moment.STAGE_2:
            Timer(trigger.delay * STAGE2_SECONDS, self._interrupt_machine, [machine, False]).start()
            return True
        self._interrupt_machine(machine, notice=moment in WITH_NOTICE)
        if moment == Moment.WITHIN_NOTICE:
            notice = self.sandbox.config.notice_seconds / self.sandbox.config.scale
            Timer(trigger.delay * notice, self._interrupt_machine, [machine, False]).start()
        return True

    def _interrupt_machine(self, machine: str, notice: bool) -> None:
        try:
            self.sandbox.interrupt(instance_id=machine, notice=notice)
        except LookupError:
            return  # it has ended in the meantime
