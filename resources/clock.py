"""Clocks, passed in from outside, so that code that waits can be tested and simulated.

A clock of a process never goes back: the time of day is read once, and then advances by a counter
that setting the time does not change. Times that another process has stored may be in the future,
if the time was set back since; code that stores times has to expect that.
"""

import json
import time
import urllib.request
from collections.abc import Callable
from threading import Event
from typing import Protocol

from resources.errors import StoreError


class Clock(Protocol):
    """Tells the time and sleeps."""

    def now(self) -> float:
        """Return seconds since 1970 UTC."""

    def sleep(self, seconds: float, wake: Event | None = None) -> bool:
        """Sleep until the time is up or `wake` is set; return True if it was set."""


def steady_seconds() -> float:
    """Return seconds of a counter that no setting of the time changes.

    On Linux it counts also while the machine sleeps: a lease expires in a sleep.
    """
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


class ScaledClock:
    """A clock that runs `scale` times as fast as this machine's, and never goes back.

    Args:
        started: its time at the start, in seconds since 1970 UTC.
        started_here: this machine's time at that moment.
        wall: returns this machine's time; it is called once.
        steady: returns seconds since any moment.
    """

    def __init__(
        self,
        scale: float = 1.0,
        started: float = 0.0,
        started_here: float = 0.0,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = steady_seconds,
    ) -> None:
        self.scale = scale
        self._steady = steady
        self._since = steady()
        self._at_since = started + (wall() - started_here) * scale

    def now(self) -> float:
        """See Clock."""
        return self._at_since + (self._steady() - self._since) * self.scale

    def sleep(self, seconds: float, wake: Event | None = None) -> bool:
        """See Clock."""
        return (wake or Event()).wait(max(0.0, seconds) / self.scale)


def system_clock() -> ScaledClock:
    """Return the clock of this machine."""
    return ScaledClock()


def clock_at(url: str | None) -> ScaledClock:
    """Return the clock that a URL describes as JSON (scale, started, started_here).

    Args:
        url: the setting `cloud.aws.clock_url`; None returns the system clock.

    Raises:
        StoreError: the URL cannot be read.
    """
    if url is None:
        return system_clock()
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            clock = json.load(answer)
    except (OSError, ValueError) as error:
        raise StoreError(
            f"cloud.aws.clock_url {url}: cannot be read ({error}); is it running?"
        ) from None
    return ScaledClock(clock["scale"], clock["started"], clock["started_here"])
