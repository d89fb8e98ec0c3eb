"""What a timer on starvation saves over a timer on waiting.

    python benchmarks/starvation_policy.py

Simulates AWS Batch second by second: 200 jobs of five minutes, at most 25 machines at once on
spot and as many on demand, machines that boot, idle, and are taken away at random (from a seed).
Two rules decide when a waiting job is moved to on-demand:

- naive: it has been RUNNABLE for `fallback_timeout`,
- ours:  resources/spot_policy.py as it ships: the environment could grow and does not, for
  `fallback_timeout`.

In three markets: one that has all machines asked for, one that has only some, and one that has
none. Money is that of the shipped price table and AWS's billing rules, boot and idle included.
"""

import argparse
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from math import inf
from typing import NamedTuple

from resources.attempt_ends import AttemptEnd
from resources.price_sources import shipped_prices
from resources.prices import Market, PriceBook, Usage
from resources.profile import Compute, CostOptimization
from resources.spot_economics import HOUR
from resources.spot_policy import (
    Environment,
    JobEnd,
    MoveToOnDemand,
    Queue,
    Resume,
    Rules,
    Standing,
    StarvationTimer,
    Submit,
    UnitState,
    after_end,
    before_submit,
    standings,
    while_runnable,
)

REGION, KIND, ZONE, VCPUS = "eu-north-1", "g4dn.xlarge", "eun1-az1", 4
BOOT, START, IDLE = 150, 45, 120
LOOK_EVERY = 30
RULES = Rules(Compute(), CostOptimization())
MARKETS: tuple[Market, ...] = ("spot", "ondemand")
EPOCH = 1_795_000_000
# Whoever is not done after two days never will be.
LONGEST = 2 * 24 * 3600


@dataclass
class Job:
    unit: UnitState
    left: float  # seconds of work
    queue: Queue = "spot"
    waiting_since: int = 0
    timer: StarvationTimer = field(default_factory=StarvationTimer)
    moving: str | None = None

    @property
    def market(self) -> Market:
        return "ondemand" if self.queue == "ondemand" else "spot"


@dataclass
class Machine:
    market: Market
    launched: int
    lost_at: float
    job: Job | None = None
    job_started: int = 0
    idle_since: int = 0


class Outcome(NamedTuple):
    on_demand_jobs: int
    interruptions: int
    usd: Decimal
    seconds: int


# Whether a job that waits on spot is to be moved, and why.
Policy = Callable[[Job, Standing, int], str | None]


def naive(job: Job, standing: Standing, now: int) -> str | None:
    """The timer on the state RUNNABLE."""
    waited = now - job.waiting_since
    return "RUNNABLE for too long" if waited >= RULES.cost.fallback_timeout else None


def ours(job: Job, standing: Standing, now: int) -> str | None:
    """The product's own."""
    job.timer = job.timer.update(now, standing is Standing.STARVING)
    decision = while_runnable(job.unit, standing, job.timer, RULES, now)
    return decision.reason if isinstance(decision, MoveToOnDemand) else None


class Batch:
    """AWS Batch with two environments, and what the orchestrator does about it."""

    def __init__(
        self, policy: Policy, book: PriceBook, market: int, losses_per_hour: float, seed: int
    ) -> None:
        self._policy = policy
        self._book = book
        self._available = {"spot": market, "ondemand": RULES.compute.max_vcpus // VCPUS}
        self._losses = losses_per_hour / HOUR
        self._rng = random.Random(seed)
        self._machines: list[Machine] = []
        self._waiting: list[Job] = []
        self._cancelled: list[Job] = []
        self._now = 0
        self._to_do = 0
        self._usd = Decimal(0)
        self._interruptions = 0

    def run(self, jobs: int, work: float) -> Outcome:
        """Run jobs to their end, and the machines until they are given back."""
        offers = self._book.offers([KIND], EPOCH)
        everything = []
        for _ in range(jobs):
            unit = UnitState(work, ready_since=0)
            first = before_submit(unit, offers, RULES, 0)
            if not isinstance(first, Submit):
                raise SystemExit(f"the prices keep jobs from starting: {first.reason}")
            everything.append(Job(unit, work, first.queue))
        self._waiting = list(everything)
        self._to_do = jobs
        finished = 0
        while self._to_do or self._machines:
            self._step()
            finished = self._now if self._to_do else finished
            self._now += 1
            if self._now > LONGEST:
                raise SystemExit(f"{self._to_do} jobs never finished")
        moved = sum(job.queue == "ondemand" for job in everything)
        return Outcome(moved, self._interruptions, self._usd, finished)

    def _step(self) -> None:
        for machine in list(self._machines):
            self._let_run(machine)
        if self._now % LOOK_EVERY == 0:
            self._look()
        for market in MARKETS:
            self._dispatch(market)

    def _let_run(self, machine: Machine) -> None:
        if self._now >= machine.lost_at:
            self._take_away(machine)
            return
        job = machine.job
        if job is None:
            if self._now - max(machine.idle_since, machine.launched + BOOT) > IDLE:
                self._end(machine, taken=False)
            return
        if self._now > machine.job_started + START:
            job.left -= 1
        if job.left <= 0:
            self._to_do -= 1
            machine.job, machine.idle_since = None, self._now

    def _take_away(self, machine: Machine) -> None:
        self._interruptions += machine.job is not None
        self._end(machine, taken=True)
        job = machine.job
        if job is None:
            return
        job.unit = job.unit.after(AttemptEnd.INTERRUPTED, job.queue, finished_anything=True)
        self._submit_again(job, JobEnd(job.queue, AttemptEnd.INTERRUPTED, "Host EC2"))

    def _submit_again(self, job: Job, ended: JobEnd) -> None:
        offers = self._book.offers([KIND], EPOCH)
        decision = after_end(job.unit, ended, offers, RULES, self._now)
        if not isinstance(decision, Submit | Resume):
            raise SystemExit(f"a job was given up: {decision.reason}")
        job.queue, job.waiting_since = decision.queue, self._now
        job.timer = StarvationTimer()
        self._waiting.append(job)

    def _end(self, machine: Machine, taken: bool) -> None:
        self._machines.remove(machine)
        ended = float(EPOCH + self._now)
        launched = float(EPOCH + machine.launched)
        usage = Usage(
            KIND, ZONE, machine.market, launched, ended, launched, ended if taken else None
        )
        self._usd += self._book.cost_of(usage).usd

    def _look(self) -> None:
        """The orchestrator's sweep: those seen FAILED go on, those that wait are judged."""
        for job in self._cancelled:
            self._submit_again(job, JobEnd("spot", AttemptEnd.CANCELLED, "moved", job.moving))
        self._cancelled = []
        on_spot = [job for job in self._waiting if job.market == "spot"]
        of_spot = [machine for machine in self._machines if machine.market == "spot"]
        busy = sum(machine.job is not None for machine in of_spot)
        environment = Environment(RULES.compute.max_vcpus, VCPUS * len(of_spot), VCPUS * busy)
        found = standings(environment, [VCPUS] * len(on_spot))
        for job, standing in zip(on_spot, found, strict=True):
            job.moving = self._policy(job, standing, self._now)
            if job.moving is not None:
                self._waiting.remove(job)
                self._cancelled.append(job)

    def _dispatch(self, market: Market) -> None:
        """First come, first served; a machine boots for each job that finds none."""
        mine = [machine for machine in self._machines if machine.market == market]
        free = [machine for machine in mine if machine.job is None]
        waiting = [job for job in self._waiting if job.market == market]
        for machine, job in zip(free, list(waiting), strict=False):
            if self._now >= machine.launched + BOOT:
                machine.job, machine.job_started = job, self._now
                self._waiting.remove(job)
        most = min(self._available[market], RULES.compute.max_vcpus // VCPUS)
        for _ in range(min(len(waiting) - len(free), most - len(mine))):
            self._machines.append(Machine(market, self._now, self._draw_loss(market)))

    def _draw_loss(self, market: Market) -> float:
        if market == "ondemand" or not self._losses:
            return inf
        return self._now + self._rng.expovariate(self._losses)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare rules for moving jobs to on-demand.")
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=5.0, help="of work in each job")
    parser.add_argument("--losses", type=float, default=0.2, help="interruptions per machine hour")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    book = shipped_prices(REGION)
    most = RULES.compute.max_vcpus // VCPUS
    print(f"{options.jobs} jobs of {options.minutes:g} min, at most {most} {KIND} in {REGION}")
    print(f"{'spot has':<14}{'rule':<8}{'on demand':>10}{'lost':>6}{'cost':>9}{'done after':>13}")
    for market in (most, most // 5, 0):
        for name, policy in (("naive", naive), ("ours", ours)):
            batch = Batch(policy, book, market, options.losses, options.seed)
            done = batch.run(options.jobs, options.minutes * 60)
            has, usd, after = f"{market} machines", f"${done.usd:.2f}", done.seconds / 60
            print(f"{has:<14}{name:<8}{done.on_demand_jobs:>10}", end="")
            print(f"{done.interruptions:>6}{usd:>9}{after:>9.0f} min")


if __name__ == "__main__":
    main()
