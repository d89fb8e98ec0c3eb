"""A random day in a sandbox account: the ledger, as launches write it, against the sandbox's bill.

For an hour and a half, jobs of two cameras run on both markets, each on half a machine or a whole
one. Machines are interrupted, prices surge, capacity is short, jobs are cancelled. The jobs only
sleep: the scenario tests the allocation of seconds to jobs.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
from job_gates import JobGates

from odins_ravne_assets.odin.totals import MACHINE_TIME_KINDS
from resources.aws.clients import AwsClients
from resources.batch.launch_record import Attempt, LaunchRecord, UnitRecord
from resources.batch.names import Queue
from resources.compute.environment import ComputeEnvironment
from resources.ledger.aws_bill import AwsBill
from resources.ledger.cost_explorer import current_month_bill
from resources.ledger.idle_machines import (
    exclude_billed_machines,
    poll_idle_machines,
    read_idle_machine_rows,
)
from resources.ledger.table import read_ledger
from resources.ledger.writer import CameraLedger, LedgerWriter
from resources.pricing.prices import CostKind
from resources.pricing.sources import price_source
from resources.sandbox.foundation import prepare_foundation
from resources.sandbox.model.config import SandboxConfig
from resources.sandbox.model.stepped_clock import STEP_SECONDS
from resources.sandbox.sandbox import Sandbox
from resources.settings.profile import Aws, Compute
from resources.storage.local_store import LocalStore

TYPES = ("g4dn.xlarge", "g5.xlarge", "g6.xlarge")
CAMERAS = ("north", "south")
QUEUES = (Queue.SPOT, Queue.SPOT, Queue.SPOT_HIGH, Queue.ON_DEMAND)
DAY_SECONDS = 5400.0  # all jobs and events start in this time
WRITE_INTERVAL_SECONDS = 300.0
# Every fifth account keeps machines warm.
WARM_VCPUS, WARM_EVERY = 8, 5
HALF = [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "6000"}]
WHOLE = [{"type": "VCPU", "value": "4"}, {"type": "MEMORY", "value": "14336"}]

ENDED = ("SUCCEEDED", "FAILED")

MakeClients = Callable[[Aws], AwsClients]


@dataclass(frozen=True)
class LedgerResult:
    """The ledger and the sandbox's bill, in USD.

    Args:
        attempts: cost of each attempt by its job: ledger and bill.
        rows: the whole ledger.
        interrupted: machines that EC2 interrupted.
        has_warm_machines: the account keeps machines warm.
        cost_explorer: its bill of the last month of the scenario.
        start: of the day, seconds since 1970 UTC.
    """

    ledger: float
    bill: float
    ledger_on_demand: float
    bill_on_demand: float
    attempts: dict[str, tuple[float, float]]
    rows: pl.DataFrame
    machines: int
    interrupted: int
    has_warm_machines: bool
    cost_explorer: AwsBill
    start: float

    @property
    def error(self) -> float:
        """The relative error of the total."""
        return abs(self.ledger - self.bill) / self.bill if self.bill else abs(self.ledger)

    @property
    def max_attempt_error(self) -> float:
        """The largest relative error of an attempt."""
        return max(abs(a - b) / b if b else abs(a) for a, b in self.attempts.values())


def run_scenario(seed: int, folder: Path, clients_of: MakeClients) -> LedgerResult:
    """Simulate a random day, in a few real seconds.

    Args:
        folder: for the ledgers and the pipes of jobs.
    """
    dice = random.Random(seed)
    config = SandboxConfig(
        scale=0,
        seed=seed,
        boot_seconds=dice.uniform(30, 300),
        pull_seconds=dice.uniform(5, 90),
        idle_seconds=dice.uniform(30, 600),
        notice_seconds=dice.choice([0.0, 120.0]),
        stop_grace_seconds=30,
        interruption_rate=dice.choice([0.0, 0.3, 1.5]),
        billing_lag_seconds=0,  # Cost Explorer is queried at the end of the day
    )
    with Sandbox(config) as sandbox:
        compute = Compute(
            max_vcpus=dice.choice([8, 16, 64]),
            instance_types=_sample(dice, TYPES),
            min_vcpus=WARM_VCPUS if seed % WARM_EVERY == 3 else 0,
        )
        aws = Aws(endpoint_url=sandbox.endpoint_url, clock_url=sandbox.clock_url, compute=compute)
        clients = clients_of(aws)
        clients.clock = sandbox.clock
        prepare_foundation(clients, aws.name, aws.region)
        ComputeEnvironment(aws, clients).setup(4)
        return _Day(sandbox, dice, aws, clients, folder, config.interruption_rate == 0).run()


@dataclass
class _Day:
    sandbox: Sandbox
    dice: random.Random
    aws: Aws
    clients: AwsClients
    folder: Path
    quiet: bool  # no machine is interrupted
    records: dict[str, LaunchRecord] = field(default_factory=dict)
    work_seconds: dict[str, float] = field(default_factory=dict)  # by job

    @cached_property
    def gates(self) -> JobGates:
        return JobGates(self.folder)

    def run(self) -> LedgerResult:
        start = self.sandbox.clock.now()
        self.records = {
            camera: LaunchRecord(f"work-{camera}", "settings", 1, start, []) for camera in CAMERAS
        }
        plan = sorted(self._plan(start), key=lambda step: step[0])
        written_at = start
        while plan or self._has_active_jobs():
            now = self.sandbox.clock.now()
            while plan and plan[0][0] <= now:
                plan.pop(0)[1]()
            self._report_hosts()
            self._end_jobs(now)
            if now - written_at > WRITE_INTERVAL_SECONDS:
                written_at = now
                self._write()
            self.sandbox.clock.sleep(STEP_SECONDS)
        self._write()  # as launches do at their end, while their machines still run
        if self.aws.compute.min_vcpus:
            self.sandbox.clock.sleep(self.dice.uniform(0, DAY_SECONDS))
            ComputeEnvironment(self.aws, self.clients).teardown()
        while any(each["state"] != "terminated" for each in self.sandbox.instances()):
            self.sandbox.clock.sleep(STEP_SECONDS)
        self.writer.reconcile(self.ledgers.values())
        poll_idle_machines(self.writer, self.idle_store)
        return self._result()

    # Events

    def _plan(self, start: float) -> list[tuple[float, Callable[[], Any]]]:
        dice = self.dice
        kind = dice.choice(self.aws.compute.instance_types)

        def at() -> float:
            return start + dice.uniform(0, DAY_SECONDS)

        jobs = [(at(), self._submit) for _ in range(dice.randint(3, 9))]
        cancels = [(at(), self._cancel) for _ in range(dice.randint(0, 2))]
        interruptions = [
            (at(), self._interrupt) for _ in range(0 if self.quiet else dice.randint(0, 2))
        ]
        surge_start = at()
        factors = [0.6, 1.3, *([] if self.quiet else [1.6, 5.0])]
        surge = [
            (surge_start, lambda: self.sandbox.surge(kind, dice.choice(factors))),
            (surge_start + dice.uniform(300, 1800), lambda: self.sandbox.surge(kind, 1.0)),
        ]
        shortage_start = at()
        capacity = [
            (shortage_start, lambda: self.sandbox.set_capacity("spot", dice.randint(0, 1))),
            (shortage_start + 900, lambda: self.sandbox.set_capacity("spot", None)),
        ]
        return [*jobs, *cancels, *interruptions, *surge, *(capacity if dice.random() < 0.3 else [])]

    def _submit(self) -> None:
        camera, queue = self.dice.choice(CAMERAS), self.dice.choice(QUEUES)
        record = self.records[camera]
        unit = UnitRecord(len(record.units), None, None, 600.0)
        name = f"{self.aws.name}-{camera}-u{unit.number}-a1"
        now = self.sandbox.clock.now()
        attempt = Attempt(name, queue, "the scenario", intended_at=now)
        seconds = self.dice.choice([20.0, 300.0, 900.0, 2400.0, 4800.0]) * self.dice.random()
        answer = self.clients.of("batch").submit_job(
            jobName=name,
            jobQueue=f"{self.aws.name}-{queue}",
            jobDefinition=f"{self.aws.name}-worker",
            containerOverrides={
                "command": self.gates.command(name),
                "resourceRequirements": self.dice.choice([HALF, WHOLE]),
            },
        )
        attempt.job_id = answer["jobId"]
        self.work_seconds[attempt.job_id] = seconds
        unit.attempts.append(attempt)
        record.units.append(unit)

    def _report_hosts(self) -> None:
        """Record the machine of each job, as workers report it when they start.

        In a quiet account a third of them report nothing, so that ECS is queried.
        """
        attempts = {each.job_id: each for r in self.records.values() for each in r.attempts}
        for machine in self.sandbox.instances():
            for number, job in enumerate(attempts):
                if job in machine["jobs"] and (number % 3 or not self.quiet):
                    attempts[job].host = {"instance_id": machine["instance_id"]}

    def _end_jobs(self, now: float) -> None:
        """End the jobs whose working time is over."""
        for job in self.sandbox.jobs():
            if job["status"] != "RUNNING":
                continue
            if now >= job["startedAt"] / 1000 + self.work_seconds[job["jobId"]]:
                self.gates.end(job)

    def _cancel(self) -> None:
        active = [each for each in self.sandbox.jobs() if each["status"] not in ENDED]
        if active:
            job = self.dice.choice(active)["jobId"]
            self.clients.of("batch").terminate_job(jobId=job, reason="cancelled by a user")

    def _interrupt(self) -> None:
        spot = [
            each["instance_id"]
            for each in self.sandbox.instances()
            if each["lifecycle"] == "spot" and each["state"] != "terminated"
        ]
        if spot:
            self.sandbox.interrupt(instance_id=self.dice.choice(spot), notice=False)

    def _has_active_jobs(self) -> bool:
        return any(job["status"] not in ENDED for job in self.sandbox.jobs())

    # Ledgers

    @property
    def ledgers(self) -> dict[str, CameraLedger]:
        return {
            camera: CameraLedger(
                camera,
                LocalStore(self.folder / camera / "launches"),
                LocalStore(self.folder / camera / "ledger"),
            )
            for camera in CAMERAS
        }

    @property
    def idle_store(self) -> LocalStore:
        return LocalStore(self.folder / "idle")

    @property
    def writer(self) -> LedgerWriter:
        return LedgerWriter(
            self.clients, self.aws, price_source(self.clients, self.aws, self.folder)
        )

    def _write(self) -> None:
        """Write the records and ledgers, as launches do while they run."""
        for camera, record in self.records.items():
            record.save(self.ledgers[camera].launches)
            self.writer.write(self.ledgers[camera], record)
        poll_idle_machines(self.writer, self.idle_store)

    def _result(self) -> LedgerResult:
        cameras = read_ledger([each.ledger for each in self.ledgers.values()])
        idle = read_idle_machine_rows(self.idle_store, self.aws)
        rows = pl.concat([cameras, exclude_billed_machines(idle, cameras)])
        machines = rows.filter(pl.col("kind").is_in(MACHINE_TIME_KINDS))
        attempts = {
            job: float(usd)
            for job, usd in rows.filter(pl.col("kind") == CostKind.ATTEMPT)
            .select("job_id", "usd")
            .iter_rows()
        }
        billed = {line.job_id: line.cost for line in self.sandbox.attempt_bill()}
        bill = self.sandbox.bill()
        return LedgerResult(
            ledger=float(machines["usd"].sum()),
            bill=sum(line.cost for line in bill),
            ledger_on_demand=float(machines["usd_on_demand"].sum()),
            bill_on_demand=sum(line.on_demand_cost for line in bill),
            attempts={job: (usd, billed.get(job, 0.0)) for job, usd in attempts.items()},
            rows=rows,
            machines=len(bill),
            interrupted=sum(line.interrupted for line in bill),
            has_warm_machines=self.aws.compute.min_vcpus > 0,
            cost_explorer=current_month_bill(self.clients, self.aws.name, self.folder),
            start=min(record.began_at for record in self.records.values()),
        )


def _sample(dice: random.Random, types: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dice.sample(types, dice.randint(1, len(types))))
