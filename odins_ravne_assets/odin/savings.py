"""What spot has saved, by two measures; docs/costs.md works both out by hand.

- *Rate savings*: the machine hours that were paid for, against the same hours at the on-demand
  price. FOCUS calls the two EffectiveCost and ListCost. It hides what spot made necessary: machines
  that boot again after an interruption, work done twice.
- *Effective savings*: all that was paid for computing, against the least that the same work could
  have cost on demand: the useful hours, one start of a machine for each launch, no interruption.
"""

from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from odins_ravne_assets.odin.totals import MACHINE_TIME_KINDS, ZERO_USD, exclude_local, sum_usd

# What a machine has besides its hours, at the same price on spot and on demand.
ATTACHED_KINDS = ("disk", "address")
ON_DEMAND = "usd_on_demand"
NEEDED = (ON_DEMAND, "useful_seconds", "billed_seconds")  # of an attempt


@dataclass(frozen=True)
class Savings:
    """Money in USD; a saving is a share of 1, below 0 where spot was dearer, None of nothing.

    Args:
        machine_usd: paid for hours of machines.
        machine_usd_on_demand: for the same hours.
        usd: paid for all of computing.
        undisturbed_usd: the same work on demand, undisturbed.
    """

    machine_usd: Decimal
    machine_usd_on_demand: Decimal
    usd: Decimal
    undisturbed_usd: Decimal

    @property
    def rate(self) -> float | None:
        return _saved(self.machine_usd, self.machine_usd_on_demand)

    @property
    def effective(self) -> float | None:
        return _saved(self.usd, self.undisturbed_usd)


def _saved(usd: Decimal, instead: Decimal) -> float | None:
    return float(1 - usd / instead) if instead else None


def calculate_savings(rows: pl.DataFrame) -> Savings:
    """The savings in rows of the ledger; work on machines of one's own is left out."""
    paid = exclude_local(rows)
    machines = paid.filter(pl.col("kind").is_in(MACHINE_TIME_KINDS))
    return Savings(
        machine_usd=sum_usd(machines),
        machine_usd_on_demand=sum_usd(machines, ON_DEMAND),
        usd=sum_usd(paid),
        undisturbed_usd=_undisturbed(paid),
    )


def _undisturbed(rows: pl.DataFrame) -> Decimal:
    """The useful hours on demand, a start for each launch, and disks and addresses for as long.

    A start is the mean boot and idle time of the machines that were used; there are no more of
    them than there were machines. Disks and addresses cost in proportion to the hours.
    """
    ran = rows.filter((pl.col("kind") == "attempt") & (pl.col("billed_seconds") > 0))
    useful = sum((_useful(*row) for row in ran.select(*NEEDED).iter_rows()), ZERO_USD)
    # Machines that waited for nobody say nothing of how long a start takes.
    overhead = rows.filter((pl.col("kind") == "overhead") & pl.col("camera_id").is_not_null())
    machines = overhead["instance_id"].n_unique() if overhead.height else 0
    launches = ran.select("camera_id", "launch").n_unique() if useful else 0
    starts = min(launches, machines)
    start = sum_usd(overhead, ON_DEMAND) * starts / machines if machines else ZERO_USD
    hours = sum_usd(rows.filter(pl.col("kind").is_in(MACHINE_TIME_KINDS)), ON_DEMAND)
    besides = sum_usd(rows.filter(pl.col("kind").is_in(ATTACHED_KINDS)))
    others = sum_usd(rows.filter(~pl.col("kind").is_in(MACHINE_TIME_KINDS + ATTACHED_KINDS)))
    as_long = (useful + start) / hours if hours else ZERO_USD
    return useful + start + besides * as_long + others


def _useful(on_demand: Decimal, useful_seconds: float, billed_seconds: float) -> Decimal:
    """The part of an attempt's on-demand price that bought something."""
    return on_demand * Decimal(useful_seconds) / Decimal(billed_seconds)
