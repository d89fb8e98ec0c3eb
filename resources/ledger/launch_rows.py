"""The rows of a launch's ledger, from its record, what is known of its machines, and prices.

A pure function: the same knowledge gives the same rows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import polars as pl

from resources.batch.launch_record import Attempt, LaunchRecord
from resources.batch.outcome import AttemptOutcome
from resources.errors import RavneError
from resources.ledger.aws_usage import Machine
from resources.ledger.launch_facts import LaunchFacts
from resources.ledger.machine_bill import MachineBill, machine_bill
from resources.ledger.machine_rows import MachineRows, machine_columns
from resources.ledger.money_columns import (
    UNKNOWN_COST,
    Row,
    log_cost_columns,
    request_cost_columns,
    round_usd,
    to_timestamp,
)
from resources.ledger.table import LEDGER_SCHEMA
from resources.pricing.prices import Cost, PriceBook

NO_JOB_RAN = "no job ran on the machine"
UNKNOWN_MACHINE = "its machine was never told; what it cost is in the machine's overhead"
# Why the time of an attempt that did not end well is lost, but for what it had finished.
LOST_WORK_REASONS = {
    AttemptOutcome.INTERRUPTED: "EC2 took the machine before the work in hand was finished",
    AttemptOutcome.CANCELLED: "cancelled before the work in hand was finished",
}


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
        found = [*self._attempts(), *self._shared(), *self._requests(), *self._logs()]
        empty = dict.fromkeys(LEDGER_SCHEMA)
        return pl.DataFrame([{**empty, **row} for row in found], schema=LEDGER_SCHEMA)

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
            **(machine_columns(machine) if machine else {"market": waits_for}),
            "attempt": attempt.name,
            "job_id": attempt.job_id or (job.job_id if job else None),
            "queue": attempt.queue,
            "intended_at": to_timestamp(attempt.intended_at),
            "started_at": to_timestamp((job.started if job else None) or attempt.started_at),
            "ended_at": to_timestamp((job.stopped if job else None) or attempt.ended_at),
            "end": end,
            "reason": attempt.reason,
            "said": attempt.said or (job.said if job else None),
            **{name: attempt.work[name] for name in WORK_COLUMNS if name in attempt.work},
        }

    def _machine_of(self, attempt: Attempt) -> Machine | None:
        job = self.facts.job_of(attempt)
        return self.facts.machines.get(job.instance_id) if job and job.instance_id else None

    def _cost(self, attempt: Attempt) -> Row:
        job, machine = self.facts.job_of(attempt), self._machine_of(attempt)
        if job is None or job.started is None:
            return {**ZERO_COST, "estimated": attempt.end is None}
        bill = self._bills.get(machine.instance_id) if machine else None
        if machine is None or bill is None:
            why = self._unpriced(machine) if machine else UNKNOWN_MACHINE
            return {**ZERO_COST, "estimated": True, "remark": why}
        cost = bill.jobs.get(job.job_id)
        if cost is None:  # it began as the machine went
            return {**ZERO_COST, "estimated": bill.estimated}
        return {
            **self._machine_rows.charged(bill, cost, job.stopped is None or bill.may_be_free),
            **self._waste(attempt, job.end, cost),
        }

    def _waste(self, attempt: Attempt, end: str | None, cost: Cost) -> Row:
        if end in (None, AttemptOutcome.DONE):
            return {"useful_seconds": float(cost.seconds)}
        useful = min(cost.seconds, Decimal(attempt.work.get("useful_seconds", 0.0)))
        lost = 1 - useful / cost.seconds if cost.seconds else Decimal(0)
        why = LOST_WORK_REASONS.get(AttemptOutcome(end), f"the attempt ended so: {end}")
        if attempt.moving or attempt.stopping:
            why = f"cancelled: {attempt.moving or attempt.stopping}"
        wasted = round_usd(cost.usd * lost)
        return {
            "useful_seconds": float(useful),
            "usd_wasted": wasted,
            "wasted_why": why if wasted else None,
        }

    # What a machine's jobs share

    def _shared(self) -> Iterator[Row]:
        for bill in self._bills.values():
            share, idle = self._share_of(bill)
            if share:
                wasted = NO_JOB_RAN if idle else ""
                yield from self._machine_rows.shared(self._whose("overhead"), bill, share, wasted)

    def _share_of(self, bill: MachineBill) -> tuple[Decimal, bool]:
        """This launch's share of a machine's overhead, and whether no job ran on it at all."""
        own = [job.job_id for each in self.record.attempts if (job := self.facts.job_of(each))]
        if bill.jobs:
            return bill.share(own), False
        waiting = [job.job_id for job in self.facts.waiting_for(bill.machine)]
        ours = sum(job in own for job in waiting)
        return (Decimal(ours) / len(waiting) if waiting else Decimal(0)), True

    # Requests

    def _requests(self) -> Iterator[Row]:
        counts = {
            name: sum(int(each.work.get(name, 0)) for each in self.record.attempts)
            for name in ("requests_put", "requests_get")
        }
        if not any(counts.values()):
            return
        goes_on = any(each.end is None for each in self.record.attempts)
        began = to_timestamp(self.record.began_at)
        yield {
            **self._whose("requests"),
            "intended_at": began,
            "started_at": began,
            "estimated": goes_on,
            **counts,
            **request_cost_columns(self.book, counts["requests_put"], counts["requests_get"]),
        }

    def _logs(self) -> Iterator[Row]:
        jobs = [self.facts.job_of(each) for each in self.record.attempts]
        ran = sum(job is not None and job.started is not None for job in jobs)
        if ran:
            began = to_timestamp(self.record.began_at)
            yield {
                **self._whose("logs"),
                "intended_at": began,
                "started_at": began,
                "estimated": False,
                **log_cost_columns(self.book, ran),
            }

    # Money

    @cached_property
    def _machine_rows(self) -> MachineRows:
        return MachineRows(self.book)

    @cached_property
    def _bills(self) -> dict[str, MachineBill]:
        """Of the machines that a price is known for."""
        return {
            name: machine_bill(machine, self.facts.stays_on(name), self.book)
            for name, machine in self.facts.machines.items()
            if self._unpriced(machine) is None
        }

    def _unpriced(self, machine: Machine) -> str | None:
        """Why a machine's cost cannot be told."""
        try:
            machine_bill(machine, (), self.book)
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


# What a worker tells of its work, by the ledger's columns.
WORK_COLUMNS = (
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
ZERO_COST: Mapping[str, Any] = {
    **UNKNOWN_COST,
    "billed_seconds": 0.0,
    "useful_seconds": 0.0,
    "estimated": False,
}
