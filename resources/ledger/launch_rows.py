"""The ledger rows of a launch, from its record, the facts about its machines, and prices.

A pure function: the same facts give the same rows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import polars as pl

from resources.batch.launch_record import Attempt, LaunchRecord
from resources.batch.names import Queue
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
from resources.pricing.prices import Cost, CostKind, Market, PriceBook

NO_JOB_RAN = "no job ran on the machine"
UNKNOWN_MACHINE = "its machine is not known; its cost is part of the machine's overhead"
# Why unfinished work of an attempt is lost.
LOST_WORK_REASONS = {
    AttemptOutcome.INTERRUPTED: "EC2 interrupted the machine before work in progress was saved",
    AttemptOutcome.CANCELLED: "cancelled before work in progress was saved",
}
# Counters that a worker reports, as named in the ledger's columns.
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


@dataclass(frozen=True)
class LaunchRows:
    """Computes the rows of one launch.

    Args:
        book: the prices over the launch's time.
    """

    camera_id: str
    region: str
    record: LaunchRecord
    facts: LaunchFacts
    book: PriceBook

    def frame(self) -> pl.DataFrame:
        """Return all rows, with the columns of LEDGER_SCHEMA."""
        rows = [*self._attempts(), *self._overhead(), *self._requests(), *self._logs()]
        empty = dict.fromkeys(LEDGER_SCHEMA)
        return pl.DataFrame([{**empty, **row} for row in rows], schema=LEDGER_SCHEMA)

    # Attempts

    def _attempts(self) -> Iterator[Row]:
        for unit in self.record.units:
            for attempt in unit.attempts:
                columns = self._attempt_columns(attempt)
                yield {**columns, "unit": unit.number, **self._attempt_cost(attempt)}

    def _attempt_columns(self, attempt: Attempt) -> Row:
        job = self.facts.job_of(attempt)
        machine = self._machine_of(attempt)
        market = Market.ON_DEMAND if attempt.queue == Queue.ON_DEMAND else Market.SPOT
        return {
            **self._owner(CostKind.ATTEMPT),
            **(machine_columns(machine) if machine else {"market": market}),
            "attempt": attempt.name,
            "job_id": attempt.job_id or (job.job_id if job else None),
            "queue": attempt.queue,
            "intended_at": to_timestamp(attempt.intended_at),
            "started_at": to_timestamp((job.started if job else None) or attempt.started_at),
            "ended_at": to_timestamp((job.stopped if job else None) or attempt.ended_at),
            "end": attempt.end or (job.end if job else None),
            "reason": attempt.reason,
            "said": attempt.said or (job.said if job else None),
            **{name: attempt.work[name] for name in WORK_COLUMNS if name in attempt.work},
        }

    def _machine_of(self, attempt: Attempt) -> Machine | None:
        job = self.facts.job_of(attempt)
        return self.facts.machines.get(job.instance_id) if job and job.instance_id else None

    def _attempt_cost(self, attempt: Attempt) -> Row:
        job, machine = self.facts.job_of(attempt), self._machine_of(attempt)
        if job is None or job.started is None:
            return {**ZERO_COST, "estimated": attempt.end is None}
        bill = self._bills.get(machine.instance_id) if machine else None
        if machine is None or bill is None:
            remark = self._price_error(machine) if machine else UNKNOWN_MACHINE
            return {**ZERO_COST, "estimated": True, "remark": remark}
        cost = bill.jobs.get(job.job_id)
        if cost is None:  # it started as the machine ended
            return {**ZERO_COST, "estimated": bill.estimated}
        estimated = job.stopped is None or bill.may_be_free
        return {
            **self._machine_rows.time_columns(bill, cost, estimated),
            **self._waste(attempt, job.end, cost),
        }

    def _waste(self, attempt: Attempt, end: AttemptOutcome | None, cost: Cost) -> Row:
        if end is None or end == AttemptOutcome.DONE:
            return {"useful_seconds": float(cost.seconds)}
        useful = min(cost.seconds, Decimal(attempt.work.get("useful_seconds", 0.0)))
        lost = 1 - useful / cost.seconds if cost.seconds else Decimal(0)
        reason = LOST_WORK_REASONS.get(end, f"attempt ended: {end}")
        if attempt.moving or attempt.stopping:
            reason = f"cancelled: {attempt.moving or attempt.stopping}"
        wasted = round_usd(cost.usd * lost)
        return {
            "useful_seconds": float(useful),
            "usd_wasted": wasted,
            "wasted_why": reason if wasted else None,
        }

    # Overhead of machines

    def _overhead(self) -> Iterator[Row]:
        for bill in self._bills.values():
            share, idle = self._share_of(bill)
            if share:
                owner, reason = self._owner(CostKind.OVERHEAD), NO_JOB_RAN if idle else ""
                yield from self._machine_rows.overhead_rows(owner, bill, share, reason)

    def _share_of(self, bill: MachineBill) -> tuple[Decimal, bool]:
        """This launch's share of a machine's overhead, and True if no job ran on it."""
        own = [job.job_id for each in self.record.attempts if (job := self.facts.job_of(each))]
        if bill.jobs:
            return bill.share(own), False
        queued = [job.job_id for job in self.facts.jobs_queued_at_launch(bill.machine)]
        ours = sum(job in own for job in queued)
        return (Decimal(ours) / len(queued) if queued else Decimal(0)), True

    # Requests and logs

    def _requests(self) -> Iterator[Row]:
        counts = {
            name: sum(int(each.work.get(name, 0)) for each in self.record.attempts)
            for name in ("requests_put", "requests_get")
        }
        if any(counts.values()):
            yield {
                **self._launch_columns(CostKind.REQUESTS),
                "estimated": any(each.end is None for each in self.record.attempts),
                **counts,
                **request_cost_columns(self.book, counts["requests_put"], counts["requests_get"]),
            }

    def _logs(self) -> Iterator[Row]:
        jobs = [self.facts.job_of(each) for each in self.record.attempts]
        started = sum(job is not None and job.started is not None for job in jobs)
        if started:
            yield {
                **self._launch_columns(CostKind.LOGS),
                "estimated": False,
                **log_cost_columns(self.book, started),
            }

    def _launch_columns(self, kind: CostKind) -> Row:
        start = to_timestamp(self.record.began_at)
        return {**self._owner(kind), "intended_at": start, "started_at": start}

    # Bills of machines

    @cached_property
    def _machine_rows(self) -> MachineRows:
        return MachineRows(self.book)

    @cached_property
    def _bills(self) -> dict[str, MachineBill]:
        """The bills of machines with a known price."""
        return {
            name: machine_bill(machine, self.facts.intervals_on(name), self.book)
            for name, machine in self.facts.machines.items()
            if self._price_error(machine) is None
        }

    def _price_error(self, machine: Machine) -> str | None:
        """The error message if a machine's price is not known."""
        try:
            machine_bill(machine, (), self.book)
        except RavneError as error:
            return str(error)
        return None

    def _owner(self, kind: CostKind) -> Row:
        return {
            "camera_id": self.camera_id,
            "launch": self.record.identity,
            "kind": kind,
            "region": self.region,
        }
