"""Reconciliation of the ledger with AWS's own bill from Cost Explorer.

Cost Explorer has a delay of about 24 hours ("Analyzing your costs and usages with AWS Cost
Explorer"), includes only resources with the tag, and rounds. The ledger is current, and estimates
costs that are not final. So both agree after a day, or a difference remains to be explained.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

import polars as pl

from odins_ravne_assets.odin.formatting import format_usd
from odins_ravne_assets.odin.row_times import rows_since
from odins_ravne_assets.odin.savings import ATTACHED_KINDS
from odins_ravne_assets.odin.totals import MACHINE_TIME_KINDS, ZERO_USD, exclude_local, sum_usd
from resources.ledger.aws_bill import AwsBill
from resources.pricing.prices import CostKind

COST_EXPLORER_DELAY_SECONDS = 24 * 3600
# Smaller differences are rounding.
ROUNDING_USD = Decimal("0.01")
SAME = "the same"


class BillPart(StrEnum):
    """A part of the bill; the values are shown in reports."""

    MACHINES = "machines"
    ATTACHED = "disks and addresses"
    STORAGE = "S3"
    LOGS = "logs"
    OTHER = "other services"


# By the service names of Cost Explorer.
PARTS_BY_SERVICE = {
    "Amazon Elastic Compute Cloud - Compute": BillPart.MACHINES,
    "EC2 - Other": BillPart.ATTACHED,
    "Amazon Virtual Private Cloud": BillPart.ATTACHED,
    "Amazon Simple Storage Service": BillPart.STORAGE,
    "AmazonCloudWatch": BillPart.LOGS,
}
KINDS_BY_PART = {
    BillPart.MACHINES: MACHINE_TIME_KINDS,
    BillPart.ATTACHED: ATTACHED_KINDS,
    BillPart.STORAGE: (CostKind.REQUESTS, CostKind.TRANSFER),
    BillPart.LOGS: (CostKind.LOGS,),
}
# The ledger's transfer cost is an upper bound: the first 100 GB of a month are free.
IS_TRANSFER = pl.col("kind") == CostKind.TRANSFER


@dataclass(frozen=True)
class BillDifference:
    """A part of the costs by the ledger and by AWS, in USD.

    Args:
        ours: by the ledger.
        late: ledger costs of the last day, which Cost Explorer may not have yet.
        estimated: ledger costs that are not final.
    """

    part: str
    ours: Decimal
    aws: Decimal
    late: Decimal
    estimated: Decimal
    explanation: str

    @property
    def usd(self) -> Decimal:
        """The ledger's cost minus AWS's."""
        return self.ours - self.aws


def compare_bill(bill: AwsBill, rows: pl.DataFrame, stored_usd: Decimal) -> list[BillDifference]:
    """Compare the ledger with AWS's bill, part by part.

    Args:
        rows: of the ledger with their row times; those before the bill's period are left out.
        stored_usd: cost of storage on S3 in the period, all of it estimated.
    """
    billed = exclude_local(rows_since(rows, bill.since))
    differences = []
    for part, kinds in KINDS_BY_PART.items():
        part_rows = billed.filter(pl.col("kind").is_in(kinds))
        stored = stored_usd if part is BillPart.STORAGE else ZERO_USD
        differences.append(_difference(part, part_rows, stored, bill))
    others = _aws_usd(bill, BillPart.OTHER)
    if others:
        names = [
            name for name, usd in bill.services.items() if usd and name not in PARTS_BY_SERVICE
        ]
        why = f"tagged, but not in the ledger: {', '.join(sorted(names))}"
        differences.append(
            BillDifference(BillPart.OTHER, ZERO_USD, others, ZERO_USD, ZERO_USD, why)
        )
    return [each for each in differences if each.ours or each.aws]


def _aws_usd(bill: AwsBill, part: BillPart) -> Decimal:
    return sum(
        (
            usd
            for name, usd in bill.services.items()
            if PARTS_BY_SERVICE.get(name, BillPart.OTHER) is part
        ),
        ZERO_USD,
    )


def _difference(
    part: BillPart, rows: pl.DataFrame, stored: Decimal, bill: AwsBill
) -> BillDifference:
    ours, aws = sum_usd(rows) + stored, _aws_usd(bill, part)
    late = sum_usd(rows_since(rows, bill.asked_at - COST_EXPLORER_DELAY_SECONDS))
    estimated = sum_usd(rows.filter(pl.col("estimated") | IS_TRANSFER)) + stored
    why = _explain(part, ours - aws, late, estimated, aws, bill.tag)
    return BillDifference(part, ours, aws, late, estimated, why)


def _explain(
    part: BillPart, usd: Decimal, late: Decimal, estimated: Decimal, aws: Decimal, tag: str
) -> str:
    if abs(usd) <= ROUNDING_USD:
        return SAME
    reasons = []
    rest = abs(usd)
    if usd > 0 and late:
        reasons.append(f"{format_usd(late)} of the last 24 hours, not yet in Cost Explorer")
        rest -= late
    if estimated and rest > ROUNDING_USD:
        reasons.append(f"{format_usd(estimated)} of the ledger are estimated")
        rest -= estimated
    if usd > 0 and rest > ROUNDING_USD and not aws:
        reasons.append(f"AWS has no costs with the tag {tag}: is it activated?")
    elif usd > 0 and rest > ROUNDING_USD and part is BillPart.ATTACHED:
        reasons.append(f"{format_usd(rest)} without the tag")
    elif rest > ROUNDING_USD:
        side = "the ledger" if usd > 0 else "AWS's bill"
        reasons.append(f"{format_usd(rest)} more in {side}, not explained")
    return "; ".join(reasons)
