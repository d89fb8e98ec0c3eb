"""Tells what a launch costs while it goes on: in the run's log, its tags, and to who started it."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import dagster as dg
import polars as pl

from resources.batch.launch_record import LaunchRecord
from resources.clock import Clock
from resources.launch.running_cost import RunningCost, grown, running_cost
from resources.pricing.economics import Offer

# Seconds between two lines, while jobs run.
AT_MOST_EVERY = 300.0
# Hears a line, and the same in short.
OnCost = Callable[[Mapping[str, str]], None]


class CostTeller:
    """One launch's. Called at every sweep, it tells when the sums have changed enough.

    Args:
        offers: asks for the prices of now.
        at_once: jobs that may run at the same time.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        clock: Clock,
        offers: Callable[[], Sequence[Offer]],
        at_once: int,
        on_cost: OnCost | None,
    ) -> None:
        self._context = context
        self._clock = clock
        self._offers = offers
        self._at_once = at_once
        self._on_cost = on_cost
        self._usd: Decimal | None = None  # what the ledger said; None: it was not asked yet
        self._said_at = clock.now()
        self._told: RunningCost | None = None
        self._told_at = float("-inf")

    def begin(self, record: LaunchRecord) -> None:
        """A launch begins. What one that is taken up has cost, only its ledger knows."""
        if not any(True for _ in record.attempts):
            self._usd = Decimal(0)

    def written(self, rows: pl.DataFrame) -> None:
        """The launch's rows of the ledger were written anew."""
        self._usd = rows.select(pl.col("usd").sum()).item() or Decimal(0)
        self._said_at = self._clock.now()

    def sweep(self, record: LaunchRecord) -> None:
        """The launch has looked at its jobs."""
        if self._usd is None:
            return
        now, offers = self._clock.now(), self._offers()
        usd = self._usd + grown(record, offers, self._said_at, now)
        cost = running_cost(usd, record, offers, self._at_once, now)
        lately = now - self._told_at < AT_MOST_EVERY and any(
            each.active for each in record.attempts
        )
        if lately or not cost.differs_from(self._told):
            return
        self._told, self._told_at = cost, now
        self._context.log.info(cost.spoken)
        self._context.instance.add_run_tags(self._context.run.run_id, cost.tags)
        if self._on_cost:
            self._on_cost(cost.as_event)
