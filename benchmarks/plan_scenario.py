"""A random season in a sandbox account: one camera is run and measured, others are planned and run.

Jobs sleep as long as their frames would take. The scenario compares a plan, which is based on the
first camera's ledger, with the sandbox's bill for the other cameras.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl
from job_gates import JobGates

from resources.aws.clients import AwsClients
from resources.batch.launch_record import Attempt, LaunchRecord, UnitOutcome, UnitRecord
from resources.batch.names import Queue
from resources.batch.outcome import AttemptOutcome
from resources.batch.work_units import unit_count
from resources.compute.environment import ComputeEnvironment
from resources.ledger.table import read_ledger
from resources.ledger.writer import CameraLedger, LedgerWriter
from resources.planning.estimate import (
    CameraWork,
    Estimate,
    PlanLimits,
    PlannedWork,
    estimate_fixed_price,
    estimate_spot,
)
from resources.planning.throughput import measured_overheads, measured_throughputs
from resources.pricing.economics import Overheads
from resources.pricing.prices import Market
from resources.pricing.sources import price_source
from resources.pricing.spot_history import spot_price_stats
from resources.sandbox.foundation import prepare_foundation
from resources.sandbox.model.config import SandboxConfig
from resources.sandbox.model.stepped_clock import STEP_SECONDS
from resources.sandbox.sandbox import Sandbox
from resources.settings.profile import Aws, Compute, CostOptimization
from resources.storage.local_store import LocalStore

TYPES = ("g4dn.xlarge", "g5.xlarge", "g6.xlarge")
# The measured camera, with consecutive units on separate machines.
MEASURED_CAMERA, MEASURED_UNITS = "past", 3
PARALLEL_JOBS = 4
MACHINES = 16
ENDED = ("SUCCEEDED", "FAILED")

MakeClients = Callable[[Aws], AwsClients]


@dataclass(frozen=True)
class PlanResult:
    """A plan and the sandbox's bill.

    Args:
        billed_usd: cost of machines, without disks and addresses.
        interrupted: machines that EC2 interrupted.
    """

    plan: Estimate
    billed_usd: float
    interrupted: int

    @property
    def error(self) -> float:
        """The relative error of the expected cost."""
        return abs(self.plan.usd.expected / self.billed_usd - 1)


def plan_and_run(
    seed: int, folder: Path, clients_of: MakeClients, interruptions_per_hour: float = 0.0
) -> PlanResult:
    """Simulate a random season, in a few real seconds.

    Args:
        folder: for ledgers and the pipes of jobs.
        interruptions_per_hour: of each spot machine.
    """
    dice = random.Random(seed)
    config = SandboxConfig(
        scale=0,
        seed=seed,
        boot_seconds=dice.uniform(60, 300),
        pull_seconds=dice.uniform(5, 60),
        idle_seconds=dice.uniform(60, 300),
        notice_seconds=0,
    )
    kind = dice.choice(TYPES)
    with Sandbox(config) as sandbox:
        compute = Compute(max_vcpus=4 * MACHINES, instance_types=(kind,))
        aws = Aws(endpoint_url=sandbox.endpoint_url, clock_url=sandbox.clock_url, compute=compute)
        clients = clients_of(aws)
        clients.clock = sandbox.clock
        prepare_foundation(clients, aws.name, aws.region)
        ComputeEnvironment(aws, clients).setup(MACHINES)
        market = dice.choice([Market.SPOT, Market.ON_DEMAND])
        season = _Season(sandbox, dice, aws, clients, folder, market)
        season.measure()
        sandbox.set_interruption_rate(interruptions_per_hour)
        return season.predict(interruptions_per_hour)


@dataclass
class _Unit:
    """A work unit in progress."""

    record: UnitRecord
    frames: int
    done: float = 0.0  # frames


@dataclass
class _Season:
    sandbox: Sandbox
    dice: random.Random
    aws: Aws
    clients: AwsClients
    folder: Path
    market: Market
    speed: float = field(init=False)  # true frames per second
    start: float = field(init=False)  # true seconds of a worker's start
    gates: JobGates = field(init=False)

    def __post_init__(self) -> None:
        self.speed = self.dice.uniform(5, 100)
        self.start = self.dice.uniform(5, 60)
        self.gates = JobGates(self.folder)

    # Measurement

    def measure(self) -> None:
        """Run a camera, unit by unit, and write its ledger."""
        for number in range(MEASURED_UNITS):
            frames = round(self.dice.uniform(600, 2400) * self.speed)
            record = self._run_units(f"{MEASURED_CAMERA}{number}", [frames], [])
            self._wait_for_termination()
            ledger = self._ledger(f"{MEASURED_CAMERA}{number}")
            prices = price_source(self.clients, self.aws, self.folder)
            LedgerWriter(self.clients, self.aws, prices).write(ledger, record)

    def _ledger(self, camera: str) -> CameraLedger:
        launches, ledger = self.folder / camera / "launches", self.folder / camera / "ledger"
        return CameraLedger(MEASURED_CAMERA, LocalStore(launches), LocalStore(ledger))

    def _measured_ledger(self) -> pl.DataFrame:
        return read_ledger(
            self._ledger(f"{MEASURED_CAMERA}{n}").ledger for n in range(MEASURED_UNITS)
        )

    def _wait_for_termination(self) -> None:
        while any(each["state"] != "terminated" for each in self.sandbox.instances()):
            self.sandbox.clock.sleep(STEP_SECONDS)

    # Plan and bill

    def predict(self, interruptions_per_hour: float) -> PlanResult:
        hours = [self.dice.uniform(0.1, 3) for _ in range(self.dice.randint(1, 4))]
        frames = [round(each * 3600 * self.speed) for each in hours]
        work = self._work(frames)
        plan = self._plan(work, interruptions_per_hour)
        before = {line.instance_id for line in self.sandbox.bill()}
        units = [self._cut(work, camera) for camera in work.cameras]
        self._run_cameras(units)
        self._wait_for_termination()
        bill = [line for line in self.sandbox.bill() if line.instance_id not in before]
        return PlanResult(
            plan, sum(line.cost for line in bill), sum(line.interrupted for line in bill)
        )

    def _work(self, frames: Sequence[int]) -> PlannedWork:
        ledger = self._measured_ledger()
        # The sandbox bills machines only.
        overheads = replace(measured_overheads(ledger), usd_per_hour=0.0)
        cost = CostOptimization(max_parallel_jobs=PARALLEL_JOBS)
        cameras = [CameraWork(f"camera{n}", each, each) for n, each in enumerate(frames)]
        return PlannedWork(cameras, PlanLimits(cost, MACHINES), 1 / self.speed, overheads)

    def _plan(self, work: PlannedWork, interruptions_per_hour: float) -> Estimate:
        now = self.sandbox.clock.now()
        [kind] = self.aws.compute.instance_types
        book = price_source(self.clients, self.aws, self.folder).book(now - 86400, now)
        ledger = self._measured_ledger()
        throughput = measured_throughputs(ledger, [kind], "onnxruntime")[kind]
        assert throughput.measured
        if self.market is Market.ON_DEMAND:
            usd_per_hour = float(book.on_demand(kind).usd)
            return estimate_fixed_price(work, kind, self.market, usd_per_hour, throughput)
        offer = min(book.offers([kind], now), key=lambda each: each.spot)
        rate = interruptions_per_hour or 1e-9
        throughput = replace(throughput, interruptions_per_hour=rate, observed_hours=1e9)
        prices = spot_price_stats(book, kind, offer.zone, now)
        return estimate_spot(work, offer, throughput, prices, self.aws.compute.bid_percentage)

    def _cut(self, work: PlannedWork, camera: CameraWork) -> list[int]:
        """The frames of each unit, as a launch would cut the camera."""
        count = unit_count(camera.frames * work.seconds_per_frame, Overheads(), work.limits.cost)
        return [camera.frames // count] * count

    # Runs

    def _run_cameras(self, cameras: Sequence[Sequence[int]]) -> None:
        """Run all units in parallel, then a table job for each camera with several units."""
        flat = [frames for camera in cameras for frames in camera]
        table_jobs = [0 for camera in cameras if len(camera) > 1]
        self._run_units("planned", flat, table_jobs)

    def _run_units(self, name: str, first: Sequence[int], then: Sequence[int]) -> LaunchRecord:
        """Run units with these frames, then others; interrupted units are submitted again."""
        now = self.sandbox.clock.now()
        record = LaunchRecord(name, "settings", 1, now, [])
        for batch in (first, then):
            units = [_Unit(UnitRecord(n, None, None, 1.0), each) for n, each in enumerate(batch)]
            record.units += [unit.record for unit in units]
            while open_units := [unit for unit in units if unit.record.outcome is UnitOutcome.OPEN]:
                for unit in open_units[:PARALLEL_JOBS]:
                    if not unit.record.attempts:
                        self._submit(f"{name}-{len(batch)}-{unit.record.number}", unit)
                self.sandbox.clock.sleep(STEP_SECONDS)
                jobs = {job["jobId"]: job for job in self.sandbox.jobs()}
                for unit in open_units[:PARALLEL_JOBS]:
                    self._update(unit, jobs[unit.record.attempts[-1].job_id or ""])
        record.finished = True
        return record

    def _submit(self, name: str, unit: _Unit) -> None:
        attempt = Attempt(
            f"{name}-a{len(unit.record.attempts)}",
            Queue(self.market),
            "the scenario",
            intended_at=self.sandbox.clock.now(),
        )
        answer = self.clients.of("batch").submit_job(
            jobName=attempt.name,
            jobQueue=f"{self.aws.name}-{self.market}",
            jobDefinition=f"{self.aws.name}-worker",
            containerOverrides={"command": self.gates.command(attempt.name)},
            retryStrategy={"attempts": 1},
        )
        attempt.job_id = answer["jobId"]
        unit.record.attempts.append(attempt)

    def _update(self, unit: _Unit, job: dict[str, object]) -> None:
        """End a job whose frames are done; resubmit the rest of an interrupted one."""
        attempt = unit.record.attempts[-1]
        started = job.get("startedAt")
        if isinstance(started, int):
            attempt.started_at = started / 1000
        now = self.sandbox.clock.now()
        remaining = (unit.frames - unit.done) / self.speed
        if job["status"] in ENDED:  # as a worker reports its machine
            hosts = {line.job_id: line.instance_id for line in self.sandbox.attempt_bill()}
            if host := hosts.get(attempt.job_id or ""):
                attempt.host = {"instance_id": host}
        worked = now - (attempt.started_at or now) - self.start
        if job["status"] == "RUNNING" and worked >= remaining:
            self.gates.end(job)
            attempt.work = {"frames": round(unit.frames), "detections_seconds": worked}
        elif job["status"] == "SUCCEEDED":
            attempt.end, unit.record.outcome = AttemptOutcome.DONE, UnitOutcome.DONE
        elif job["status"] == "FAILED":
            attempt.end = AttemptOutcome.INTERRUPTED
            unit.done += max(0.0, worked) * self.speed
            self._submit(attempt.name, unit)
