"""The budgets of the profile: checked before each submission of a job.

Spending is read from the cost ledger, after an update of the launch's own rows. A month is one of
UTC, and contains the cameras that this machine knows.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

import polars as pl

from resources.batch.launch_record import Attempt, LaunchRecord, UnitRecord, load_records
from resources.batch.names import Queue
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
    """The cost of a run or a month, in USD.

    Args:
        committed: the expected remaining cost of its running and queued jobs.
    """

    spent: Decimal = Decimal(0)
    committed: Decimal = Decimal(0)

    def __add__(self, other: "Spending") -> "Spending":
        return Spending(self.spent + other.spent, self.committed + other.committed)


@dataclass(frozen=True)
class LaunchBudget:
    """The budgets of one launch.

    Args:
        camera: the ledger of the launch's camera.
        same_run: identities of the finished launches of the same run.
        known_cameras: return the ledgers of all cameras of the month's budget.
        lock_store: a folder of this machine, locked while a job is submitted.
        offers: return the current prices.
    """

    cost: CostOptimization
    writer: LedgerWriter
    camera: CameraLedger
    record: LaunchRecord
    same_run: frozenset[str]
    known_cameras: Callable[[], Iterable[CameraLedger]]
    lock_store: LocalStore
    offers: Callable[[], Sequence[Offer]]
    _periods: tuple[Period, ...] = field(init=False)

    def __post_init__(self) -> None:
        periods: tuple[Period, ...] = ("run", "month")
        limited = tuple(each for each in periods if budget_of(self.cost, each) is not None)
        object.__setattr__(self, "_periods", limited)

    def submission_lock(self) -> AbstractContextManager[None]:
        """Return the lock from the check of the budgets until the job is in the launch record.

        All cameras of this machine share the month's budget: the next check must count the job.

        Raises:
            StoreError: the folder cannot be written.
        """
        if "month" not in self._periods:
            return nullcontext()
        return self.lock_store.exclusive(lambda: None)  # a submission takes seconds

    def refusal(self, unit: UnitRecord, queue: Queue) -> str | None:
        """Return the reason why a budget does not allow the next job of a unit, or None.

        Raises:
            botocore.exceptions.ClientError, BotoCoreError: AWS refused, or did not answer.
            StoreError: a ledger cannot be read or written.
        """
        if not self._periods:
            return None
        self.writer.write(self.camera, self.record)
        next_usd = expected_usd(unit.seconds, queue, self.offers())
        for period in self._periods:
            spending = self._run_spending() if period == "run" else self._month_spending()
            budget = budget_of(self.cost, period)
            if refused := refusal(budget, period, spending, next_usd):
                return refused
        return None

    def _run_spending(self) -> Spending:
        rows = read_ledger([self.camera.ledger])
        ours = rows.filter(pl.col("launch").is_in([*self.same_run, self.record.identity]))
        return Spending(_usd(ours), self._committed([self.record]))

    def _month_spending(self) -> Spending:
        others = {each.ledger.url: each for each in self.known_cameras()}
        others.pop(self.camera.ledger.url, None)
        rows = read_ledger([self.camera.ledger, *(each.ledger for each in others.values())])
        records = [record for each in others.values() for record in load_records(each.launches)]
        unfinished = [record for record in records if not record.finished]
        return Spending(
            _usd(rows.filter(_cost_time() >= month_start(self._now()))),
            self._committed([self.record, *unfinished]),
        )

    def _committed(self, records: Sequence[LaunchRecord]) -> Decimal:
        offers, now = self.offers(), self._now()
        units = (unit for record in records for unit in record.units)
        return sum((committed_usd(unit, offers, now) for unit in units), Decimal(0))

    def _now(self) -> float:
        return self.writer.clients.clock.now()


def month_start(now: float) -> datetime:
    """Return the start of the month of a time, in UTC."""
    return datetime.fromtimestamp(now, UTC).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )


def _cost_time() -> pl.Expr:
    """Return the time that decides which month a row's cost belongs to."""
    return pl.coalesce("started_at", "machine_launched_at", "intended_at")


def _usd(rows: pl.DataFrame) -> Decimal:
    total = rows["usd"].sum()
    return Decimal(0) if total is None else Decimal(total)


def budget_of(cost: CostOptimization, period: Period) -> Decimal | None:
    """Return the profile's budget, or None if there is none."""
    usd: float | None = getattr(cost, BUDGET_SETTINGS[period])
    return None if usd is None else Decimal(str(usd))


def refusal(
    budget: Decimal | None, period: Period, spending: Spending, next_usd: Decimal
) -> str | None:
    """Return the reason why a budget does not allow the next job, or None.

    A budget may be spent to the last cent.
    """
    if budget is None or spending.spent + spending.committed + next_usd <= budget:
        return None
    limit, spent = format_usd(budget), format_usd(spending.spent)
    committed = (
        f", running jobs may cost {format_usd(spending.committed)} more"
        if spending.committed
        else ""
    )
    return (
        f"{BUDGET_SETTINGS[period]} is {limit}: {PERIOD_LABELS[period]} cost {spent}{committed}, "
        f"the next job about {format_usd(next_usd)}"
    )


def format_usd(usd: Decimal) -> str:
    """Format an amount in cents, or with more digits below a dollar."""
    return f"${usd:.2f}" if not usd or usd >= 1 else f"${usd:.4f}"


def expected_usd(
    work_seconds: float, queue: Queue, offers: Sequence[Offer], machine: str | None = None
) -> Decimal:
    """Return the expected cost of a job, including its machine's boot and idle time.

    Args:
        machine: its instance type; None if not known yet, for the cheapest offer.

    Returns:
        0 if no price is known.
    """
    usd = on_demand_usd if queue == Queue.ON_DEMAND else spot_usd
    known = [offer for offer in offers if offer.instance_type == machine] or offers
    overheads = Overheads()
    costs = (usd(offer, work_seconds, overheads) for offer in known)
    return round(Decimal(min(costs, default=0.0)), 6)


def committed_usd(unit: UnitRecord, offers: Sequence[Offer], now: float) -> Decimal:
    """Return the expected remaining cost of a unit's active attempt; 0 if there is none."""
    attempt = unit.active
    if attempt is None:
        return Decimal(0)
    total = expected_usd(unit.seconds, attempt.queue, offers, attempt.host.get("instance_type"))
    return total * Decimal(1 - _elapsed_share(unit, attempt, now))


def _elapsed_share(unit: UnitRecord, attempt: Attempt, now: float) -> float:
    """Return the elapsed share of an attempt's expected time."""
    if attempt.started_at is None:
        return 0.0
    expected = unit.seconds + Overheads().seconds
    return min(1.0, max(0.0, now - attempt.started_at) / expected)
