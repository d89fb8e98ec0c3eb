"""The sandbox itself: an AWS account in this process, in which jobs really run.

    with Sandbox(SandboxConfig(scale=60, seed=1)) as sandbox:
        aws = Aws(endpoint_url=sandbox.endpoint_url, clock_url=sandbox.clock_url)
        ...                                 # the unchanged cloud code
        sandbox.interrupt(job_id=job_id)
        print(sandbox.bill())

There is one at a time in a process. Requests need credentials; any will do, see CREDENTIALS.
"""

import os
import tempfile
import time
import traceback
from pathlib import Path
from threading import Event, Thread
from typing import Any

from resources.clock import Clock, ScaledClock
from resources.sandbox.api.batch_api import BatchApi
from resources.sandbox.api.control import Control
from resources.sandbox.api.cost_explorer import CostExplorer
from resources.sandbox.api.job_api import JobApi
from resources.sandbox.api.market_api import MarketApi
from resources.sandbox.api.server import CONTROL_PREFIX, OnRequest, Router, Server
from resources.sandbox.api.storage_api import StorageApi
from resources.sandbox.fleet.bill import AttemptLine, BillLine
from resources.sandbox.fleet.capacity import Capacity
from resources.sandbox.fleet.fleet import Fleet
from resources.sandbox.iam.credentials import JobCredentials
from resources.sandbox.iam.enforcement import PolicyEnforcement
from resources.sandbox.jobs.attempts import Attempts
from resources.sandbox.jobs.processes import Reaper
from resources.sandbox.jobs.scheduler import Scheduler
from resources.sandbox.jobs.state import BatchState
from resources.sandbox.model.config import SandboxConfig
from resources.sandbox.model.events import Events
from resources.sandbox.model.moto_services import MotoServices
from resources.sandbox.model.prices import (
    ANY,
    ON_DEMAND,
    SPOT,
    TYPES,
    InstanceLifecycle,
    SpotMarket,
)
from resources.sandbox.model.stepped_clock import SteppedClock
from resources.sandbox.wire.faults import KINDS, Fault, FaultKind, Faults
from resources.sandbox.wire.protocol import AwsRequest


class Sandbox:
    """AWS on 127.0.0.1, from `with` to its end.

    Attributes:
        endpoint_url: of all services.
        control_url: see control.py.
        clock_url: see resources.clock.clock_at.
        clock: the account's time.
        on_request: told of every signed request before it is answered, in the thread that answers.
        stop_requested: set by a POST to /shutdown; whoever runs the sandbox then stops it.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, config: SandboxConfig | None = None) -> None:
        self.config = config = config or SandboxConfig()
        now = time.time()
        self._started = now
        self.clock: Clock = (
            ScaledClock(config.scale, started=now, started_here=now)
            if config.scale
            else SteppedClock(now, self._look)
        )
        self._server = Server(config.port)
        self._folder = Path(tempfile.mkdtemp(prefix="sandbox-"))
        self.endpoint_url = self._server.url
        self.control_url = self.endpoint_url + CONTROL_PREFIX
        self.clock_url = self.control_url + "/clock"
        self._events = Events(self.clock.now)
        self._services = MotoServices(config.region)
        self._market = SpotMarket(config.region, self.clock.now)
        self._capacity = Capacity({SPOT: config.spot_quota, ON_DEMAND: config.ondemand_quota})
        self._state = BatchState()
        self._fleet = Fleet(
            config, self.clock, self._market, self._capacity, self._services, self._events
        )
        self.credentials = JobCredentials(self._services, self.control_url + "/credentials")
        self._reaper = Reaper(self._folder)
        self._attempts = Attempts(
            config, self.clock, self._services, self.credentials, self._events, self._reaper,
            self.endpoint_url, self._folder,
        )  # fmt: skip
        self._scheduler = Scheduler(
            config, self.clock, self._state, self._fleet, self._attempts, self._services,
            self._events,
        )  # fmt: skip
        self._faults = Faults()
        self._policies = PolicyEnforcement(config.region, self._services, self._state)
        self._job_api = JobApi(config, self.clock, self._state, self._events)
        self.on_request: OnRequest = _ignore_request
        self.stop_requested = Event()
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="sandbox-scheduler", daemon=True)
        self._failure: str | None = None

    # life

    def __enter__(self) -> "Sandbox":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Open the door and let time pass."""
        batch = BatchApi(
            self.config, self.clock, self._state, self._fleet, self._services, self._job_api
        )
        market = MarketApi(self.config.region, self.clock, self._market, self._capacity)
        costs = CostExplorer(self.clock, self.bill, self.config.billing_lag_seconds)
        storage = StorageApi(self.clock, self._services)
        front = Router(
            self._control(), batch, [market, costs, storage], self._faults, self._policies,
            self._services.application, self._state.lock,
            lambda request: self.on_request(request),
        )  # fmt: skip
        self._server.start(front)
        if self.config.scale:
            self._thread.start()

    def _control(self) -> Control:
        """The sandbox's own URLs: what can be read of it, and what can be done to it."""
        return Control(
            readers={
                "/clock": self.clock_facts,
                "/process": lambda: {"pid": os.getpid()},
                "/bill": lambda: [line._asdict() for line in self.bill()],
                "/jobs": self.jobs,
                "/instances": self.instances,
            },
            events=self.events,
            writers={
                "/interrupt": self.interrupt,
                "/capacity": self.set_capacity,
                "/surge": self.surge,
                "/rate": self.set_interruption_rate,
                "/lag": self.set_describe_lag,
                "/policies": self.enforce_policies,
                "/faults": self.inject,
                "/shutdown": self.stop_requested.set,
            },
            clear_faults=self.clear_faults,
            credentials=self.credentials,
        )

    def stop(self) -> None:
        """End every job and machine, and close the door.

        Raises:
            RuntimeError: the scheduler had failed; the text holds its traceback.
        """
        self._stopping.set()
        if self.config.scale:
            self._thread.join()
        with self._state.lock:
            for job in self._state.live_jobs():
                if job.process is not None:
                    job.process.close()
            for instance in list(self._fleet.alive()):
                self._fleet.end(instance)
        self._reaper.close()
        self._server.close()
        if self._failure is not None:
            raise RuntimeError(f"the sandbox's scheduler failed:\n{self._failure}")

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self.config.tick_seconds):
                self._look()
        except BaseException:
            self._failure = traceback.format_exc()
            self._events.add("failure", traceback=self._failure)
            raise

    def _look(self) -> None:
        with self._state.lock:
            self._scheduler.look()

    # what is

    def clock_facts(self) -> dict[str, float]:
        """See resources.clock.clock_at."""
        return {
            "scale": self.config.scale,
            "started": self._started,
            "started_here": self._started,
        }

    def bill(self) -> list[BillLine]:
        """What every machine has really cost so far."""
        with self._state.lock:
            now = self.clock.now()
            return [instance.bill(now) for instance in self._fleet.instances]

    def attempt_bill(self) -> list[AttemptLine]:
        """What every attempt that has ended has really cost."""
        with self._state.lock:
            now = self.clock.now()
            return [line for each in self._fleet.instances for line in each.attempt_bills(now)]

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        """What happened, but for the first `since` events.

        Types: submit, launch, interruption, terminate, attempt, job, failure.
        """
        return self._events.since(since)

    def jobs(self) -> list[dict[str, Any]]:
        """Every job, as DescribeJobs tells it, with `pid` of its process while it runs."""
        with self._state.lock:
            return [
                {**job.describe(), "pid": job.process.pid if job.process is not None else None}
                for job in self._state.jobs.values()
            ]

    def instances(self) -> list[dict[str, Any]]:
        """Every machine there was: its bill, its state and the ids of its jobs."""
        with self._state.lock:
            now = self.clock.now()
            return [
                {**i.bill(now)._asdict(), "state": i.state, "jobs": list(i.jobs)}
                for i in self._fleet.instances
            ]

    # what happens

    def interrupt(
        self, job_id: str | None = None, instance_id: str | None = None, notice: bool = True
    ) -> str:
        """Let EC2 take a spot machine back: the one of a job, or by its id.

        Args:
            notice: tell the machine beforehand; otherwise it is gone at once.

        Returns:
            The machine's id.

        Raises:
            LookupError: there is no such spot machine.
        """
        with self._state.lock:
            for instance in self._fleet.alive():
                if instance.lifecycle == SPOT and (
                    instance.id == instance_id or job_id in instance.jobs
                ):
                    self._fleet.interrupt(instance, "asked for", notice)
                    return instance.id
        raise LookupError(f"no spot machine {instance_id or ''} with job {job_id or ''}")

    def set_capacity(
        self, lifecycle: InstanceLifecycle, machines: int | None, kind: str = ANY, zone: str = ANY
    ) -> None:
        """At most so many machines at once; None lifts the limit. Running ones stay."""
        with self._state.lock:
            self._capacity.set(lifecycle, machines, kind, zone)

    def surge(self, kind: str, factor: float, zone: str = ANY) -> None:
        """Multiply a type's spot price; above an environment's bid its machines are taken.

        Raises:
            LookupError: there is no such type.
        """
        if kind not in TYPES:
            raise LookupError(f"no machine type {kind}; there are {', '.join(TYPES)}")
        with self._state.lock:
            self._market.surge(kind, factor, zone)
            self._fleet.reprice(kind)

    def set_interruption_rate(self, per_hour: float) -> None:
        """How often each spot machine is interrupted, with notice, from now on."""
        with self._state.lock:
            self._fleet.rate = per_hour

    def set_describe_lag(self, seconds: float) -> None:
        """How long a submitted job stays unknown to DescribeJobs and ListJobs."""
        with self._state.lock:
            self._job_api.describe_lag_seconds = seconds

    def inject(
        self,
        kind: FaultKind,
        service: str,
        operation: str = ANY,
        times: int = 1,
        key_contains: str = "",
    ) -> None:
        """Trouble for the next requests that fit; see faults.Fault.

        Raises:
            ValueError: there is no such kind.
        """
        if kind not in KINDS:
            raise ValueError(f"no fault {kind}; there are {', '.join(KINDS)}")
        self._faults.add(Fault(kind, service, operation, times, key_contains))

    def clear_faults(self) -> None:
        """No more trouble."""
        self._faults.clear()

    def enforce_policies(self, enforce: bool) -> None:
        """Hold requests against IAM's policies from now on, or let everything pass again."""
        self._policies.enforced = enforce


def _ignore_request(request: AwsRequest) -> None:
    """Nobody listens."""
