"""What a launch that goes on has cost so far, and what it is going to: told when it matters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import dagster as dg
import polars as pl

from resources.batch.launch_record import Attempt, LaunchRecord, UnitRecord
from resources.clock import Clock
from resources.launch.hooks import OnCost
from resources.pricing.economics import HOUR_SECONDS, Offer, Overheads, on_demand_usd, spot_usd

# A sum is told again once it differs by this share of the whole from what was told last.
REPORT_CHANGE_SHARE = Decimal("0.1")
# One whose work has only begun says little of how long it takes.
MIN_SHARE_DONE = 0.02
# One that takes longer than was expected takes at least this share of its time yet.
OVERDUE_SHARE = 0.2
# A job that runs has been booted and started.
RUNNING_OVERHEADS = Overheads(boot_seconds=0, start_seconds=0)

# Seconds between two lines, while jobs run.
MIN_REPORT_SECONDS = 300.0


@dataclass(frozen=True)
class RunningCost:
    """A launch's cost at a moment.

    Args:
        usd: what the ledger says so far.
        usd_left: what is expected yet.
        seconds_left: until the last job's end, if machines are to be had.
    """

    usd: Decimal
    usd_left: Decimal
    seconds_left: float

    def differs_from(self, told: "RunningCost | None") -> bool:
        """Whether it is worth being told, after what was told last."""
        if told is None:
            return self.usd > 0
        if told.usd_left and not self.usd_left:
            return True  # it is done
        whole = self.usd + self.usd_left
        changes = (abs(self.usd - told.usd), abs(self.usd_left - told.usd_left))
        return max(changes) >= REPORT_CHANGE_SHARE * whole > 0

    @property
    def spoken(self) -> str:
        """For the log and the terminal."""
        so_far = f"cost so far ${self.usd:.4f}"
        if not self.usd_left:
            return so_far
        minutes = max(1, round(self.seconds_left / 60))
        hours, rest = divmod(minutes, 60)
        time = f"{hours} h {rest:02d} min" if hours else f"{minutes} min"
        return f"{so_far}, about ${self.usd_left:.4f} and {time} to go"

    @property
    def as_event(self) -> dict[str, str]:
        """For the terminal: a line, and what fits beside a bar."""
        whole = self.usd + self.usd_left
        short = f"${self.usd:.4f}" + (f" of ${whole:.4f}" if self.usd_left else "")
        return {"line": self.spoken, "short": short}

    @property
    def tags(self) -> dict[str, str]:
        """Of the Dagster run."""
        return {
            "munin/cost_so_far_usd": f"{self.usd:.6f}",
            "munin/cost_left_usd": f"{self.usd_left:.6f}",
        }


def cost_since(record: LaunchRecord, offers: Sequence[Offer], since: float, now: float) -> Decimal:
    """What jobs have cost since the ledger was written."""
    usd = 0.0
    for attempt in record.attempts:
        if attempt.started_at is not None:
            until = now if attempt.active else attempt.ended_at or since
            seconds = max(0.0, until - max(since, attempt.started_at))
            usd += seconds / HOUR_SECONDS * _usd_per_hour(attempt, offers)
    return round(Decimal(usd), 6)


def _usd_per_hour(attempt: Attempt, offers: Sequence[Offer]) -> float:
    own = [each for each in offers if each.instance_type == attempt.host.get("instance_type")]
    prices = [
        each.on_demand if attempt.queue == "ondemand" else each.spot for each in own or offers
    ]
    return float(min(prices, default=Decimal(0)))


def running_cost(
    usd: Decimal, record: LaunchRecord, offers: Sequence[Offer], at_once: int, now: float
) -> RunningCost:
    """What a launch has cost and will.

    Args:
        usd: the sum of its rows in the ledger.
        offers: every type and zone that may be used, at its prices now.
        at_once: jobs that may run at the same time.
    """
    left = [unit for unit in record.units if unit.outcome == "open"]
    seconds = [seconds_left(unit, now) for unit in left]
    money = sum(
        (_usd_left(unit, each, offers) for unit, each in zip(left, seconds, strict=True)),
        Decimal(0),
    )
    longest = max(seconds, default=0.0)
    return RunningCost(usd, money, max(longest, sum(seconds) / max(1, at_once)))


def seconds_left(unit: UnitRecord, now: float) -> float:
    """Expected seconds of work, by how fast its worker has been; else by what was expected."""
    attempt = unit.active
    if attempt is None or attempt.started_at is None:
        return unit.seconds
    share = attempt.looked_at / attempt.to_look_at if attempt.to_look_at else 0.0
    if share < MIN_SHARE_DONE or attempt.looking_since is None:
        passed = max(0.0, now - attempt.started_at)
        return max(unit.seconds - passed, passed * OVERDUE_SHARE)
    return max(0.0, now - attempt.looking_since) * (1 - share) / share


def _usd_left(unit: UnitRecord, seconds: float, offers: Sequence[Offer]) -> Decimal:
    """On its machine, or the cheapest where it has none; 0 where no price is known."""
    attempt = unit.active
    queue = attempt.queue if attempt else "spot"
    kind = attempt.host.get("instance_type") if attempt else None
    runs = attempt is not None and attempt.started_at is not None
    overheads = RUNNING_OVERHEADS if runs else Overheads()
    usd = on_demand_usd if queue == "ondemand" else spot_usd
    known = [offer for offer in offers if offer.instance_type == kind] or offers
    costs = (usd(offer, seconds, overheads) for offer in known)
    return round(Decimal(min(costs, default=0.0)), 6)


class CostReporter:
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
        on_cost: OnCost,
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
        usd = self._usd + cost_since(record, offers, self._said_at, now)
        cost = running_cost(usd, record, offers, self._at_once, now)
        lately = now - self._told_at < MIN_REPORT_SECONDS and any(
            each.active for each in record.attempts
        )
        if lately or not cost.differs_from(self._told):
            return
        self._told, self._told_at = cost, now
        self._context.log.info(cost.spoken)
        self._context.instance.add_run_tags(self._context.run.run_id, cost.tags)
        self._on_cost(cost.as_event)
