"""The cost of a running launch so far, and the expected rest, reported when it has changed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import dagster as dg
import polars as pl

from resources.batch.launch_record import Attempt, LaunchRecord, UnitOutcome, UnitRecord
from resources.batch.names import Queue
from resources.clock import Clock
from resources.launch.hooks import OnCost
from resources.pricing.economics import HOUR_SECONDS, Offer, Overheads, on_demand_usd, spot_usd

# A cost is reported again once it has changed by this share of the total.
REPORT_CHANGE_SHARE = Decimal("0.1")
# Below this share of finished work, a worker's speed is not known.
MIN_SHARE_DONE = 0.02
# A job that exceeds its expected time is expected to take this share of its time in addition.
OVERDUE_SHARE = 0.2
# A running job has been booted and started.
RUNNING_OVERHEADS = Overheads(boot_seconds=0, start_seconds=0)
# Seconds between two reports, while jobs run.
MIN_REPORT_SECONDS = 300.0


@dataclass(frozen=True)
class RunningCost:
    """The cost of a launch at some time.

    Args:
        usd: the cost so far.
        usd_left: the expected rest.
        seconds_left: until the end of the last job, if machines are available.
    """

    usd: Decimal
    usd_left: Decimal
    seconds_left: float

    def differs_from(self, reported: "RunningCost | None") -> bool:
        """Return True if it has changed enough since the last report."""
        if reported is None:
            return self.usd > 0
        if reported.usd_left and not self.usd_left:
            return True  # it is done
        total = self.usd + self.usd_left
        changes = (abs(self.usd - reported.usd), abs(self.usd_left - reported.usd_left))
        return max(changes) >= REPORT_CHANGE_SHARE * total > 0

    @property
    def log_line(self) -> str:
        """A line for the log and the terminal."""
        so_far = f"cost so far ${self.usd:.4f}"
        if not self.usd_left:
            return so_far
        minutes = max(1, round(self.seconds_left / 60))
        hours, rest = divmod(minutes, 60)
        time = f"{hours} h {rest:02d} min" if hours else f"{minutes} min"
        return f"{so_far}, about ${self.usd_left:.4f} and {time} to go"

    @property
    def as_event(self) -> dict[str, str]:
        """For the terminal: a line, and a short form for a progress bar."""
        total = self.usd + self.usd_left
        short = f"${self.usd:.4f}" + (f" of ${total:.4f}" if self.usd_left else "")
        return {"line": self.log_line, "short": short}

    @property
    def tags(self) -> dict[str, str]:
        """Tags for the Dagster run."""
        return {
            "munin/cost_so_far_usd": f"{self.usd:.6f}",
            "munin/cost_left_usd": f"{self.usd_left:.6f}",
        }


def cost_since(record: LaunchRecord, offers: Sequence[Offer], since: float, now: float) -> Decimal:
    """Return the cost of jobs since the last update of the ledger."""
    usd = 0.0
    for attempt in record.attempts:
        if attempt.started_at is not None:
            until = now if attempt.active else attempt.ended_at or since
            seconds = max(0.0, until - max(since, attempt.started_at))
            usd += seconds / HOUR_SECONDS * _usd_per_hour(attempt, offers)
    return round(Decimal(usd), 6)


def _usd_per_hour(attempt: Attempt, offers: Sequence[Offer]) -> float:
    same = [each for each in offers if each.instance_type == attempt.host.get("instance_type")]
    on_demand = attempt.queue == Queue.ON_DEMAND
    prices = [each.on_demand if on_demand else each.spot for each in same or offers]
    return float(min(prices, default=Decimal(0)))


def running_cost(
    usd: Decimal, record: LaunchRecord, offers: Sequence[Offer], parallel_jobs: int, now: float
) -> RunningCost:
    """Return the cost of a launch so far and the expected rest.

    Args:
        usd: the sum of its rows in the ledger.
        offers: every allowed type and zone, at its current prices.
        parallel_jobs: the limit of concurrent jobs.
    """
    left = [unit for unit in record.units if unit.outcome is UnitOutcome.OPEN]
    seconds = [seconds_left(unit, now) for unit in left]
    usd_left = sum(
        (_usd_left(unit, each, offers) for unit, each in zip(left, seconds, strict=True)),
        Decimal(0),
    )
    longest = max(seconds, default=0.0)
    return RunningCost(usd, usd_left, max(longest, sum(seconds) / max(1, parallel_jobs)))


def seconds_left(unit: UnitRecord, now: float) -> float:
    """Return the expected seconds of work left, by its worker's speed if that is known."""
    attempt = unit.active
    if attempt is None or attempt.started_at is None:
        return unit.seconds
    share = attempt.looked_at / attempt.to_look_at if attempt.to_look_at else 0.0
    if share < MIN_SHARE_DONE or attempt.looking_since is None:
        elapsed = max(0.0, now - attempt.started_at)
        return max(unit.seconds - elapsed, elapsed * OVERDUE_SHARE)
    return max(0.0, now - attempt.looking_since) * (1 - share) / share


def _usd_left(unit: UnitRecord, seconds: float, offers: Sequence[Offer]) -> Decimal:
    """Return the expected cost on its machine or on the cheapest offer; 0 if no price is known."""
    attempt = unit.active
    queue = attempt.queue if attempt else Queue.SPOT
    instance_type = attempt.host.get("instance_type") if attempt else None
    is_running = attempt is not None and attempt.started_at is not None
    overheads = RUNNING_OVERHEADS if is_running else Overheads()
    usd = on_demand_usd if queue == Queue.ON_DEMAND else spot_usd
    known = [offer for offer in offers if offer.instance_type == instance_type] or offers
    costs = (usd(offer, seconds, overheads) for offer in known)
    return round(Decimal(min(costs, default=0.0)), 6)


class CostReporter:
    """Reports the cost of one launch to the run's log, its tags and `on_cost`.

    Args:
        offers: return the current prices.
        parallel_jobs: the limit of concurrent jobs.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        clock: Clock,
        offers: Callable[[], Sequence[Offer]],
        parallel_jobs: int,
        on_cost: OnCost,
    ) -> None:
        self._context = context
        self._clock = clock
        self._offers = offers
        self._parallel_jobs = parallel_jobs
        self._on_cost = on_cost
        self._usd: Decimal | None = None  # the sum of the ledger; None if not known yet
        self._updated_at = clock.now()
        self._reported: RunningCost | None = None
        self._reported_at = float("-inf")

    def start(self, record: LaunchRecord) -> None:
        """Start a launch. The cost of a resumed launch is not known until `update`."""
        if not any(True for _ in record.attempts):
            self._usd = Decimal(0)

    def update(self, rows: pl.DataFrame) -> None:
        """Take the cost so far from the launch's rows of the ledger."""
        self._usd = rows.select(pl.col("usd").sum()).item() or Decimal(0)
        self._updated_at = self._clock.now()

    def report(self, record: LaunchRecord) -> None:
        """Report the cost if it has changed enough since the last report."""
        if self._usd is None:
            return
        now, offers = self._clock.now(), self._offers()
        usd = self._usd + cost_since(record, offers, self._updated_at, now)
        cost = running_cost(usd, record, offers, self._parallel_jobs, now)
        is_running = any(each.active for each in record.attempts)
        is_early = now - self._reported_at < MIN_REPORT_SECONDS and is_running
        if is_early or not cost.differs_from(self._reported):
            return
        self._reported, self._reported_at = cost, now
        self._context.log.info(cost.log_line)
        self._context.instance.add_run_tags(self._context.run.run_id, cost.tags)
        self._on_cost(cost.as_event)
