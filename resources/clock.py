"""The time of day, handed in from outside, so that code which waits can be tested and simulated."""

import json
import time
import urllib.request
from threading import Event
from typing import Protocol

from resources.errors import StoreError


class Clock(Protocol):
    """What tells the time of day, and waits by it."""

    def now(self) -> float:
        """Seconds since 1970 UTC."""

    def sleep(self, seconds: float, wake: Event | None = None) -> bool:
        """Wait, or until `wake` is set; tells whether it was."""


class ScaledClock:
    """A clock that runs `scale` times as fast as this machine's, from a given moment on.

    Args:
        started: what it showed, in seconds since 1970 UTC, when this machine showed `started_here`.
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
    """This machine's clock."""
    return ScaledClock()


def clock_at(url: str | None) -> ScaledClock:
    """The clock that a URL tells of as JSON (scale, started, started_here); without one, our own.

    Raises:
        StoreError: nobody answers there.
    """
    if url is None:
        return system_clock()
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            told = json.load(answer)
    except (OSError, ValueError) as error:
        raise StoreError(
            f"cloud.aws.clock_url {url}: cannot be read ({error}); is it running?"
        ) from None
    return ScaledClock(told["scale"], told["started"], told["started_here"])
