"""Budgets: whether another job may be launched. Pure decisions; money in USD.

A budget is asked before each submission, with what was spent, what the jobs that run are expected
to cost yet, and what the next one is. What a job costs in the end is known only when it has ended,
so a budget may be passed by as much as jobs cost more than was expected of them. Nothing that runs
is stopped for it: what it has cost would be lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from resources.batch.launch_record import Attempt, UnitRecord
from resources.pricing.economics import Offer, Overheads, on_demand_usd, spot_usd
from resources.settings.profile import CostOptimization

Period = Literal["run", "month"]

SETTINGS: dict[Period, str] = {"run": "budget_usd_per_run", "month": "budget_usd_per_month"}
SPOKEN: dict[Period, str] = {"run": "this run has", "month": "this month's runs have"}


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


def budget_of(cost: CostOptimization, period: Period) -> Decimal | None:
    """The profile's budget; None: there is none."""
    usd: float | None = getattr(cost, SETTINGS[period])
    return None if usd is None else Decimal(str(usd))


def refusal(
    budget: Decimal | None, period: Period, spending: Spending, next_usd: Decimal
) -> str | None:
    """Why the next job is not launched; None: it may be. A budget may be spent to the last cent."""
    if budget is None or spending.spent + spending.committed + next_usd <= budget:
        return None
    running = (
        f", jobs that run may cost {told(spending.committed)} more" if spending.committed else ""
    )
    return (
        f"{SETTINGS[period]} is {told(budget)}: {SPOKEN[period]} cost {told(spending.spent)}"
        f"{running}, the next job about {told(next_usd)}"
    )


def told(usd: Decimal) -> str:
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
