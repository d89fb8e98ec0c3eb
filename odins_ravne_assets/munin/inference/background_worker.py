"""Work that goes on beside this thread, in one of its own: a bounded queue on either side of it.

Who gives it more than there is room for takes what is done first, so that nothing piles up.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

from odins_ravne_assets.munin.inference.timing import ThreadTiming

Piece = TypeVar("Piece")
Done = TypeVar("Done")


class BackgroundWorker(Generic[Piece, Done]):
    """Does pieces of work in the order in which they are given.

    Example:
        >>> with Beside(str.upper, 2, Side()) as work:
        ...     list(work.through(["a", "b", "c"]))
        ['A', 'B', 'C']
    """

    def __init__(self, work: Callable[[Piece], Done], room: int, side: ThreadTiming) -> None:
        """Args:
        work: what is done to a piece; what it raises is raised where the piece is taken.
        room: pieces that may be under way, 1 or more.
        side: told the seconds of the work, and how many pieces are under way.
        """
        self._work = work
        self._side = side
        side.depth.room = room
        self._under_way: deque[Future[Done]] = deque()
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # What is under way may hold memory that is about to go: it is waited for.
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _timed(self, piece: Piece) -> Done:
        with self._side.timed():
            return self._work(piece)

    @property
    def full(self) -> bool:
        return len(self._under_way) >= self._side.depth.room

    def give(self, piece: Piece) -> None:
        """Only if it is not `full`."""
        self._under_way.append(self._thread.submit(self._timed, piece))
        self._side.depth.seen(len(self._under_way))

    def take(self) -> Done:
        """The oldest piece, done; waits for it."""
        return self._under_way.popleft().result()

    def done(self) -> Iterator[Done]:
        """Pieces that are done and were not taken."""
        while self._under_way and self._under_way[0].done():
            yield self.take()

    def rest(self) -> Iterator[Done]:
        """All that is under way; waits."""
        while self._under_way:
            yield self.take()

    def through(self, pieces: Iterable[Piece]) -> Iterator[Done]:
        """Pieces, done, in their order; as many ahead of who asks as there is room for."""
        for piece in pieces:
            if self.full:
                yield self.take()
            self.give(piece)
        yield from self.rest()
