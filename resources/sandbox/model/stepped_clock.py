"""A clock that advances only during a sleep: hours of an account pass in a real second."""

from collections.abc import Callable
from threading import Event

# Seconds of the account between two ticks of the scheduler.
STEP_SECONDS = 10.0


class SteppedClock:
    """A clock that a sleep advances in steps. See resources.clock.Clock.

    Args:
        on_step: called after each step.
    """

    def __init__(self, started: float, on_step: Callable[[], None]) -> None:
        self._now = started
        self._on_step = on_step

    def now(self) -> float:
        """See Clock."""
        return self._now

    def sleep(self, seconds: float, wake: Event | None = None) -> bool:
        """See Clock. Only one thread may sleep."""
        until = self._now + seconds
        while self._now < until and not (wake and wake.is_set()):
            self._now = min(until, self._now + STEP_SECONDS)
            self._on_step()
        return bool(wake and wake.is_set())
