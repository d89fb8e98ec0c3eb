"""Where the time of Stages 1 and 2 goes: seconds by step, and queue depths.

A user sees from it whether faster decoding or a faster GPU would help. Each step is a bounded
queue, so a step that is ahead waits. In Stage 1 processes decode frames, one thread takes the
frames, runs the engines and journals the boxes, and another cuts crops. In Stage 2 one thread reads
crops and another runs the engine. For an engine on the CPU a further thread fits pictures to the
input; a GPU fits them itself. The thread that runs the engines spends its time in
four ways: waiting for input (more CPUs, `decode_workers`, or decoding on the GPU help), waiting for
the engines (a faster GPU helps), preparing pictures, and saving results.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple, TypeVar, cast

import numpy.typing as npt

from gpu_kernels.engines.batch_queue import FillSlot, ReadSlot
from gpu_kernels.engines.engine import DeviceEngine, Engine
from odins_ravne_assets.munin.progress import Metadata

T = TypeVar("T")
# Steps of the thread that runs the engines. ENGINE_WAIT, the time until an engine answers, is part
# of INFERENCE. ENGINE_BUSY is the time in which engines computed; a GPU computes in parallel.
INPUT_WAIT, INFERENCE, ENGINE_WAIT, SAVING, ENGINE_BUSY = (
    "input_wait",
    "inference",
    "engine_wait",
    "saving",
    "engine_busy",
)


class StepNames(NamedTuple):
    """Names of a stage's steps, in its metadata (spaces become `_`) and in the log."""

    waiting: str  # of the thread that runs the engines, for its input
    parallel: str  # the work of the other thread
    queue: str  # the queue of that thread


STAGE1_STEPS = StepNames("waiting for frames", "cutting crops", "frames_to_crop")
STAGE2_STEPS = StepNames("waiting for crops", "reading crops", "crop_batches")
FITTING = "fitting pictures"


@dataclass
class QueueDepth:
    """The number of items in a queue, sampled."""

    capacity: int = 0
    samples: int = 0
    total: int = 0
    maximum: int = 0

    def record(self, waiting: int) -> None:
        """Add a sample."""
        self.samples += 1
        self.total += waiting
        self.maximum = max(self.maximum, waiting)

    def metadata(self, items: str) -> Metadata:
        """Return the mean, the maximum and the capacity as metadata of a stage.

        Args:
            items: the name of the queue's items, for the keys.
        """
        return {
            f"pipeline/{items}_waiting_mean": round(self.total / max(1, self.samples), 2),
            f"pipeline/{items}_waiting_most": self.maximum,
            f"pipeline/{items}_that_may_wait": self.capacity,
        }


@dataclass
class ThreadTiming:
    """Seconds of a thread that runs in parallel to the engines, and the depth of its queue."""

    depth: QueueDepth = field(default_factory=QueueDepth)
    seconds: float = 0.0

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Add the time of the context to this thread's."""
        started = perf_counter()
        try:
            yield
        finally:
            self.seconds += perf_counter() - started


@dataclass
class StageTiming:
    """Seconds of a stage by step, and queue depths.

    Attributes:
        frames: the queue of decoded frames; decoders stop when it is full.
        crops: the thread that cuts crops in Stage 1, or reads them in Stage 2.
        fitting: the thread that fits pictures to the input of an engine on the CPU.
        frames_on_gpu: frames that the GPU decoded.
        engine: the kind of engine that ran the models.
        starting: seconds until GPU engines were ready, by step; they precede all others.
        decoding_seconds: of all decoding processes together.
    """

    names: StepNames
    seconds: dict[str, float] = field(default_factory=dict)
    frames: QueueDepth = field(default_factory=QueueDepth)
    crops: ThreadTiming = field(default_factory=ThreadTiming)
    fitting: ThreadTiming = field(default_factory=ThreadTiming)
    frames_on_gpu: int = 0
    decoding_seconds: float = 0.0
    engine: str = ""
    starting: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the time of the context to `step`."""
        started = perf_counter()
        try:
            yield
        finally:
            self.add(step, perf_counter() - started)

    def add(self, step: str, seconds: float) -> None:
        self.seconds[step] = self.seconds.get(step, 0.0) + seconds

    def add_start(self, seconds: Mapping[str, float]) -> None:
        """Add the times of steps by which one engine became ready."""
        for step, taken in seconds.items():
            self.starting[step] = self.starting.get(step, 0.0) + taken

    def metadata(self) -> Metadata:
        """Return the metadata of the stage; empty if no engine ran."""
        if ENGINE_BUSY not in self.seconds:
            return {}
        seconds = self._engine_thread() | self._parallel_threads() | self.starting
        busy = self.seconds[ENGINE_BUSY]
        fitting = self.fitting.depth
        return {
            **{f"pipeline/seconds_{_key(step)}": round(s, 3) for step, s in seconds.items()},
            "pipeline/seconds_in_engines": round(busy, 3),
            "pipeline/engine_busy_share": round(min(1.0, busy / self._total()), 3),
            **({"pipeline/engine": self.engine} if self.engine else {}),
            **self.crops.depth.metadata(self.names.queue),
            **(fitting.metadata("fitted_pictures") if fitting.samples else {}),
            **self._frame_metadata(),
        }

    def _frame_metadata(self) -> Metadata:
        if not self.frames.samples:
            return {}
        return {
            "pipeline/seconds_decoding": round(self.decoding_seconds, 3),
            **self.frames.metadata("frames"),
            "pipeline/frames_decoded_by_gpu": self.frames_on_gpu,
        }

    def _engine_thread(self) -> dict[str, float]:
        """Return the seconds of the thread that runs the engines, by step."""
        of = self.seconds.get
        return {
            self.names.waiting: of(INPUT_WAIT, 0.0),
            "waiting for engines": of(ENGINE_WAIT, 0.0),
            "preparing pictures": max(0.0, of(INFERENCE, 0.0) - of(ENGINE_WAIT, 0.0)),
            "keeping results": of(SAVING, 0.0),
        }

    def _parallel_threads(self) -> dict[str, float]:
        """Return the seconds of the other threads, by step."""
        fitting = {FITTING: self.fitting.seconds} if self.fitting.depth.samples else {}
        return fitting | {self.names.parallel: self.crops.seconds}

    def _total(self) -> float:
        return sum(self._engine_thread().values()) or 1.0

    def __str__(self) -> str:
        """Return one line for the log."""
        if not self.metadata():
            return "no frames processed"
        total = self._total()
        engine_thread, parallel = (
            ", ".join(f"{value / total:.0%} {step}" for step, value in seconds.items())
            for seconds in (self._engine_thread(), self._parallel_threads())
        )
        return f"time by step: {engine_thread}; in parallel: {parallel}"


def _key(step: str) -> str:
    return step.replace(" ", "_")


class TimedEngine:
    """An Engine that adds its time to a StageTiming."""

    def __init__(self, engine: Engine, timing: StageTiming) -> None:
        self._engine = engine
        self._timing = timing
        self.description = engine.description
        self.device = engine.device
        self.fixed_batch = engine.fixed_batch

    def run(self, images: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """See Engine."""
        started = perf_counter()
        outputs = self._engine.run(images)
        for step in (ENGINE_WAIT, ENGINE_BUSY):
            self._timing.add(step, perf_counter() - started)
        return outputs

    @property
    def busy_seconds(self) -> float:
        """See DeviceEngine."""
        return cast(DeviceEngine, self._engine).busy_seconds

    def start(self, count: int, fill: FillSlot, read: ReadSlot[T]) -> Callable[[], list[T]]:
        """See DeviceEngine."""
        before = self.busy_seconds
        answers = cast(DeviceEngine, self._engine).start(count, fill, read)
        self._timing.add(ENGINE_BUSY, self.busy_seconds - before)

        def finish() -> list[T]:
            before = self.busy_seconds
            with self._timing.timed(ENGINE_WAIT):
                results = answers()
            self._timing.add(ENGINE_BUSY, self.busy_seconds - before)
            return results

        return finish
