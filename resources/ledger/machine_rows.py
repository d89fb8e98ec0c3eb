"""Ledger rows for the cost of a machine besides the time of its jobs."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from resources.batch.names import ROOT_VOLUME_GB
from resources.ledger.aws_usage import Machine
from resources.ledger.machine_bill import MachineBill
from resources.ledger.money_columns import (
    UNKNOWN_COST,
    Row,
    cost_columns,
    find_rate,
    price_columns,
    to_timestamp,
)
from resources.pricing.prices import HOUR_SECONDS, Cost, CostKind, PriceBook

# EBS prices are for a month of 30 days (Amazon EBS pricing, examples).
EBS_MONTH_SECONDS = Decimal(30 * 24 * 3600)
# Resources attached to each machine: the name of their rate, and the quantity per hour.
ATTACHED_RESOURCES = {
    CostKind.DISK: ("ebs-gp3", ROOT_VOLUME_GB * HOUR_SECONDS / EBS_MONTH_SECONDS),
    CostKind.ADDRESS: ("public-ipv4", Decimal(1)),
}


@dataclass(frozen=True)
class MachineRows:
    """Computes the rows of machines.

    Args:
        book: the prices over their time; its remarks mark sums as estimated.
    """

    book: PriceBook

    def overhead_rows(
        self, owner: Row, bill: MachineBill, share: Decimal, waste_reason: str
    ) -> Iterator[Row]:
        """Yield the rows of a share of a machine's boot and idle time, its disk and address.

        Args:
            owner: the columns of the owner: camera, launch, region.
            waste_reason: why the machine was of no use; empty if it was used.
        """
        row = {**owner, **machine_columns(bill.machine), **_lifetime_columns(bill)}
        cost = self.time_columns(bill, _share_of(bill.overhead, share), bill.estimated)
        waste = {"usd_wasted": cost["usd"], "wasted_why": waste_reason} if waste_reason else {}
        yield {**row, **cost, **waste, "kind": CostKind.OVERHEAD}
        for kind in ATTACHED_RESOURCES:
            yield {**row, **self._attached_columns(kind, bill, share), "kind": kind}

    def time_columns(self, bill: MachineBill, cost: Cost, estimated: bool) -> Row:
        """Return the cost columns of some of a machine's seconds."""
        quotes = (*cost.quotes, self.book.on_demand(bill.machine.instance_type))
        return {
            **price_columns(quotes, bill.usd_per_hour(cost)),
            **cost_columns(cost.usd, cost.usd_on_demand),
            "billed_seconds": float(cost.seconds),
            "estimated": estimated or bool(self.book.remarks),
            "remark": cost.remark or None,
        }

    def _attached_columns(self, kind: CostKind, bill: MachineBill, share: Decimal) -> Row:
        """A machine's disk or public address: billed by the second, the same on every market."""
        item, per_hour = ATTACHED_RESOURCES[kind]
        seconds = bill.seconds * share
        row = {"billed_seconds": float(seconds), "estimated": bill.estimated}
        quote = find_rate(self.book, item)
        if quote is None:
            remark = f"no price of {item} in {self.book.region} is known"
            return {**row, **UNKNOWN_COST, "remark": remark}
        usd = quote.usd * per_hour
        return {**row, **price_columns((quote,), usd), **cost_columns(usd * seconds / HOUR_SECONDS)}


def machine_columns(machine: Machine) -> Row:
    """Return the columns that identify a machine, its place and its lifetime."""
    return {
        "market": machine.market,
        "instance_id": machine.instance_id,
        "instance_type": machine.instance_type,
        "zone": machine.zone,
        "machine_launched_at": to_timestamp(machine.launched),
        "machine_ended_at": to_timestamp(machine.ended if machine.end_known else None),
        "machine_taken_at": to_timestamp(machine.ended if machine.taken else None),
    }


def _lifetime_columns(bill: MachineBill) -> Row:
    """The times of an overhead row: the machine's whole lifetime."""
    launched = to_timestamp(bill.machine.launched)
    return {
        "intended_at": launched,
        "started_at": launched,
        "ended_at": to_timestamp(bill.until),
    }


def _share_of(cost: Cost, share: Decimal) -> Cost:
    return Cost(
        cost.usd * share, cost.usd_on_demand * share, cost.seconds * share, cost.quotes, cost.remark
    )
