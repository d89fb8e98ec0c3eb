"""What a timer on starvation saves over a timer on waiting, with the product's own launcher.

    python benchmarks/starvation.py

One camera of 200 work units is launched in a sandbox of AWS, twice: each unit is a job of five
minutes (of the sandbox's time), spot has 25 machines, and EC2 takes one back every five machine
hours. Jobs are really submitted, described, cancelled and submitted anew by the launcher; what they
do is sleep. Two rules decide when a job that waits on spot is moved to on-demand:

- naive: it has been waiting for `fallback_timeout`; a rule of this file,
- ours:  the launcher as it ships: the environment could grow and does not, for `fallback_timeout`.

Money is that of the sandbox's true bill: all machines, with boot and idle time.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from resources.aws.clients import AwsClients
from resources.batch.jobs import Job
from resources.batch.launch_record import load_records
from resources.batch.work_units import JOB_VCPUS, ExpectedMedium
from resources.compute.environment import ComputeEnvironment
from resources.launch import batch_step
from resources.launch.base import StepRequest
from resources.launch.batch_launcher import BatchStepLauncher
from resources.launch.batch_run import Launch
from resources.launch.hooks import FootageQueries, LaunchHooks
from resources.launch.job_monitor import JobMonitor
from resources.launch.local_launcher import LocalStepLauncher
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


class NaiveLaunch(Launch):
    """A launch with the timer on the state RUNNABLE."""

    def _consider_waiting(self, waiting: list[tuple[JobMonitor, Job]]) -> None:
        now = self.clock.now()
        for watch, job in waiting:
            waited = now - job["createdAt"] / 1000
            if watch.attempt.moving is None and waited >= self.rules.cost.fallback_timeout:
                self._move(watch, "RUNNABLE for too long")


RULES: dict[str, type[Launch]] = {"naive": NaiveLaunch, "ours": Launch}


@dataclass(frozen=True)
class Options:
    """Of the command."""

    jobs: int
    minutes: float
    spot_machines: int
    losses: float
    scale: float
    seed: int


@dataclass(frozen=True)
class Outcome:
    """Of one launch. Seconds of the sandbox's time, money in USD."""

    jobs: int
    on_demand: int
    interrupted: int
    usd: float
    seconds: float


def launched(rule: str, options: Options) -> Outcome:
    """Launch all units under a rule, in a sandbox of its own."""
    config = SandboxConfig(scale=options.scale, seed=options.seed)
    with tempfile.TemporaryDirectory() as folder, Sandbox(config) as sandbox:
        changed = {
            "cloud.aws.endpoint_url": sandbox.endpoint_url,
            "cloud.aws.clock_url": sandbox.clock_url,
            "cloud.aws.compute.max_vcpus": 25 * JOB_VCPUS,
            "cloud.aws.compute.instance_types": ["g4dn.xlarge"],
            "pipeline.cost_optimization.max_parallel_jobs": options.jobs,
            "pipeline.cost_optimization.offline_camera_optimized": False,
        }
        profile = load_profile("sandbox", changed)
        assert profile.cloud is not None
        aws = profile.cloud.aws
        clients = AwsClients(aws)
        _set_up(aws, clients, options)
        sandbox.set_capacity("spot", options.spot_machines)
        sandbox.set_interruption_rate(options.losses)
        output = f"s3://{data_bucket(aws.name)}/results/{rule}"
        began_at = sandbox.clock.now()
        with _ruled_by(rule):
            _launch(profile, output, options, Path(folder))
        seconds = sandbox.clock.now() - began_at
        sandbox.clock.sleep(config.idle_seconds * 2)  # the last machines are idle, then gone
        [record] = load_records(open_store(f"{output}/{LAUNCHES_FOLDER}", clients))
        attempts = list(record.attempts)
        return Outcome(
            jobs=len(record.units),
            on_demand=sum(each.queue == "ondemand" for each in attempts),
            interrupted=sum(each.end == "interrupted" for each in attempts),
            usd=sum(line.cost for line in sandbox.bill()),
            seconds=seconds,
        )


def _set_up(aws: Aws, clients: AwsClients, options: Options) -> None:
    """What `cost setup` makes, but that the jobs only sleep."""
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
def _ruled_by(rule: str) -> Iterator[None]:
    batch_step.Launch = RULES[rule]  # type: ignore[misc]
    try:
        yield
    finally:
        batch_step.Launch = Launch  # type: ignore[misc]


def _launch(profile: Profile, output: str, options: Options, folder: Path) -> None:
    def media(store: ObjectStore, profile: Profile) -> Iterator[ExpectedMedium]:
        frames = round(options.minutes * 60 / assumed_seconds_per_frame(profile))
        return (ExpectedMedium(f"{number:05}.mp4", frames) for number in range(options.jobs))

    local = LocalStepLauncher("odins_ravne_assets.worker")
    hooks = LaunchHooks(footage=FootageQueries(count_media=media))
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
        assert not list(launcher.launch(context, request))  # who sleeps reports nothing
        yield dg.MaterializeResult()

    loggers: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([sleepers], instance=instance, run_config=loggers)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare rules for moving jobs to on-demand.")
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=5.0, help="that each job takes")
    parser.add_argument("--spot-machines", type=int, default=25, help="that EC2 has to give")
    parser.add_argument("--losses", type=float, default=0.2, help="interruptions per machine hour")
    parser.add_argument("--scale", type=float, default=15.0, help="sandbox seconds in a second")
    parser.add_argument("--seed", type=int, default=1)
    options = Options(**vars(parser.parse_args()))
    os.environ.update(CREDENTIALS)
    print(f"{options.jobs} jobs of {options.minutes:g} min, {options.spot_machines} spot machines")
    print(f"{'rule':<8}{'on demand':>10}{'lost':>6}{'cost':>9}{'done after':>13}")
    for rule in RULES:
        print(f"{rule}: launching, some minutes", file=sys.stderr)
        done = launched(rule, options)
        usd, after = f"${done.usd:.2f}", f"{done.seconds / 60:.0f} min"
        print(f"{rule:<8}{done.on_demand:>10}{done.interrupted:>6}{usd:>9}{after:>13}", flush=True)


if __name__ == "__main__":
    main()
