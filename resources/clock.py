"""Clocks, passed in from outside, so that code that waits can be tested and simulated."""

import json
import time
import urllib.request
from threading import Event
from typing import Protocol

from resources.errors import StoreError


class Clock(Protocol):
    """Tells the time and sleeps."""

    def now(self) -> float:
        """Return seconds since 1970 UTC."""

    def sleep(self, seconds: float, wake: Event | None = None) -> bool:
        """Sleep until the time is up or `wake` is set; return True if it was set."""


class ScaledClock:
    """A clock that runs `scale` times as fast as the system clock.

    Args:
        started: its time at the start, in seconds since 1970 UTC.
        started_here: the system clock's time at that moment.
    """

    def __init__(self, scale: float = 1.0, started: float = 0.0, started_here: float = 0.0) -> None:
        self.scale = scale
        self._started = started
        self._started_here = started_here

    def now(self) -> float:
        """See Clock."""
        return self._started + (time.time() - self._started_here) * self.scale

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
