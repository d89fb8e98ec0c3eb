"""Where the time of Stage 1 goes, so that a user sees what to buy.

One thread takes frames from the decoders, runs the engines on them, and cuts and journals what was
found; decoding goes on beside it, in processes that wait when their frames are not taken. So its
time is spent in four ways: waiting for frames (faster decoding helps: more CPUs,
`decode_workers`, the GPU's decoder), in the engines (a faster GPU helps), preparing pictures, and
keeping what was found.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from gpu_kernels.engine import DeviceEngine, Engine
from odins_ravne_assets.munin.reporter import Facts

WAITING, ENGINES, LOOKING, KEEPING = "waiting", "engines", "looking", "keeping"


@dataclass
class Pace:
    """Seconds by step, and how many frames were waiting when the engine was ready for more."""

    seconds: dict[str, float] = field(default_factory=dict)
    looks: int = 0
    waiting: int = 0  # frames, summed over the looks
    most_waiting: int = 0
    on_device: int = 0  # frames that the GPU decoded
    room: int = 0  # frames that may wait; decoders stop when they do

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Count what happens inside as `step`."""
        started = perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + perf_counter() - started

    def looked(self, waiting: int) -> None:
        """A batch is about to be looked at, with so many decoded frames, its own included."""
        self.looks += 1
        self.waiting += waiting
        self.most_waiting = max(self.most_waiting, waiting)

    def facts(self) -> Facts:
        """Metadata of the stage; nothing when nothing was looked at."""
        if not self.looks:
            return {}
        of = self.seconds.get
        preparing = max(0.0, of(LOOKING, 0.0) - of(ENGINES, 0.0))
        spent = of(WAITING, 0.0) + of(LOOKING, 0.0) + of(KEEPING, 0.0)
        return {
            "pipeline/seconds_waiting_for_frames": round(of(WAITING, 0.0), 3),
            "pipeline/seconds_in_engines": round(of(ENGINES, 0.0), 3),
            "pipeline/seconds_preparing_pictures": round(preparing, 3),
            "pipeline/seconds_keeping_results": round(of(KEEPING, 0.0), 3),
            "pipeline/engine_busy_share": round(of(ENGINES, 0.0) / spent, 3) if spent else 0.0,
            "pipeline/frames_waiting_mean": round(self.waiting / self.looks, 2),
            "pipeline/frames_waiting_most": self.most_waiting,
            "pipeline/frames_that_may_wait": self.room,
            "pipeline/frames_decoded_by_gpu": self.on_device,
        }

    def __str__(self) -> str:
        """One line for the log."""
        facts = self.facts()
        if not facts:
            return "nothing looked at"
        spent = {
            step: float(str(facts[f"pipeline/seconds_{step.replace(' ', '_')}"]))
            for step in (
                "waiting for frames",
                "in engines",
                "preparing pictures",
                "keeping results",
            )
        }
        total = sum(spent.values()) or 1.0
        shares = ", ".join(f"{seconds / total:.0%} {step}" for step, seconds in spent.items())
        return f"where the time went: {shares}"


class TimedEngine:
    """An Engine whose time is counted."""

    def __init__(self, engine: Engine, pace: Pace) -> None:
        self._engine = engine
        self._pace = pace
        self.description = engine.description
        self.device = engine.device

    def run(self, images: npt.NDArray[np.float32]) -> list[npt.NDArray[Any]]:
        """See Engine."""
        with self._pace.timed(ENGINES):
            return self._engine.run(images)

    def run_filled(
        self, count: int, fill: Callable[[Any, int, int], None]
    ) -> list[npt.NDArray[Any]]:
        """See DeviceEngine; fitting is done by the GPU, and counts with it."""
        with self._pace.timed(ENGINES):
            return cast(DeviceEngine, self._engine).run_filled(count, fill)
