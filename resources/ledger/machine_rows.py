"""What a machine costs besides the time of its jobs, as rows of the ledger."""

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
from resources.pricing.prices import HOUR_SECONDS, Cost, PriceBook

# EBS prices are for a month of 30 days (Amazon EBS pricing, examples).
EBS_MONTH_SECONDS = Decimal(30 * 24 * 3600)
# What a machine has besides: the name of its price, and how much of it an hour takes.
ATTACHED_RESOURCES = {
    "disk": ("ebs-gp3", ROOT_VOLUME_GB * HOUR_SECONDS / EBS_MONTH_SECONDS),
    "address": ("public-ipv4", Decimal(1)),
}


@dataclass(frozen=True)
class MachineRows:
    """Makes the rows of machines.

    Args:
        book: the prices over their time; its remarks tell that some may be others.
    """

    book: PriceBook

    def shared(self, whose: Row, bill: MachineBill, share: Decimal, wasted: str) -> Iterator[Row]:
        """A share of a machine's boot and idle time, its disk and its address.

        Args:
            whose: the columns that say so.
            wasted: why it bought nothing; empty: it did.
        """
        row = {**whose, **machine_columns(bill.machine), **_life(bill)}
        money = self.charged(bill, _part(bill.overhead, share), bill.estimated)
        lost = {"usd_wasted": money["usd"], "wasted_why": wasted} if wasted else {}
        yield {**row, **money, **lost, "kind": "overhead"}
        for kind in ATTACHED_RESOURCES:
            yield {**row, **self._rented(kind, bill, share), "kind": kind}

    def charged(self, bill: MachineBill, cost: Cost, estimated: bool) -> Row:
        """Some of a machine's seconds."""
        quotes = (*cost.quotes, self.book.on_demand(bill.machine.instance_type))
        return {
            **price_columns(quotes, bill.per_hour(cost)),
            **cost_columns(cost.usd, cost.usd_on_demand),
            "billed_seconds": float(cost.seconds),
            "estimated": estimated or bool(self.book.remarks),
            "remark": cost.remark or None,
        }

    def _rented(self, kind: str, bill: MachineBill, share: Decimal) -> Row:
        """A machine's disk or public address: paid for by the second, the same on every market."""
        item, per_hour = ATTACHED_RESOURCES[kind]
        seconds = bill.seconds * share
        row = {"billed_seconds": float(seconds), "estimated": bill.estimated}
        quote = find_rate(self.book, item)
        if quote is None:
            unknown = f"no price of {item} in {self.book.region} is known"
            return {**row, **UNKNOWN_COST, "remark": unknown}
        usd = quote.usd * per_hour
        return {**row, **price_columns((quote,), usd), **cost_columns(usd * seconds / HOUR_SECONDS)}


def machine_columns(machine: Machine) -> Row:
    """The columns that say which machine, where, and when it was."""
    return {
        "market": machine.market,
        "instance_id": machine.instance_id,
        "instance_type": machine.instance_type,
        "zone": machine.zone,
        "machine_launched_at": to_timestamp(machine.launched),
        "machine_ended_at": to_timestamp(machine.ended if machine.end_known else None),
        "machine_taken_at": to_timestamp(machine.ended if machine.taken else None),
    }


def _life(bill: MachineBill) -> Row:
    """When an overhead was: the machine's whole life."""
    launched = to_timestamp(bill.machine.launched)
    return {"intended_at": launched, "started_at": launched, "ended_at": to_timestamp(bill.until)}


def _part(cost: Cost, share: Decimal) -> Cost:
    return Cost(
        cost.usd * share, cost.usd_on_demand * share, cost.seconds * share, cost.quotes, cost.remark
    )
