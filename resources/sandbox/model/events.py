"""The log of events, for tests, drills and users; no product code reads it."""

from collections.abc import Callable
from typing import Any

Event = dict[str, Any]


class Events:
    """The events in order: `time` (seconds since 1970 UTC), `type`, and details by type.

    Args:
        now: the account's time.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._events: list[Event] = []

    def add(self, event: str, /, **details: Any) -> None:
        self._events.append({"time": self._now(), "type": event, **details})

    def since(self, index: int = 0) -> list[Event]:
        """Return all events but the first `index`."""
        return self._events[index:]
