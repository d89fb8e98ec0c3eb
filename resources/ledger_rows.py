"""The rows of a launch's ledger, from its record, what is known of its machines, and prices.

A pure function: the same knowledge gives the same rows.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

import polars as pl

from resources.attempt_ends import AttemptEnd
from resources.compute_plan import ROOT_GB
from resources.cost_ledger import DECIMALS, SCHEMA
from resources.errors import RavneError
from resources.launch_record import Attempt, LaunchRecord
from resources.ledger_facts import LaunchFacts
from resources.machine_bill import MachineBill, bill_of
from resources.machines import Machine
from resources.prices import HOUR, Cost, PriceBook, Quote

# EBS prices are for a month of 30 days (Amazon EBS pricing, examples).
MONTH_SECONDS = Decimal(30 * 24 * 3600)
LAST_DIGIT = Decimal(1).scaleb(-DECIMALS)
# What a machine has besides: the name of its price, and how much of it an hour takes.
RENTED = {
    "disk": ("ebs-gp3", ROOT_GB * HOUR / MONTH_SECONDS),
    "address": ("public-ipv4", Decimal(1)),
}
NOBODY_RAN = "no job ran on the machine"
UNKNOWN_MACHINE = "its machine was never told; what it cost is in the machine's overhead"
# Why the time of an attempt that did not end well is lost, but for what it had finished.
LOST = {
    AttemptEnd.INTERRUPTED: "EC2 took the machine before the work in hand was finished",
    AttemptEnd.CANCELLED: "cancelled before the work in hand was finished",
}

Row = dict[str, Any]


@dataclass(frozen=True)
class LaunchRows:
    """Makes the rows of one launch.

    Args:
        book: the prices over the launch's time.
    """

    camera_id: str
    region: str
    record: LaunchRecord
    facts: LaunchFacts
    book: PriceBook

    def frame(self) -> pl.DataFrame:
        """All rows, as `cost_ledger.SCHEMA` has them."""
        found = [*self._attempts(), *self._shared(), *self._requests()]
        empty = dict.fromkeys(SCHEMA)
        return pl.DataFrame([{**empty, **row} for row in found], schema=SCHEMA)

    # Attempts

    def _attempts(self) -> Iterator[Row]:
        for unit in self.record.units:
            for attempt in unit.attempts:
                yield {**self._about(attempt), "unit": unit.number, **self._cost(attempt)}

    def _about(self, attempt: Attempt) -> Row:
        job = self.facts.job_of(attempt)
        end = attempt.end or (job.end if job else None)
        machine = self._machine_of(attempt)
        waits_for = "ondemand" if attempt.queue == "ondemand" else "spot"
        return {
            **self._whose("attempt"),
            **(_place(machine) if machine else {"market": waits_for}),
            "attempt": attempt.name,
            "job_id": attempt.job_id or (job.job_id if job else None),
            "queue": attempt.queue,
            "intended_at": moment(attempt.intended_at),
            "started_at": moment((job.started if job else None) or attempt.started_at),
            "ended_at": moment((job.stopped if job else None) or attempt.ended_at),
            "end": end,
            "reason": attempt.reason,
            "said": attempt.said or (job.said if job else None),
            **{name: attempt.work[name] for name in WORK if name in attempt.work},
        }

    def _machine_of(self, attempt: Attempt) -> Machine | None:
        job = self.facts.job_of(attempt)
        return self.facts.machines.get(job.instance_id) if job and job.instance_id else None

    def _cost(self, attempt: Attempt) -> Row:
        job, machine = self.facts.job_of(attempt), self._machine_of(attempt)
        if job is None or job.started is None:
            return {**NOTHING, "estimated": attempt.end is None}
        bill = self._bills.get(machine.instance_id) if machine else None
        if machine is None or bill is None:
            why = self._unpriced(machine) if machine else UNKNOWN_MACHINE
            return {**NOTHING, "estimated": True, "remark": why}
        cost = bill.jobs.get(job.job_id)
        if cost is None:  # it began as the machine went
            return {**NOTHING, "estimated": bill.estimated}
        return {
            **self._charged(bill, cost, job.stopped is None or bill.may_be_free),
            **self._waste(attempt, job.end, cost),
        }

    def _waste(self, attempt: Attempt, end: str | None, cost: Cost) -> Row:
        if end in (None, AttemptEnd.DONE):
            return {"useful_seconds": float(cost.seconds)}
        useful = min(cost.seconds, Decimal(attempt.work.get("useful_seconds", 0.0)))
        lost = 1 - useful / cost.seconds if cost.seconds else Decimal(0)
        why = LOST.get(AttemptEnd(end), f"the attempt ended so: {end}")
        if attempt.moving or attempt.stopping:
            why = f"cancelled: {attempt.moving or attempt.stopping}"
        wasted = _rounded(cost.usd * lost)
        return {
            "useful_seconds": float(useful),
            "usd_wasted": wasted,
            "wasted_why": why if wasted else None,
        }

    # What a machine's jobs share

    def _shared(self) -> Iterator[Row]:
        for bill in self._bills.values():
            share, idle = self._share_of(bill)
            if not share:
                continue
            row = {**self._whose("overhead"), **_place(bill.machine), **_life(bill)}
            overhead = _part(bill.overhead, share)
            money = self._charged(bill, overhead, bill.estimated)
            wasted = {"usd_wasted": money["usd"], "wasted_why": NOBODY_RAN} if idle else {}
            yield {**row, **money, **wasted}
            yield {**row, **self._rented("disk", bill, share), **self._whose("disk")}
            yield {**row, **self._rented("address", bill, share), **self._whose("address")}

    def _share_of(self, bill: MachineBill) -> tuple[Decimal, bool]:
        """This launch's share of a machine's overhead, and whether no job ran on it at all."""
        own = [job.job_id for each in self.record.attempts if (job := self.facts.job_of(each))]
        if bill.jobs:
            return bill.share(own), False
        waiting = [job.job_id for job in self.facts.waiting_for(bill.machine)]
        ours = sum(job in own for job in waiting)
        return (Decimal(ours) / len(waiting) if waiting else Decimal(0)), True

    def _rented(self, kind: str, bill: MachineBill, share: Decimal) -> Row:
        """A machine's disk or public address: paid for by the second, the same on every market."""
        item, per_hour = RENTED[kind]
        seconds = bill.seconds * share
        row = {"billed_seconds": float(seconds), "estimated": bill.estimated}
        quote = self._rate(item)
        if quote is None:
            return {**row, **UNPRICED, "remark": f"no price of {item} in {self.region} is known"}
        usd = quote.usd * per_hour
        return {**row, **_priced((quote,), usd), **_paid(usd * seconds / HOUR)}

    # Requests

    def _requests(self) -> Iterator[Row]:
        counts = {
            name: sum(int(each.work.get(name, 0)) for each in self.record.attempts)
            for name in ("requests_put", "requests_get")
        }
        if not any(counts.values()):
            return
        put, get = self._rate("s3-put"), self._rate("s3-get")
        if put and get:
            usd = (counts["requests_put"] * put.usd + counts["requests_get"] * get.usd) / 1000
            money = {**_priced((put, get), None), **_paid(usd)}
        else:
            money = {**UNPRICED, "remark": f"no price of S3 requests in {self.region} is known"}
        goes_on = any(each.end is None for each in self.record.attempts)
        began = moment(self.record.began_at)
        yield {
            **self._whose("requests"),
            "intended_at": began,
            "started_at": began,
            "estimated": goes_on,
            **counts,
            **money,
        }

    def _rate(self, item: str) -> Quote | None:
        return next((quote for quote in self.book.quotes if quote.item == item), None)

    # Money

    @cached_property
    def _bills(self) -> dict[str, MachineBill]:
        """Of the machines that a price is known for."""
        return {
            name: bill_of(machine, self.facts.stays_on(name), self.book)
            for name, machine in self.facts.machines.items()
            if self._unpriced(machine) is None
        }

    def _unpriced(self, machine: Machine) -> str | None:
        """Why a machine's cost cannot be told."""
        try:
            bill_of(machine, (), self.book)
        except RavneError as error:
            return str(error)
        return None

    def _whose(self, kind: str) -> Row:
        return {
            "camera_id": self.camera_id,
            "launch": self.record.identity,
            "kind": kind,
            "region": self.region,
        }

    def _charged(self, bill: MachineBill, cost: Cost, estimated: bool) -> Row:
        quotes = (*cost.quotes, self.book.on_demand(bill.machine.instance_type))
        return {
            **_priced(quotes, bill.per_hour(cost)),
            **_paid(cost.usd, cost.usd_on_demand),
            "billed_seconds": float(cost.seconds),
            "estimated": estimated or bool(self.facts.remarks),
            "remark": cost.remark or None,
        }


# What a worker tells of its work, by the ledger's columns.
WORK = (
    "footage_seconds",
    "detections_seconds",
    "classifications_seconds",
    "observations_seconds",
    "media",
    "images",
    "frames",
    "video_seconds",
    "crops",
    "visits",
    "bytes_read",
    "bytes_written",
)
UNPRICED: Mapping[str, Any] = {
    "usd": Decimal(0),
    "usd_on_demand": Decimal(0),
    "usd_wasted": Decimal(0),
    "estimated": True,
}
NOTHING: Mapping[str, Any] = {
    **UNPRICED,
    "billed_seconds": 0.0,
    "useful_seconds": 0.0,
    "estimated": False,
}


def moment(seconds: float | None) -> datetime | None:
    """Seconds since 1970 UTC as the ledger writes a time."""
    return None if seconds is None else datetime.fromtimestamp(round(seconds, 3), UTC)


def _place(machine: Machine) -> Row:
    return {
        "market": machine.market,
        "instance_id": machine.instance_id,
        "instance_type": machine.instance_type,
        "zone": machine.zone,
        "machine_launched_at": moment(machine.launched),
        "machine_ended_at": moment(machine.ended if machine.end_known else None),
        "machine_taken_at": moment(machine.ended if machine.taken else None),
    }


def _life(bill: MachineBill) -> Row:
    """When an overhead was: the machine's whole life."""
    launched = moment(bill.machine.launched)
    return {"intended_at": launched, "started_at": launched, "ended_at": moment(bill.until)}


def _part(cost: Cost, share: Decimal) -> Cost:
    return Cost(
        cost.usd * share, cost.usd_on_demand * share, cost.seconds * share, cost.quotes, cost.remark
    )


def _priced(quotes: Iterable[Quote], per_hour: Decimal | None) -> Row:
    used = list(quotes)
    return {
        "usd_per_hour": None if per_hour is None else _rounded(per_hour),
        "price_source": "; ".join(sorted({quote.source for quote in used})),
        "price_as_of": max(quote.as_of for quote in used),
        "price_verified": all(quote.verified for quote in used),
    }


def _paid(usd: Decimal, on_demand: Decimal | None = None) -> Row:
    """Args:
    on_demand: None: the same, there is no spot price of it.
    """
    instead = usd if on_demand is None else on_demand
    return {"usd": _rounded(usd), "usd_on_demand": _rounded(instead), "usd_wasted": Decimal(0)}


def _rounded(usd: Decimal) -> Decimal:
    return usd.quantize(LAST_DIGIT)
