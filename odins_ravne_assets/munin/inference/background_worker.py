"""A background thread with a bounded queue, which returns results in order of submission."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

from odins_ravne_assets.munin.inference.timing import ThreadTiming

Item = TypeVar("Item")
Result = TypeVar("Result")


class BackgroundWorker(Generic[Item, Result]):
    """Processes items in one thread, in order; at most `capacity` of them are pending.

    Example:
        >>> with BackgroundWorker(str.upper, 2, ThreadTiming()) as worker:
        ...     list(worker.map(["a", "b", "c"]))
        ['A', 'B', 'C']
    """

    def __init__(self, work: Callable[[Item], Result], capacity: int, timing: ThreadTiming) -> None:
        """Args:
        work: processes one item; its exceptions are raised where the result is taken.
        capacity: items that may be pending, 1 or more.
        timing: receives the seconds of the work and the number of pending items.
        """
        self._work = work
        self._timing = timing
        timing.depth.capacity = capacity
        self._pending: deque[Future[Result]] = deque()
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Wait for the running item: it may use memory that the caller is about to free.
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _timed(self, item: Item) -> Result:
        with self._timing.timed():
            return self._work(item)

    @property
    def full(self) -> bool:
        return len(self._pending) >= self._timing.depth.capacity

    def submit(self, item: Item) -> None:
        """Queue an item; only if the queue is not `full`."""
        self._pending.append(self._thread.submit(self._timed, item))
        self._timing.depth.record(len(self._pending))

    def take(self) -> Result:
        """Wait for the oldest pending item, and return its result."""
        return self._pending.popleft().result()

    def take_finished(self) -> Iterator[Result]:
        """Yield the results of finished items at the head of the queue, without waiting."""
        while self._pending and self._pending[0].done():
            yield self.take()

    def take_all(self) -> Iterator[Result]:
        """Wait for all pending items, and yield their results."""
        while self._pending:
            yield self.take()

    def map(self, items: Iterable[Item]) -> Iterator[Result]:
        """Process items, up to `capacity` ahead of the consumer; yield the results in order."""
        for item in items:
            if self.full:
                yield self.take()
            self.submit(item)
        yield from self.take_all()
