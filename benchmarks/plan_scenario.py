"""A random season in an account: one camera is run and measured, the next ones are planned and run.

The jobs only wait as long as their frames would take. What is tried is whether a plan that was
made of the first camera's ledger foretells the true bill of the others.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

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
    PlanMarket,
    PlannedWork,
    estimate_fixed_price,
    estimate_spot,
)
from resources.planning.throughput import measured_overheads, measured_throughputs
from resources.pricing.economics import Overheads
from resources.pricing.sources import price_source
from resources.pricing.spot_history import spot_price_stats
from resources.sandbox.foundation import prepare_foundation
from resources.sandbox.model.config import SandboxConfig
from resources.sandbox.model.stepped_clock import STEP_SECONDS
from resources.sandbox.sandbox import Sandbox
from resources.settings.profile import Aws, Compute, CostOptimization
from resources.storage.local_store import LocalStore

TYPES = ("g4dn.xlarge", "g5.xlarge", "g6.xlarge")
# The camera that is measured: so many units, one after the other's machine has gone.
PAST, PAST_UNITS = "past", 3
AT_ONCE = 4
MACHINES = 16
ENDED = ("SUCCEEDED", "FAILED")

MakeClients = Callable[[Aws], AwsClients]


@dataclass(frozen=True)
class PlanResult:
    """A plan beside the truth.

    Args:
        truth: of the sandbox's bill: machines alone, without disks and addresses.
        taken: machines that EC2 took.
    """

    plan: Estimate
    truth: float
    taken: int

    @property
    def off(self) -> float:
        """How far the expected cost is from the true one, as a share of that."""
        return abs(self.plan.usd.expected / self.truth - 1)


def plan_and_run(
    seed: int, folder: Path, clients_of: MakeClients, losses_per_hour: float = 0.0
) -> PlanResult:
    """Live through a random season, in a few real seconds.

    Args:
        folder: for ledgers, and what tells jobs to end.
        losses_per_hour: interruptions of each spot machine.
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
        season = _Season(sandbox, dice, aws, clients, folder, dice.choice(["spot", "ondemand"]))
        season.measure()
        sandbox.set_interruption_rate(losses_per_hour)
        return season.foretell(losses_per_hour)


@dataclass
class _Unit:
    """A work unit on its way."""

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
    market: PlanMarket
    speed: float = field(init=False)  # true frames per second
    start: float = field(init=False)  # true seconds of a worker's start
    gates: JobGates = field(init=False)

    def __post_init__(self) -> None:
        self.speed = self.dice.uniform(5, 100)
        self.start = self.dice.uniform(5, 60)
        self.gates = JobGates(self.folder)

    # before: what the plan knows

    def measure(self) -> None:
        """Run a camera, unit by unit, and keep its ledger."""
        for number in range(PAST_UNITS):
            frames = round(self.dice.uniform(600, 2400) * self.speed)
            record = self._run_units(f"{PAST}{number}", [frames], [])
            self._idle_out()
            books = self._books(f"{PAST}{number}")
            prices = price_source(self.clients, self.aws, self.folder)
            LedgerWriter(self.clients, self.aws, prices).write(books, record)

    def _books(self, camera: str) -> CameraLedger:
        launches, ledger = self.folder / camera / "launches", self.folder / camera / "ledger"
        return CameraLedger(PAST, LocalStore(launches), LocalStore(ledger))

    def _idle_out(self) -> None:
        while any(each["state"] != "terminated" for each in self.sandbox.instances()):
            self.sandbox.clock.sleep(STEP_SECONDS)

    # the plan, and the truth

    def foretell(self, losses_per_hour: float) -> PlanResult:
        hours = [self.dice.uniform(0.1, 3) for _ in range(self.dice.randint(1, 4))]
        frames = [round(each * 3600 * self.speed) for each in hours]
        work = self._work(frames)
        plan = self._plan(work, losses_per_hour)
        before = {line.instance_id for line in self.sandbox.bill()}
        units = [self._cut(work, camera) for camera in work.cameras]
        self._run_cameras(units)
        self._idle_out()
        bill = [line for line in self.sandbox.bill() if line.instance_id not in before]
        return PlanResult(
            plan, sum(line.cost for line in bill), sum(line.interrupted for line in bill)
        )

    def _work(self, frames: Sequence[int]) -> PlannedWork:
        ledger = read_ledger(self._books(f"{PAST}{n}").ledger for n in range(PAST_UNITS))
        # The bill is of machines alone.
        taken = replace(measured_overheads(ledger), usd_per_hour=0.0)
        cost = CostOptimization(max_parallel_jobs=AT_ONCE)
        cameras = [CameraWork(f"camera{n}", each, each) for n, each in enumerate(frames)]
        return PlannedWork(cameras, PlanLimits(cost, MACHINES), 1 / self.speed, taken)

    def _plan(self, work: PlannedWork, losses_per_hour: float) -> Estimate:
        now = self.sandbox.clock.now()
        [kind] = self.aws.compute.instance_types
        book = price_source(self.clients, self.aws, self.folder).book(now - 86400, now)
        ledger = read_ledger(self._books(f"{PAST}{n}").ledger for n in range(PAST_UNITS))
        pace = measured_throughputs(ledger, [kind], "onnxruntime")[kind]
        assert pace.measured
        if self.market == "ondemand":
            return estimate_fixed_price(
                work, kind, "ondemand", float(book.on_demand(kind).usd), pace
            )
        offer = min(book.offers([kind], now), key=lambda each: each.spot)
        pace = replace(pace, interruptions_per_hour=losses_per_hour or 1e-9, hours=1e9)
        moves = spot_price_stats(book, kind, offer.zone, now)
        return estimate_spot(work, offer, pace, moves, self.aws.compute.bid_percentage)

    def _cut(self, work: PlannedWork, camera: CameraWork) -> list[int]:
        """Frames of each unit, as a launch cuts a camera."""
        count = unit_count(camera.frames * work.seconds_per_frame, Overheads(), work.limits.cost)
        return [camera.frames // count] * count

    # running

    def _run_cameras(self, cameras: Sequence[Sequence[int]]) -> None:
        """All at once; of those with several units, each is followed by a job for the tables."""
        flat = [frames for camera in cameras for frames in camera]
        tables = [0 for camera in cameras if len(camera) > 1]
        self._run_units("planned", flat, tables)

    def _run_units(self, name: str, first: Sequence[int], then: Sequence[int]) -> LaunchRecord:
        """Run units of so many frames, then others; what is interrupted is submitted again."""
        now = self.sandbox.clock.now()
        record = LaunchRecord(name, "settings", 1, now, [])
        for stretch in (first, then):
            units = [_Unit(UnitRecord(n, None, None, 1.0), each) for n, each in enumerate(stretch)]
            record.units += [unit.record for unit in units]
            while open_units := [unit for unit in units if unit.record.outcome is UnitOutcome.OPEN]:
                for unit in open_units[:AT_ONCE]:
                    if not unit.record.attempts:
                        self._submit(f"{name}-{len(stretch)}-{unit.record.number}", unit)
                self.sandbox.clock.sleep(STEP_SECONDS)
                jobs = {job["jobId"]: job for job in self.sandbox.jobs()}
                for unit in open_units[:AT_ONCE]:
                    self._look(unit, jobs[unit.record.attempts[-1].job_id or ""])
        record.finished = True
        return record

    def _submit(self, name: str, unit: _Unit) -> None:
        attempt = Attempt(
            f"{name}-a{len(unit.record.attempts)}",
            Queue(self.market),
            "the scenario says so",
            intended_at=self.sandbox.clock.now(),
        )
        asked = self.clients.of("batch").submit_job(
            jobName=attempt.name,
            jobQueue=f"{self.aws.name}-{self.market}",
            jobDefinition=f"{self.aws.name}-worker",
            containerOverrides={"command": self.gates.command(attempt.name)},
            retryStrategy={"attempts": 1},
        )
        attempt.job_id = asked["jobId"]
        unit.record.attempts.append(attempt)

    def _look(self, unit: _Unit, job: dict[str, object]) -> None:
        """Let a job end that has done its frames; go on with what one had left that was lost."""
        attempt = unit.record.attempts[-1]
        started = job.get("startedAt")
        if isinstance(started, int):
            attempt.started_at = started / 1000
        now = self.sandbox.clock.now()
        left = (unit.frames - unit.done) / self.speed
        if job["status"] in ENDED:  # a worker tells where it is
            hosts = {line.job_id: line.instance_id for line in self.sandbox.attempt_bill()}
            if host := hosts.get(attempt.job_id or ""):
                attempt.host = {"instance_id": host}
        if job["status"] == "RUNNING" and now >= (attempt.started_at or now) + self.start + left:
            self.gates.end(job)
            seconds = now - (attempt.started_at or now) - self.start
            attempt.work = {"frames": round(unit.frames), "detections_seconds": seconds}
        elif job["status"] == "SUCCEEDED":
            attempt.end, unit.record.outcome = AttemptOutcome.DONE, UnitOutcome.DONE
        elif job["status"] == "FAILED":
            attempt.end = AttemptOutcome.INTERRUPTED
            worked = now - (attempt.started_at or now) - self.start
            unit.done += max(0.0, worked) * self.speed
            self._submit(attempt.name, unit)
