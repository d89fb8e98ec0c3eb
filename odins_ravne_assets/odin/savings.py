"""The savings of spot machines, by two measures; docs/costs.md computes both in an example.

- *Rate savings*: the machine hours that were paid for, against the same hours at the on-demand
  price. FOCUS calls the two EffectiveCost and ListCost. Side effects of spot are not included:
  machines that boot again after an interruption, repeated work.
- *Effective savings*: the total cost of compute, against the lowest on-demand cost of the same
  work: the useful hours, one machine start per launch, no interruption.
"""

from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from odins_ravne_assets.odin.totals import (
    IS_ATTEMPT,
    MACHINE_TIME_KINDS,
    ZERO_USD,
    exclude_local,
    sum_usd,
)
from resources.pricing.prices import CostKind

# Resources attached to machines, with the same price on spot and on demand.
ATTACHED_KINDS = (CostKind.DISK, CostKind.ADDRESS)
ON_DEMAND_COLUMN = "usd_on_demand"


@dataclass(frozen=True)
class Savings:
    """Money in USD. A saving is a share of 1: below 0 if spot was more expensive, None of nothing.

    Args:
        machine_usd: paid for machine hours.
        machine_usd_on_demand: on-demand cost of the same hours.
        usd: paid for all of compute.
        undisturbed_usd: on-demand cost of the same work without interruptions.
    """

    machine_usd: Decimal
    machine_usd_on_demand: Decimal
    usd: Decimal
    undisturbed_usd: Decimal

    @property
    def rate(self) -> float | None:
        """The rate savings."""
        return _saving(self.machine_usd, self.machine_usd_on_demand)

    @property
    def effective(self) -> float | None:
        """The effective savings."""
        return _saving(self.usd, self.undisturbed_usd)


def _saving(usd: Decimal, reference: Decimal) -> float | None:
    return float(1 - usd / reference) if reference else None


def calculate_savings(rows: pl.DataFrame) -> Savings:
    """Calculate the savings in rows of the ledger; work on this machine is left out."""
    paid = exclude_local(rows)
    machine_time = paid.filter(pl.col("kind").is_in(MACHINE_TIME_KINDS))
    return Savings(
        machine_usd=sum_usd(machine_time),
        machine_usd_on_demand=sum_usd(machine_time, ON_DEMAND_COLUMN),
        usd=sum_usd(paid),
        undisturbed_usd=_undisturbed_usd(paid),
    )


def _undisturbed_usd(rows: pl.DataFrame) -> Decimal:
    """The useful hours on demand, a start per launch, and disks and addresses for as long.

    A start is the mean boot and idle time of the machines that were used; there are at most as many
    starts as machines. Disks and addresses cost in proportion to the hours.
    """
    attempts = rows.filter(IS_ATTEMPT & (pl.col("billed_seconds") > 0))
    columns = attempts.select(ON_DEMAND_COLUMN, "useful_seconds", "billed_seconds")
    useful = sum((_useful_usd(*row) for row in columns.iter_rows()), ZERO_USD)
    # Idle machines do not indicate how long a start takes.
    is_overhead = pl.col("kind") == CostKind.OVERHEAD
    overhead = rows.filter(is_overhead & pl.col("camera_id").is_not_null())
    machines = overhead["instance_id"].n_unique() if overhead.height else 0
    launches = attempts.select("camera_id", "launch").n_unique() if useful else 0
    starts = min(launches, machines)
    start = sum_usd(overhead, ON_DEMAND_COLUMN) * starts / machines if machines else ZERO_USD
    hours = sum_usd(rows.filter(pl.col("kind").is_in(MACHINE_TIME_KINDS)), ON_DEMAND_COLUMN)
    attached = sum_usd(rows.filter(pl.col("kind").is_in(ATTACHED_KINDS)))
    others = sum_usd(rows.filter(~pl.col("kind").is_in(MACHINE_TIME_KINDS + ATTACHED_KINDS)))
    time_share = (useful + start) / hours if hours else ZERO_USD
    return useful + start + attached * time_share + others


def _useful_usd(on_demand: Decimal, useful_seconds: float, billed_seconds: float) -> Decimal:
    """The part of an attempt's on-demand cost without lost work."""
    return on_demand * Decimal(useful_seconds) / Decimal(billed_seconds)
