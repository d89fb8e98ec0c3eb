"""The savings of a timer on starvation over a timer on queueing, measured with the launcher.

    python benchmarks/starvation.py

One camera of 200 work units is launched in the sandbox, twice: each unit is a job of five minutes
(of the sandbox's clock), spot has 25 machines, and EC2 reclaims one per five machine hours. The
launcher submits, describes, cancels and resubmits real jobs, which only sleep. Two rules decide
when a job in the spot queue moves to on-demand:

- naive: it has been RUNNABLE for `fallback_timeout` (a rule of this file),
- ours:  the environment could grow and does not, for `fallback_timeout` (the shipped launcher).

Costs are from the sandbox's bill: all machines, with boot and idle time.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from resources.aws.clients import AwsClients
from resources.batch.jobs import Job
from resources.batch.launch_record import load_records
from resources.batch.names import Queue
from resources.batch.outcome import AttemptOutcome
from resources.batch.work_units import JOB_VCPUS, ExpectedMedium
from resources.compute.environment import ComputeEnvironment
from resources.launch import batch_run
from resources.launch.base import StepRequest
from resources.launch.batch_launcher import BatchStepLauncher
from resources.launch.hooks import FootageQueries, LaunchHooks
from resources.launch.job_monitor import JobMonitor
from resources.launch.local_launcher import LocalStepLauncher
from resources.launch.spot_queue import SpotQueue
from resources.planning.throughput import assumed_seconds_per_frame
from resources.sandbox.foundation import prepare_foundation
from resources.sandbox.model.config import CREDENTIALS, SandboxConfig, data_bucket
from resources.sandbox.sandbox import Sandbox
from resources.settings.loader import load_profile
from resources.settings.profile import Aws, Profile
from resources.storage.layout import LAUNCHES_FOLDER
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import open_store

STAGES = ("detections", "classifications", "observations")


class NaiveSpotQueue(SpotQueue):
    """A spot queue with the timer on the state RUNNABLE."""

    def check(self, queued: Sequence[tuple[JobMonitor, Job]]) -> None:
        """See SpotQueue."""
        now, timeout = self.decisions.clock.now(), self.decisions.rules.cost.fallback_timeout
        for monitor, job in queued:
            queued_seconds = now - job["createdAt"] / 1000
            if monitor.attempt.moving is None and queued_seconds >= timeout:
                self.move(monitor, "RUNNABLE for too long")


RULES: dict[str, type[SpotQueue]] = {"naive": NaiveSpotQueue, "ours": SpotQueue}


@dataclass(frozen=True)
class Options:
    """The options of the command."""

    jobs: int
    minutes: float
    spot_machines: int
    losses: float
    scale: float
    seed: int


@dataclass(frozen=True)
class Outcome:
    """The outcome of one launch. Seconds of the sandbox's clock, costs in USD."""

    jobs: int
    on_demand: int
    interrupted: int
    usd: float
    seconds: float


def measure(rule: str, options: Options) -> Outcome:
    """Launch all units under a rule, in a new sandbox."""
    config = SandboxConfig(scale=options.scale, seed=options.seed)
    with tempfile.TemporaryDirectory() as folder, Sandbox(config) as sandbox:
        overrides = {
            "cloud.aws.endpoint_url": sandbox.endpoint_url,
            "cloud.aws.clock_url": sandbox.clock_url,
            "cloud.aws.compute.max_vcpus": 25 * JOB_VCPUS,
            "cloud.aws.compute.instance_types": ["g4dn.xlarge"],
            "pipeline.cost_optimization.max_parallel_jobs": options.jobs,
            "pipeline.cost_optimization.offline_camera_optimized": False,
        }
        profile = load_profile("sandbox", overrides)
        assert profile.cloud is not None
        aws = profile.cloud.aws
        clients = AwsClients(aws)
        _set_up(aws, clients, options)
        sandbox.set_capacity("spot", options.spot_machines)
        sandbox.set_interruption_rate(options.losses)
        output = f"s3://{data_bucket(aws.name)}/results/{rule}"
        began_at = sandbox.clock.now()
        with _rule(rule):
            _launch(profile, output, options, Path(folder))
        seconds = sandbox.clock.now() - began_at
        sandbox.clock.sleep(config.idle_seconds * 2)  # until the last idle machines are terminated
        [record] = load_records(open_store(f"{output}/{LAUNCHES_FOLDER}", clients))
        attempts = list(record.attempts)
        return Outcome(
            jobs=len(record.units),
            on_demand=sum(each.queue is Queue.ON_DEMAND for each in attempts),
            interrupted=sum(each.end is AttemptOutcome.INTERRUPTED for each in attempts),
            usd=sum(line.cost for line in sandbox.bill()),
            seconds=seconds,
        )


def _set_up(aws: Aws, clients: AwsClients, options: Options) -> None:
    """Set up compute as `cost setup` does, with jobs that only sleep."""
    prepare_foundation(clients, aws.name, aws.region)
    ComputeEnvironment(aws, clients).setup(options.jobs)
    batch = clients.of("batch")
    [worker] = batch.describe_job_definitions(
        jobDefinitionName=f"{aws.name}-worker", status="ACTIVE"
    )["jobDefinitions"]
    real_seconds = options.minutes * 60 / options.scale
    batch.register_job_definition(
        jobDefinitionName=worker["jobDefinitionName"],
        type="container",
        retryStrategy=worker["retryStrategy"],
        containerProperties={
            **worker["containerProperties"],
            "command": ["sleep", f"{real_seconds:.3f}"],
        },
    )


@contextmanager
def _rule(rule: str) -> Iterator[None]:
    batch_run.SpotQueue = RULES[rule]  # type: ignore[misc]
    try:
        yield
    finally:
        batch_run.SpotQueue = SpotQueue  # type: ignore[misc]


def _launch(profile: Profile, output: str, options: Options, folder: Path) -> None:
    def media(store: ObjectStore, profile: Profile) -> Iterator[ExpectedMedium]:
        frames = round(options.minutes * 60 / assumed_seconds_per_frame(profile))
        return (ExpectedMedium(f"{number:05}.mp4", frames) for number in range(options.jobs))

    local = LocalStepLauncher("odins_ravne_assets.worker")
    hooks = LaunchHooks(footage=FootageQueries(expected_media=media))
    launcher = BatchStepLauncher(local, folder, hooks)
    request = StepRequest(
        camera_id="starved",
        footage_url=output.replace("results", "footage"),
        output_url=output,
        stages=STAGES,
        profile=profile.model_dump(mode="json"),
    )

    @dg.asset
    def sleepers(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        assert not list(launcher.launch(context, request))  # sleeping jobs report nothing
        yield dg.MaterializeResult()

    loggers: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([sleepers], instance=instance, run_config=loggers)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare rules for moving jobs to on-demand.")
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=5.0, help="of each job")
    parser.add_argument("--spot-machines", type=int, default=25, help="available from EC2")
    parser.add_argument("--losses", type=float, default=0.2, help="interruptions per machine hour")
    parser.add_argument("--scale", type=float, default=15.0, help="sandbox seconds in a second")
    parser.add_argument("--seed", type=int, default=1)
    options = Options(**vars(parser.parse_args()))
    os.environ.update(CREDENTIALS)
    print(f"{options.jobs} jobs of {options.minutes:g} min, {options.spot_machines} spot machines")
    print(f"{'rule':<8}{'on demand':>10}{'lost':>6}{'cost':>9}{'done after':>13}")
    for rule in RULES:
        print(f"{rule}: launching, takes minutes", file=sys.stderr)
        done = measure(rule, options)
        usd, after = f"${done.usd:.2f}", f"{done.seconds / 60:.0f} min"
        print(f"{rule:<8}{done.on_demand:>10}{done.interrupted:>6}{usd:>9}{after:>13}", flush=True)


if __name__ == "__main__":
    main()
