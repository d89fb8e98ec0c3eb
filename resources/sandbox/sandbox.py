"""The sandbox: an emulated AWS account in this process, in which jobs really run.

    with Sandbox(SandboxConfig(scale=60, seed=1)) as sandbox:
        aws = Aws(endpoint_url=sandbox.endpoint_url, clock_url=sandbox.clock_url)
        ...                                 # the same cloud code as with AWS
        sandbox.interrupt(job_id=job_id)
        print(sandbox.bill())

A process can have one at a time. Requests need credentials; any are valid, see CREDENTIALS.
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
from resources.sandbox.wire.faults import Fault, FaultKind, Faults
from resources.sandbox.wire.protocol import AwsRequest


class Sandbox:
    """An AWS account on 127.0.0.1, as a context manager.

    Attributes:
        endpoint_url: of all services.
        control_url: of the control API, see control.py.
        clock_url: see resources.clock.clock_at.
        clock: the account's time.
        on_request: is called with every signed request before it is handled, in the same thread.
        stop_requested: set by a POST to /shutdown, on which the process has to stop the sandbox.

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
            else SteppedClock(now, self._tick)
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

    # start and stop

    def __enter__(self) -> "Sandbox":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to serve requests and to advance time."""
        batch = BatchApi(
            self.config, self.clock, self._state, self._fleet, self._services, self._job_api
        )
        market = MarketApi(self.config.region, self.clock, self._market, self._capacity)
        costs = CostExplorer(self.clock, self.bill, self.config.billing_lag_seconds)
        storage = StorageApi(self.clock, self._services)
        router = Router(
            self._control(), batch, [market, costs, storage], self._faults, self._policies,
            self._services.application, self._state.lock,
            lambda request: self.on_request(request),
        )  # fmt: skip
        self._server.start(router)
        if self.config.scale:
            self._thread.start()

    def _control(self) -> Control:
        """Return the control API: methods that read the sandbox, and methods that change it."""
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
        """End every job and machine, and stop serving.

        Raises:
            RuntimeError: the scheduler has failed; the message contains its traceback.
        """
        self._stopping.set()
        if self.config.scale:
            self._thread.join()
        with self._state.lock:
            for job in self._state.live_jobs():
                if job.process is not None:
                    job.process.close()
            for instance in list(self._fleet.alive()):
                self._fleet.terminate(instance)
        self._reaper.close()
        self._server.close()
        if self._failure is not None:
            raise RuntimeError(f"the sandbox's scheduler failed:\n{self._failure}")

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self.config.tick_seconds):
                self._tick()
        except BaseException:
            self._failure = traceback.format_exc()
            self._events.add("failure", traceback=self._failure)
            raise

    def _tick(self) -> None:
        with self._state.lock:
            self._scheduler.tick()

    # readers

    def clock_facts(self) -> dict[str, float]:
        """Return the facts of the clock, see resources.clock.clock_at."""
        return {
            "scale": self.config.scale,
            "started": self._started,
            "started_here": self._started,
        }

    def bill(self) -> list[BillLine]:
        """Return the true cost of every machine until now."""
        with self._state.lock:
            now = self.clock.now()
            return [instance.bill(now) for instance in self._fleet.instances]

    def attempt_bill(self) -> list[AttemptLine]:
        """Return the true cost of every attempt that has ended."""
        with self._state.lock:
            now = self.clock.now()
            return [line for each in self._fleet.instances for line in each.attempt_bills(now)]

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the events from index `since` on.

        Types: submit, launch, interruption, terminate, attempt, job, failure.
        """
        return self._events.since(since)

    def jobs(self) -> list[dict[str, Any]]:
        """Return every job as in DescribeJobs, with the `pid` of its process while it runs."""
        with self._state.lock:
            return [
                {**job.describe(), "pid": job.process.pid if job.process is not None else None}
                for job in self._state.jobs.values()
            ]

    def instances(self) -> list[dict[str, Any]]:
        """Return every machine, also terminated ones: bill, state and ids of its jobs."""
        with self._state.lock:
            now = self.clock.now()
            return [
                {**i.bill(now)._asdict(), "state": i.state, "jobs": list(i.jobs)}
                for i in self._fleet.instances
            ]

    # writers

    def interrupt(
        self, job_id: str | None = None, instance_id: str | None = None, notice: bool = True
    ) -> str:
        """Interrupt a spot machine, given by its id or by a job on it.

        Args:
            notice: terminate it two minutes after a notice; otherwise at once.

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
                    self._fleet.interrupt(instance, "request", notice)
                    return instance.id
        raise LookupError(f"no spot machine {instance_id or ''} with job {job_id or ''}")

    def set_capacity(
        self, lifecycle: str, machines: int | None, kind: str = ANY, zone: str = ANY
    ) -> None:
        """Set the maximum of machines; None removes the limit. Running machines continue."""
        with self._state.lock:
            self._capacity.set(InstanceLifecycle(lifecycle), machines, kind, zone)

    def surge(self, kind: str, factor: float, zone: str = ANY) -> None:
        """Multiply a type's spot price; machines are interrupted where it exceeds the bid.

        Raises:
            LookupError: the type does not exist.
        """
        if kind not in TYPES:
            raise LookupError(f"no machine type {kind}; known: {', '.join(TYPES)}")
        with self._state.lock:
            self._market.surge(kind, factor, zone)
            self._fleet.reprice(kind)

    def set_interruption_rate(self, per_hour: float) -> None:
        """Set the rate at which each spot machine is interrupted, with notice."""
        with self._state.lock:
            self._fleet.rate = per_hour

    def set_describe_lag(self, seconds: float) -> None:
        """Set the time in which DescribeJobs and ListJobs omit a new job."""
        with self._state.lock:
            self._job_api.describe_lag_seconds = seconds

    def inject(
        self,
        kind: str,
        service: str,
        operation: str = ANY,
        times: int = 1,
        key_contains: str = "",
    ) -> None:
        """Inject a fault into the next requests that match; see faults.Fault.

        Raises:
            ValueError: the kind does not exist.
        """
        if kind not in set(FaultKind):
            raise ValueError(f"no fault {kind}; known: {', '.join(FaultKind)}")
        self._faults.add(Fault(FaultKind(kind), service, operation, times, key_contains))

    def clear_faults(self) -> None:
        """Remove all pending faults."""
        self._faults.clear()

    def enforce_policies(self, enforce: bool) -> None:
        """Enable or disable the enforcement of IAM policies."""
        self._policies.enforced = enforce


def _ignore_request(request: AwsRequest) -> None:
    """Ignore a request."""
