"""What a launch asks before each submission: do the budgets of the profile allow another job?

What was spent is read from the cost ledger: the launch's own rows are brought up to date first.
A month is one of UTC, and holds the cameras that this machine knows.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl

from resources.batch.launch_record import LaunchRecord, UnitRecord, all_records
from resources.launch.budget_read import (
    Period,
    Spending,
    budget_of,
    committed_usd,
    expected_usd,
    refusal,
)
from resources.ledger.table import read_ledger
from resources.ledger.writer import Bookkeeper, CameraBooks
from resources.pricing.economics import Offer
from resources.settings.profile import CostOptimization
from resources.storage.object_store import LocalStore


@dataclass(frozen=True)
class LaunchBudget:
    """The budgets, as one launch asks them.

    Args:
        record: of the launch.
        same_run: identities of the finished launches of the same run.
        others: the books of all cameras whose money is the same month's; this one's may be there.
        turns: a folder of this machine, whose lock is held by whoever submits.
        offers: asks for the prices of now.
    """

    cost: CostOptimization
    keeper: Bookkeeper
    books: CameraBooks
    record: LaunchRecord
    same_run: frozenset[str]
    others: Callable[[], Iterable[CameraBooks]]
    turns: LocalStore
    offers: Callable[[], Sequence[Offer]]
    _periods: tuple[Period, ...] = field(init=False)

    def __post_init__(self) -> None:
        periods: tuple[Period, ...] = ("run", "month")
        chosen = tuple(each for each in periods if budget_of(self.cost, each) is not None)
        object.__setattr__(self, "_periods", chosen)

    def turn(self) -> AbstractContextManager[None]:
        """To be held from asking until the job is written down: the month's budget is that of all
        cameras of this machine, and the next to ask must see the job.

        Raises:
            StoreError: the folder cannot be written.
        """
        if "month" not in self._periods:
            return nullcontext()
        return self.turns.exclusive(lambda: None)  # a submission takes seconds

    def refusal(self, unit: UnitRecord, queue: str) -> str | None:
        """Why the next job of a unit is not submitted to a queue; None: it may be.

        Raises:
            botocore.exceptions.ClientError, BotoCoreError: AWS refused, or did not answer.
            StoreError: a ledger cannot be read or written.
        """
        if not self._periods:
            return None
        self.keeper.write(self.books, self.record)
        next_usd = expected_usd(unit.seconds, queue, self.offers())
        for period in self._periods:
            spending = self._of_run() if period == "run" else self._of_month()
            budget = budget_of(self.cost, period)
            if refused := refusal(budget, period, spending, next_usd):
                return refused
        return None

    def _of_run(self) -> Spending:
        rows = read_ledger([self.books.ledger])
        ours = rows.filter(pl.col("launch").is_in([*self.same_run, self.record.identity]))
        return Spending(_usd(ours), self._committed([self.record]))

    def _of_month(self) -> Spending:
        books = {each.ledger.url: each for each in self.others()}
        books.pop(self.books.ledger.url, None)
        rows = read_ledger([self.books.ledger, *(each.ledger for each in books.values())])
        records = [record for each in books.values() for record in all_records(each.launches)]
        unfinished = [record for record in records if not record.finished]
        return Spending(
            _usd(rows.filter(_when() >= month_start(self._now()))),
            self._committed([self.record, *unfinished]),
        )

    def _committed(self, records: Sequence[LaunchRecord]) -> Decimal:
        offers, now = self.offers(), self._now()
        units = (unit for record in records for unit in record.units)
        return sum((committed_usd(unit, offers, now) for unit in units), Decimal(0))

    def _now(self) -> float:
        return self.keeper.clients.clock.now()


def month_start(now: float) -> datetime:
    """When the month of a moment began, in UTC."""
    moment = datetime.fromtimestamp(now, UTC)
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _when() -> pl.Expr:
    """The moment whose month a row's money belongs to."""
    return pl.coalesce("started_at", "machine_launched_at", "intended_at")


def _usd(rows: pl.DataFrame) -> Decimal:
    total = rows["usd"].sum()
    return Decimal(0) if total is None else Decimal(total)
