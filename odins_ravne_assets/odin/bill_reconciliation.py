"""The ledger against AWS's own bill, as Cost Explorer has it; and why the two differ.

Cost Explorer is some 24 hours late ("Analyzing your costs and usages with AWS Cost Explorer"),
knows what carries the tag alone, and rounds; the ledger knows at once, and estimates what has not
ended. So the two agree when a day is over, or there is something to look for.
"""

from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from odins_ravne_assets.odin.formatting import format_usd as spoken
from odins_ravne_assets.odin.row_times import rows_since
from odins_ravne_assets.odin.totals import MACHINE_TIME_KINDS, ZERO_USD, exclude_local, sum_usd
from resources.ledger.aws_bill import AwsBill

COST_EXPLORER_DELAY_SECONDS = 24 * 3600
# A difference that is not worth a word, in USD: what rounding leaves.
ROUNDING_USD = Decimal("0.01")
MACHINES, BESIDES, STORAGE = "machines", "disks and addresses", "S3"
LOGS, OTHER = "logs", "other services"
# Service, as Cost Explorer names it, and which part of our costs is billed there.
PARTS_BY_SERVICE = {
    "Amazon Elastic Compute Cloud - Compute": MACHINES,
    "EC2 - Other": BESIDES,
    "Amazon Virtual Private Cloud": BESIDES,
    "Amazon Simple Storage Service": STORAGE,
    "AmazonCloudWatch": LOGS,
}
# Ours is the most that it costs: the first 100 GB of a month are free.
IS_TRANSFER = pl.col("kind") == "transfer"
KINDS_BY_PART = {
    MACHINES: MACHINE_TIME_KINDS,
    BESIDES: ("disk", "address"),
    STORAGE: ("requests", "transfer"),
    LOGS: ("logs",),
}


@dataclass(frozen=True)
class BillDifference:
    """A part of the costs as we and as AWS have it, USD; and what explains that they differ."""

    part: str
    ours: Decimal
    aws: Decimal
    late: Decimal  # ours of the last day, which AWS may not know yet
    estimated: Decimal  # ours that is not certain yet
    explanation: str

    @property
    def usd(self) -> Decimal:
        """What we have, and AWS has not."""
        return self.ours - self.aws


def compare_bill(bill: AwsBill, rows: pl.DataFrame, stored_usd: Decimal) -> list[BillDifference]:
    """Compare part by part.

    Args:
        rows: of the ledger with their moments; those before the bill's period are left out.
        stored_usd: what lay on S3 since then, all of it estimated.
    """
    ours = exclude_local(rows_since(rows, bill.since))
    found = []
    for part, kinds in KINDS_BY_PART.items():
        of_part = ours.filter(pl.col("kind").is_in(kinds))
        stored = stored_usd if part == STORAGE else ZERO_USD
        found.append(_difference(part, of_part, stored, bill))
    others = _told(bill, OTHER)
    if others:
        names = [
            name for name, usd in bill.services.items() if usd and name not in PARTS_BY_SERVICE
        ]
        why = f"carries the tag, and is not in the ledger: {', '.join(sorted(names))}"
        found.append(BillDifference(OTHER, ZERO_USD, others, ZERO_USD, ZERO_USD, why))
    return [each for each in found if each.ours or each.aws]


def _told(bill: AwsBill, part: str) -> Decimal:
    return sum(
        (usd for name, usd in bill.services.items() if PARTS_BY_SERVICE.get(name, OTHER) == part),
        ZERO_USD,
    )


def _difference(part: str, rows: pl.DataFrame, stored: Decimal, bill: AwsBill) -> BillDifference:
    ours, aws = sum_usd(rows) + stored, _told(bill, part)
    late = sum_usd(rows_since(rows, bill.asked_at - COST_EXPLORER_DELAY_SECONDS))
    estimated = sum_usd(rows.filter(pl.col("estimated") | IS_TRANSFER)) + stored
    why = _explained(part, ours - aws, late, estimated, aws, bill.tag)
    return BillDifference(part, ours, aws, late, estimated, why)


def _explained(
    part: str, usd: Decimal, late: Decimal, estimated: Decimal, aws: Decimal, tag: str
) -> str:
    if abs(usd) <= ROUNDING_USD:
        return "the same"
    reasons = []
    rest = abs(usd)
    if usd > 0 and late:
        reasons.append(f"{spoken(late)} of the last 24 hours, which AWS tells later")
        rest -= late
    if estimated and rest > ROUNDING_USD:
        reasons.append(f"{spoken(estimated)} of ours are estimated")
        rest -= estimated
    if usd > 0 and rest > ROUNDING_USD and not aws:
        reasons.append(f"AWS knows of nothing with the tag {tag}: was it activated?")
    elif usd > 0 and rest > ROUNDING_USD and part == BESIDES:
        reasons.append(f"{spoken(rest)} of what does not carry the tag")
    elif rest > ROUNDING_USD:
        side = "ours" if usd > 0 else "AWS's"
        reasons.append(f"{spoken(rest)} more in {side} are not explained")
    return "; ".join(reasons)
