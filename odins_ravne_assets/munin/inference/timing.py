"""Where the time of Stages 1 and 2 goes, so that a user sees what to buy.

Every step is a queue with a bound: who is ahead waits. In Stage 1 processes decode frames; one
thread takes them, runs the engines on them and journals what was found; another cuts crops. In
Stage 2 a thread reads crops, and another runs the engine on them. In both, for an engine of the
CPU, a thread fits pictures to its input; a GPU's does that itself, in its lanes. So the time of the
thread that runs the engines is spent in four ways: waiting for the step before (faster decoding
helps: more CPUs, `decode_workers`, the GPU's decoder), for the engines (a faster GPU helps),
preparing pictures, and keeping what was found.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt

from gpu_kernels.engines.engine import DeviceEngine, Engine
from gpu_kernels.engines.lanes import Fill, Read
from odins_ravne_assets.munin.progress import Metadata

T = TypeVar("T")
# Steps of the thread that runs the engines. What is AWAITED is within LOOKING: the time until an
# engine answers. ENGINES: in which they computed, on a GPU while the thread did something else.
INPUT_WAIT, INFERENCE, ENGINE_WAIT, SAVING, ENGINE_BUSY = "waiting", "looking", "awaited", "keeping", "engines"


class StepNames(NamedTuple):
    """How a stage's steps are called in its metadata."""

    waiting: str  # for the step before
    beside: str  # what another thread does
    queue: str  # pieces that are given to it


STAGE1_STEPS = StepNames("waiting for frames", "cutting crops", "frames_to_crop")
STAGE2_STEPS = StepNames("waiting for crops", "reading crops", "crop_batches")
FITTING = "fitting pictures"


@dataclass
class QueueDepth:
    """How many pieces were in a queue, whenever it was looked at."""

    room: int = 0
    looks: int = 0
    summed: int = 0
    most: int = 0

    def seen(self, waiting: int) -> None:
        self.looks += 1
        self.summed += waiting
        self.most = max(self.most, waiting)

    def facts(self, pieces: str) -> Metadata:
        return {
            f"pipeline/{pieces}_waiting_mean": round(self.summed / max(1, self.looks), 2),
            f"pipeline/{pieces}_waiting_most": self.most,
            f"pipeline/{pieces}_that_may_wait": self.room,
        }


@dataclass
class ThreadTiming:
    """What a thread does beside the one that runs the engines, and what waits for it or is done."""

    depth: QueueDepth = field(default_factory=QueueDepth)
    seconds: float = 0.0

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count what happens inside as this thread's."""
        started = perf_counter()
        try:
            yield
        finally:
            self.seconds += perf_counter() - started


@dataclass
class StageTiming:
    """Seconds by step, and how full the queues were."""

    words: StepNames
    seconds: dict[str, float] = field(default_factory=dict)
    frames: QueueDepth = field(
        default_factory=QueueDepth
    )  # decoded ones; decoders stop when it is full
    crops: ThreadTiming = field(default_factory=ThreadTiming)  # cut in Stage 1, read in Stage 2
    fitted: ThreadTiming = field(
        default_factory=ThreadTiming
    )  # pictures, to the input of an engine of the CPU
    on_device: int = 0  # frames that the GPU decoded
    seconds_decoding: float = 0.0  # of the decoding processes, together

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Count what happens inside as `step`."""
        started = perf_counter()
        try:
            yield
        finally:
            self.add(step, perf_counter() - started)

    def add(self, step: str, seconds: float) -> None:
        self.seconds[step] = self.seconds.get(step, 0.0) + seconds

    def facts(self) -> Metadata:
        """Metadata of the stage; nothing when no engine ran."""
        if ENGINE_BUSY not in self.seconds:
            return {}
        seconds = self._spent() | self._spent_beside()
        busy = self.seconds[ENGINE_BUSY]
        return {
            **{f"pipeline/seconds_{_key(step)}": round(s, 3) for step, s in seconds.items()},
            "pipeline/seconds_in_engines": round(busy, 3),
            "pipeline/engine_busy_share": round(min(1.0, busy / self._total()), 3),
            **self.crops.depth.facts(self.words.queue),
            **(self.fitted.depth.facts("fitted_pictures") if self.fitted.depth.looks else {}),
            **self._of_frames(),
        }

    def _of_frames(self) -> Metadata:
        if not self.frames.looks:
            return {}
        return {
            "pipeline/seconds_decoding": round(self.seconds_decoding, 3),
            **self.frames.facts("frames"),
            "pipeline/frames_decoded_by_gpu": self.on_device,
        }

    def _spent(self) -> dict[str, float]:
        """The time of the thread that runs the engines."""
        of = self.seconds.get
        return {
            self.words.waiting: of(INPUT_WAIT, 0.0),
            "waiting for engines": of(ENGINE_WAIT, 0.0),
            "preparing pictures": max(0.0, of(INFERENCE, 0.0) - of(ENGINE_WAIT, 0.0)),
            "keeping results": of(SAVING, 0.0),
        }

    def _spent_beside(self) -> dict[str, float]:
        """The time of the other threads; each has as much as the one that runs the engines."""
        fitting = {FITTING: self.fitted.seconds} if self.fitted.depth.looks else {}
        return fitting | {self.words.beside: self.crops.seconds}

    def _total(self) -> float:
        return sum(self._spent().values()) or 1.0

    def __str__(self) -> str:
        """One line for the log."""
        if not self.facts():
            return "nothing looked at"
        total = self._total()
        spent, beside = (
            ", ".join(f"{value / total:.0%} {step}" for step, value in seconds.items())
            for seconds in (self._spent(), self._spent_beside())
        )
        return f"where the time went: {spent}; beside it, {beside}"


def _key(step: str) -> str:
    return step.replace(" ", "_")


class TimedEngine:
    """An Engine whose time is counted."""

    def __init__(self, engine: Engine, pace: StageTiming) -> None:
        self._engine = engine
        self._pace = pace
        self.description = engine.description
        self.device = engine.device

    def run(self, images: npt.NDArray[np.float32]) -> list[npt.NDArray[Any]]:
        """See Engine."""
        started = perf_counter()
        outputs = self._engine.run(images)
        for step in (ENGINE_WAIT, ENGINE_BUSY):
            self._pace.add(step, perf_counter() - started)
        return outputs

    @property
    def busy_seconds(self) -> float:
        """See DeviceEngine."""
        return cast(DeviceEngine, self._engine).busy_seconds

    def start(self, count: int, fill: Fill, read: Read[T]) -> Callable[[], list[T]]:
        """See DeviceEngine."""
        before = self.busy_seconds
        answers = cast(DeviceEngine, self._engine).start(count, fill, read)
        self._pace.add(ENGINE_BUSY, self.busy_seconds - before)

        def finish() -> list[T]:
            before = self.busy_seconds
            with self._pace.timed(ENGINE_WAIT):
                answered = answers()
            self._pace.add(ENGINE_BUSY, self.busy_seconds - before)
            return answered

        return finish
