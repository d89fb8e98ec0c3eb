"""What a launch asks before each submission: do the budgets of the profile allow another job?

What was spent is read from the cost ledger: the launch's own rows are brought up to date first.
A month is one of UTC, and holds the cameras that this machine knows.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

import polars as pl

from resources.batch.launch_record import Attempt, LaunchRecord, UnitRecord, load_records
from resources.ledger.table import read_ledger
from resources.ledger.writer import CameraLedger, LedgerWriter
from resources.pricing.economics import Offer, Overheads, on_demand_usd, spot_usd
from resources.settings.profile import CostOptimization
from resources.storage.local_store import LocalStore

Period = Literal["run", "month"]
BUDGET_SETTINGS: dict[Period, str] = {"run": "budget_usd_per_run", "month": "budget_usd_per_month"}
PERIOD_LABELS: dict[Period, str] = {"run": "this run has", "month": "this month's runs have"}


@dataclass(frozen=True)
class Spending:
    """What a run, or a month, has cost.

    Args:
        committed: what its running and waiting jobs are expected to cost yet.
    """

    spent: Decimal = Decimal(0)
    committed: Decimal = Decimal(0)

    def __add__(self, other: "Spending") -> "Spending":
        return Spending(self.spent + other.spent, self.committed + other.committed)


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
    keeper: LedgerWriter
    books: CameraLedger
    record: LaunchRecord
    same_run: frozenset[str]
    others: Callable[[], Iterable[CameraLedger]]
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
        records = [record for each in books.values() for record in load_records(each.launches)]
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


def budget_of(cost: CostOptimization, period: Period) -> Decimal | None:
    """The profile's budget; None: there is none."""
    usd: float | None = getattr(cost, BUDGET_SETTINGS[period])
    return None if usd is None else Decimal(str(usd))


def refusal(
    budget: Decimal | None, period: Period, spending: Spending, next_usd: Decimal
) -> str | None:
    """Why the next job is not launched; None: it may be. A budget may be spent to the last cent."""
    if budget is None or spending.spent + spending.committed + next_usd <= budget:
        return None
    running = (
        f", jobs that run may cost {format_usd(spending.committed)} more"
        if spending.committed
        else ""
    )
    return (
        f"{BUDGET_SETTINGS[period]} is {format_usd(budget)}: {PERIOD_LABELS[period]} cost {format_usd(spending.spent)}"
        f"{running}, the next job about {format_usd(next_usd)}"
    )


def format_usd(usd: Decimal) -> str:
    """An amount for people: cents, or what is less than a cent."""
    return f"${usd:.2f}" if not usd or usd >= 1 else f"${usd:.4f}"


def expected_usd(
    work_seconds: float, queue: str, offers: Sequence[Offer], machine: str | None = None
) -> Decimal:
    """What a job is expected to cost, its machine's boot and idle time included.

    Args:
        machine: the type that it runs on; None: not known yet, the cheapest of the offers is taken.

    Returns:
        0 when there is no price to go by.
    """
    usd = on_demand_usd if queue == "ondemand" else spot_usd
    known = [offer for offer in offers if offer.instance_type == machine] or offers
    overheads = Overheads()
    costs = (usd(offer, work_seconds, overheads) for offer in known)
    return round(Decimal(min(costs, default=0.0)), 6)


def committed_usd(unit: UnitRecord, offers: Sequence[Offer], now: float) -> Decimal:
    """What the living attempt of a unit is expected to cost yet; 0 when there is none."""
    attempt = unit.active
    if attempt is None:
        return Decimal(0)
    whole = expected_usd(unit.seconds, attempt.queue, offers, attempt.host.get("instance_type"))
    return whole * Decimal(1 - _done(unit, attempt, now))


def _done(unit: UnitRecord, attempt: Attempt, now: float) -> float:
    """The share of its expected time that an attempt has had."""
    if attempt.started_at is None:
        return 0.0
    expected = unit.seconds + Overheads().seconds
    return min(1.0, max(0.0, now - attempt.started_at) / expected)
