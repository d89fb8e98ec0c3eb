"""A random day in an account, with a ledger kept as launches keep it, held against the true bill.

Jobs of two cameras, half a machine or a whole one, on both markets, come and go over an hour and
a half; machines are taken, prices surge, capacity is short, jobs are cancelled. The jobs only
sleep: what is tried is who pays for which second.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
from job_gates import JobGates

from resources.aws.clients import AwsClients
from resources.batch.launch_record import Attempt, LaunchRecord, UnitRecord
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
from resources.pricing.sources import price_source
from resources.sandbox.foundation import prepare_foundation
from resources.sandbox.model.config import SandboxConfig
from resources.sandbox.model.stepped_clock import STEP_SECONDS
from resources.sandbox.sandbox import Sandbox
from resources.settings.profile import Aws, Compute
from resources.storage.local_store import LocalStore

TYPES = ("g4dn.xlarge", "g5.xlarge", "g6.xlarge")
CAMERAS = ("north", "south")
QUEUES = ("spot", "spot", "spot-high", "ondemand")
SPAN = 5400.0  # jobs and troubles come within these seconds
LOOK_EVERY = 300.0
# Every fifth account keeps so much warm, whether there is work or not.
WARM_VCPUS, WARM_EVERY = 8, 5
HALF = [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "6000"}]
WHOLE = [{"type": "VCPU", "value": "4"}, {"type": "MEMORY", "value": "14336"}]

MakeClients = Callable[[Aws], AwsClients]


@dataclass(frozen=True)
class LedgerResult:
    """The ledger beside the truth, in USD.

    Args:
        attempts: of each attempt, by its job: ledger and truth.
        rows: the whole ledger.
        taken: machines that EC2 took.
        kept_warm: machines are kept whether there is work or not.
        told: what Cost Explorer tells in the end, of the month that it ends in.
        began: the day did, seconds since 1970 UTC.
    """

    ledger: float
    bill: float
    ledger_on_demand: float
    bill_on_demand: float
    attempts: dict[str, tuple[float, float]]
    rows: pl.DataFrame
    machines: int
    taken: int
    kept_warm: bool
    told: AwsBill
    began: float

    @property
    def off(self) -> float:
        """How far the total is from the truth, as a share of it."""
        return abs(self.ledger - self.bill) / self.bill if self.bill else abs(self.ledger)

    @property
    def worst_attempt(self) -> float:
        """The same of the attempt that is worst."""
        return max(abs(a - b) / b if b else abs(a) for a, b in self.attempts.values())


def run_scenario(seed: int, folder: Path, clients_of: MakeClients) -> LedgerResult:
    """Live through a random day, in a few real seconds.

    Args:
        folder: for the ledgers and what tells jobs to end.
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
        billing_lag_seconds=0,  # Cost Explorer is asked at the day's end
    )
    with Sandbox(config) as sandbox:
        compute = Compute(
            max_vcpus=dice.choice([8, 16, 64]),
            instance_types=_some(dice, TYPES),
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
    quiet: bool  # no machine is taken
    records: dict[str, LaunchRecord] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)  # job -> seconds that it works

    @cached_property
    def gates(self) -> JobGates:
        return JobGates(self.folder)

    def run(self) -> LedgerResult:
        began = self.sandbox.clock.now()
        self.records = {
            camera: LaunchRecord(f"work-{camera}", "settings", 1, began, []) for camera in CAMERAS
        }
        plan = sorted(self._plan(began), key=lambda step: step[0])
        looked_at = began
        while plan or self._goes_on():
            now = self.sandbox.clock.now()
            while plan and plan[0][0] <= now:
                plan.pop(0)[1]()
            self._tell_hosts()
            self._end_jobs(now)
            if now - looked_at > LOOK_EVERY:
                looked_at = now
                self._look()
            self.sandbox.clock.sleep(STEP_SECONDS)
        self._look()  # as launches end; their machines are still up
        if self.aws.compute.min_vcpus:
            self.sandbox.clock.sleep(self.dice.uniform(0, SPAN))
            ComputeEnvironment(self.aws, self.clients).teardown()
        while any(each["state"] != "terminated" for each in self.sandbox.instances()):
            self.sandbox.clock.sleep(STEP_SECONDS)
        self.keeper.reconcile(self.books.values())
        poll_idle_machines(self.keeper, self.waiting)
        return self._held()

    # what happens

    def _plan(self, began: float) -> list[tuple[float, Callable[[], Any]]]:
        dice = self.dice
        kind = dice.choice(self.aws.compute.instance_types)

        def at() -> float:
            return began + dice.uniform(0, SPAN)

        jobs = [(at(), self._submit) for _ in range(dice.randint(3, 9))]
        cancels = [(at(), self._cancel) for _ in range(dice.randint(0, 2))]
        taken = [(at(), self._take) for _ in range(0 if self.quiet else dice.randint(0, 2))]
        surged = at()
        factors = [0.6, 1.3, *([] if self.quiet else [1.6, 5.0])]
        surge = [
            (surged, lambda: self.sandbox.surge(kind, dice.choice(factors))),
            (surged + dice.uniform(300, 1800), lambda: self.sandbox.surge(kind, 1.0)),
        ]
        short = at()
        capacity = [
            (short, lambda: self.sandbox.set_capacity("spot", dice.randint(0, 1))),
            (short + 900, lambda: self.sandbox.set_capacity("spot", None)),
        ]
        return [*jobs, *cancels, *taken, *surge, *(capacity if dice.random() < 0.3 else [])]

    def _submit(self) -> None:
        camera, queue = self.dice.choice(CAMERAS), self.dice.choice(QUEUES)
        record = self.records[camera]
        unit = UnitRecord(len(record.units), None, None, 600.0)
        name = f"{self.aws.name}-{camera}-u{unit.number}-a1"
        now = self.sandbox.clock.now()
        attempt = Attempt(name, queue, "the scenario says so", intended_at=now)
        seconds = self.dice.choice([20.0, 300.0, 900.0, 2400.0, 4800.0]) * self.dice.random()
        asked = self.clients.of("batch").submit_job(
            jobName=name,
            jobQueue=f"{self.aws.name}-{queue}",
            jobDefinition=f"{self.aws.name}-worker",
            containerOverrides={
                "command": self.gates.command(name),
                "resourceRequirements": self.dice.choice([HALF, WHOLE]),
            },
        )
        attempt.job_id = asked["jobId"]
        self.asked[attempt.job_id] = seconds
        unit.attempts.append(attempt)
        record.units.append(unit)

    def _tell_hosts(self) -> None:
        """Workers say on which machine they are as soon as they run. In a quiet account a third of
        them are mute, and ECS has to be asked."""
        attempts = {each.job_id: each for r in self.records.values() for each in r.attempts}
        for machine in self.sandbox.instances():
            for number, job in enumerate(attempts):
                if job in machine["jobs"] and (number % 3 or not self.quiet):
                    attempts[job].host = {"instance_id": machine["instance_id"]}

    def _end_jobs(self, now: float) -> None:
        """Let the jobs end that have worked as long as they were asked to."""
        for job in self.sandbox.jobs():
            if job["status"] != "RUNNING":
                continue
            if now >= job["startedAt"] / 1000 + self.asked[job["jobId"]]:
                self.gates.end(job)

    def _cancel(self) -> None:
        living = [each for each in self.sandbox.jobs() if each["status"] not in _ENDED]
        if living:
            job = self.dice.choice(living)["jobId"]
            self.clients.of("batch").terminate_job(jobId=job, reason="a person asked for it")

    def _take(self) -> None:
        spot = [
            each["instance_id"]
            for each in self.sandbox.instances()
            if each["lifecycle"] == "spot" and each["state"] != "terminated"
        ]
        if spot:
            self.sandbox.interrupt(instance_id=self.dice.choice(spot), notice=False)

    def _goes_on(self) -> bool:
        return any(job["status"] not in _ENDED for job in self.sandbox.jobs())

    # what is kept

    @property
    def books(self) -> dict[str, CameraLedger]:
        return {
            camera: CameraLedger(
                camera,
                LocalStore(self.folder / camera / "launches"),
                LocalStore(self.folder / camera / "ledger"),
            )
            for camera in CAMERAS
        }

    @property
    def waiting(self) -> LocalStore:
        return LocalStore(self.folder / "waiting")

    @property
    def keeper(self) -> LedgerWriter:
        return LedgerWriter(
            self.clients, self.aws, price_source(self.clients, self.aws, self.folder)
        )

    def _look(self) -> None:
        """What launches do while they run: write the record, and the ledger."""
        for camera, record in self.records.items():
            record.save(self.books[camera].launches)
            self.keeper.write(self.books[camera], record)
        poll_idle_machines(self.keeper, self.waiting)

    def _held(self) -> LedgerResult:
        cameras = read_ledger([books.ledger for books in self.books.values()])
        rows = pl.concat(
            [
                cameras,
                exclude_billed_machines(read_idle_machine_rows(self.waiting, self.aws), cameras),
            ]
        )
        machines = rows.filter(pl.col("kind").is_in(["attempt", "overhead"]))
        own = {
            job: float(usd)
            for job, usd in rows.filter(pl.col("kind") == "attempt")
            .select("job_id", "usd")
            .iter_rows()
        }
        truth = {line.job_id: line.cost for line in self.sandbox.attempt_bill()}
        bill = self.sandbox.bill()
        return LedgerResult(
            ledger=float(machines["usd"].sum()),
            bill=sum(line.cost for line in bill),
            ledger_on_demand=float(machines["usd_on_demand"].sum()),
            bill_on_demand=sum(line.on_demand_cost for line in bill),
            attempts={job: (own[job], truth.get(job, 0.0)) for job in own},
            rows=rows,
            machines=len(bill),
            taken=sum(line.interrupted for line in bill),
            kept_warm=self.aws.compute.min_vcpus > 0,
            told=current_month_bill(self.clients, self.aws.name, self.folder),
            began=min(record.began_at for record in self.records.values()),
        )


_ENDED = ("SUCCEEDED", "FAILED")


def _some(dice: random.Random, types: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dice.sample(types, dice.randint(1, len(types))))
