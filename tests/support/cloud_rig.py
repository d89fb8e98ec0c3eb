"""An AWS account in the sandbox with compute set up, and cameras that run in it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from compute_rig import running_sandbox
from dagster import RunsFilter
from warm_workers import warm_workers

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.defs.assets import footage, stages_1_to_3
from odins_ravne_assets.defs.launch_hooks import FOOTAGE_QUERIES
from odins_ravne_assets.run_camera import error_of
from odins_ravne_assets.runs.tags import UPDATE_TAG
from resources.aws.batch_states import ENDED_STATUSES
from resources.aws.clients import AwsClients
from resources.batch.launch_record import LaunchRecord, UnitRecord, load_records
from resources.compute.environment import ComputeEnvironment
from resources.launch.batch_launcher import BatchStepLauncher
from resources.launch.hooks import LaunchHooks
from resources.launch.local_launcher import LocalStepLauncher
from resources.sandbox.foundation import prepare_foundation
from resources.sandbox.model.config import SandboxConfig
from resources.sandbox.model.prices import InstanceLifecycle
from resources.sandbox.sandbox import Sandbox
from resources.sandbox.wire.protocol import AwsRequest
from resources.settings.dagster_resource import RunSettings
from resources.settings.loader import load_profile
from resources.settings.profile import Aws
from resources.storage.local_store import LocalStore
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import open_store

KILLED_RUN = Path(__file__).parent / "killed_run.py"
BUCKET = "s3://ravne-data-123456789012"
CAMERA = "cam"
STAGES_1_TO_3 = ("detections", "classifications", "observations")
# Machines boot quickly and stay for the next test. At a clock 20 times as fast, leases of 90 s
# tolerate a busy machine. The notice leaves six real seconds.
CONFIG = SandboxConfig(
    scale=20, boot_seconds=20, pull_seconds=5, idle_seconds=3600, stop_grace_seconds=200
)
# Real seconds. A run of the demo footage takes ten; on a busy machine, many more.
TIMEOUT_SECONDS = 90.0


@dataclass(frozen=True)
class RunResult:
    """A run that has ended: its log, error, metadata and tags."""

    success: bool
    log: list[str]
    error: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)  # of the first asset
    tags: dict[str, str] = field(default_factory=dict)  # of the run

    def logged(self, text: str) -> bool:
        return any(text in line for line in self.log)

    @property
    def attempts(self) -> list[dict[str, Any]]:
        """The rows of the attempts table."""
        return [record.data for record in self.metadata["launch/attempts"].records]


class Cloud:
    """The account; one at a time in a process."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.overrides = {
            "cloud.aws.endpoint_url": sandbox.endpoint_url,
            "cloud.aws.clock_url": sandbox.clock_url,
        }
        self.aws = self.aws_of({})
        self.clients = AwsClients(self.aws)
        self._numbers = count()
        self.known_outputs: list[tuple[str, str]] = []  # of cameras, for the month's budget
        self.warnings: list[str] = []  # of workers
        prepare_foundation(self.clients, self.aws.name, self.aws.region)
        ComputeEnvironment(self.aws, self.clients).setup(4)

    def aws_of(self, overrides: dict[str, Any]) -> Aws:
        cloud = load_profile("sandbox", self.overrides | overrides, environ={}).cloud
        assert cloud is not None
        return cloud.aws

    # Cameras

    def store(self, url: str) -> ObjectStore:
        return open_store(url, self.clients)

    def camera(self, card: Path, tables: Path | None = None) -> Camera:
        """Return a camera with footage on S3 and its own results.

        Args:
            tables: results of a local run, whose Stage 0 is copied.
        """
        camera = self.new_output(f"{BUCKET}/footage/{card.name}")
        footage = self.store(camera.footage_url)
        if not list(footage.list()):
            copy(LocalStore(card), footage)
        if tables is not None:
            for key in ("tables/media.parquet", "tables/other_files.parquet"):
                self.store(camera.output_url).write_bytes(key, (tables / key).read_bytes())
        return camera

    def new_output(self, footage_url: str) -> Camera:
        return Camera(CAMERA, footage_url, f"{BUCKET}/results/{next(self._numbers)}")

    def results(self, camera: Camera) -> Path:
        """Return a local copy of a camera's results."""
        folder = self.folder / camera.output_url.rpartition("/")[2]
        copy(self.store(camera.output_url), LocalStore(folder))
        return folder

    def records(self, camera: Camera) -> list[LaunchRecord]:
        found = load_records(self.store(f"{camera.output_url}/launches"))
        return sorted(found, key=lambda record: record.began_at)

    def unit(self, camera: Camera) -> UnitRecord:
        """Return the only unit of the camera's latest launch."""
        [unit] = self.records(camera)[-1].units
        return unit

    # Runs

    def run(
        self,
        camera: Camera,
        stages: tuple[str, ...] = STAGES_1_TO_3,
        update: bool = False,
        **overrides: Any,
    ) -> RunResult:
        """Run a camera in this process, to the end.

        Args:
            update: process finished media again, if the settings are others than theirs.
            overrides: dotted keys of the profile, with two underscores for each dot.
        """
        changed = {key.replace("__", "."): value for key, value in overrides.items()}
        launcher = BatchStepLauncher(
            LocalStepLauncher("odins_ravne_assets.worker"),
            self.folder,
            LaunchHooks(
                footage=FOOTAGE_QUERIES,
                known_outputs=lambda: self.known_outputs,
                on_warning=self.warnings.append,
            ),
        )
        settings = RunSettings(profile="sandbox", overrides=self.overrides | changed)
        return run_here(camera, self.folder / "catalog", launcher, settings, stages, update)

    def start(
        self, camera: Camera, *kill_at: str, update: bool = False, **overrides: Any
    ) -> "Process":
        """Start a run of all stages in a separate process.

        Args:
            update: see `run`.
            kill_at: it kills itself `before` or `after` its Nth call of an operation of Batch, see
                `killed_run`.
        """
        changed = {key.replace("__", "."): value for key, value in overrides.items()}
        home = self.folder / "dagster"
        home.mkdir(exist_ok=True)
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        CameraCatalog(home / "cameras").put(camera)
        request = {
            "camera_id": camera.camera_id,
            "job": "camera",
            "profile": "sandbox",
            "overrides": self.overrides | changed,
            "tags": {UPDATE_TAG: "true"} if update else {},
        }
        program = (
            [str(KILLED_RUN), *kill_at] if kill_at else ["-m", "odins_ravne_assets.run_camera"]
        )
        log = self.folder / f"run-{next(self._numbers)}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [sys.executable, *program, json.dumps(request)],
                env={**os.environ, "DAGSTER_HOME": str(home)},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
            )
        return Process(popen, log)

    # State

    def live_jobs(self) -> list[dict[str, Any]]:
        return [job for job in self.sandbox.jobs() if job["status"] not in ENDED_STATUSES]

    def submitted(self, camera: Camera) -> list[str]:
        """Return the name of each job submitted for a camera's output, once per submission."""
        works = [f"-{record.work}-" for record in self.records(camera)]
        names = [each["name"] for each in self.sandbox.events() if each["type"] == "submit"]
        return [name for name in names if any(work in name for work in works)]

    def wait_for_job(self, *states: str) -> dict[str, Any]:
        """Wait until the only live job is in one of these states, and return it."""

        def job() -> dict[str, Any] | None:
            return next((each for each in self.live_jobs() if each["status"] in states), None)

        return eventually(job)

    @contextmanager
    def when(self, method: str, key: str, do: Callable[[], Any], after: int = 1) -> Iterator[None]:
        """Call `do` once, at a request to S3 for a key.

        Args:
            method: GET or PUT.
            key: a part of the object's key.
            after: the number of the request, from 1.
        """
        requests = count(1)

        def check(request: AwsRequest) -> None:
            matches = request.service == "s3" and request.method == method and key in request.path
            if matches and next(requests) == after:
                do()

        self.sandbox.on_request = check
        try:
            yield
        finally:
            self.sandbox.on_request = lambda request: None
        assert next(requests) > after, f"there was no {method} of {key}"

    def lose_machine(self, notice: bool) -> None:
        """Let EC2 reclaim the machine of the only live job."""
        [job] = self.live_jobs()
        self.sandbox.interrupt(job_id=job["jobId"], notice=notice)

    def end_machines(self) -> None:
        """Terminate all spot machines; new ones start if there is capacity."""
        for instance in self.sandbox.instances():
            if instance["state"] != "terminated" and instance["lifecycle"] == "spot":
                self.sandbox.interrupt(instance_id=instance["instance_id"], notice=False)
        eventually(
            lambda: (
                not any(
                    each["lifecycle"] == "spot" and each["state"] != "terminated"
                    for each in self.sandbox.instances()
                )
            )
        )

    def reset(self) -> None:
        """Remove all faults, limits and jobs."""
        self.sandbox.clear_faults()
        self.sandbox.set_describe_lag(0)
        for lifecycle in InstanceLifecycle:
            self.sandbox.set_capacity(lifecycle, None)
        for job in self.live_jobs():
            self.clients.of("batch").terminate_job(jobId=job["jobId"], reason="the test is over")
        eventually(lambda: not self.live_jobs())


@contextmanager
def running_cloud(folder: Path, **environment: str) -> Iterator[Cloud]:
    """Run the account, with its credentials and other variables in this process's environment."""
    variables = {"AWS_EC2_METADATA_DISABLED": "true", **environment}
    with warm_workers(), running_sandbox(CONFIG, **variables) as sandbox:
        yield Cloud(sandbox, folder)


@dataclass
class Process:
    """A run in a separate process."""

    popen: "subprocess.Popen[bytes]"
    log: Path

    def end(self) -> int:
        """Wait for its end and return its exit code."""
        code = self.popen.wait(TIMEOUT_SECONDS)
        assert self.popen.stdin is not None
        self.popen.stdin.close()
        return code

    def terminate(self) -> int:
        """Terminate it as the UI does, and wait for its end."""
        with dg.DagsterInstance.from_config(str(self.log.parent / "dagster")) as instance:
            [run] = instance.get_runs(RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
            instance.report_run_canceling(run)
        return self.end()

    def kill(self) -> None:
        self.popen.kill()
        self.end()

    def logged(self, text: str) -> bool:
        return text in self.log.read_text()


def run_here(
    camera: Camera,
    catalog_folder: Path,
    launcher: LocalStepLauncher | BatchStepLauncher,
    settings: RunSettings,
    stages: tuple[str, ...],
    update: bool = False,
) -> RunResult:
    """Run a camera in this process, with any launcher."""
    catalog = CameraCatalog(catalog_folder)
    catalog.put(camera)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("camera", [camera.camera_id])
        result = dg.materialize(
            [footage, stages_1_to_3],
            partition_key=camera.camera_id,
            instance=instance,
            resources={"settings": settings, "catalog": catalog, "launcher": launcher},
            selection=list(stages),
            tags={UPDATE_TAG: "true"} if update else {},
            raise_on_error=False,
        )
        log = [entry.message for entry in instance.all_logs(result.run_id)]
        run = instance.get_run_by_id(result.run_id)
        tags = dict(run.tags) if run else {}
    error, _ = error_of(result)
    return RunResult(result.success, log, error or "", _metadata(result), tags)


def _metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    for event in result.all_events:
        if event.is_step_materialization:
            metadata = event.step_materialization_data.materialization.metadata
            return {key: value.value for key, value in metadata.items()}
    return {}


def copy(source: ObjectStore, target: ObjectStore) -> None:
    """Copy all objects of a store."""
    for stored in list(source.list()):
        target.write_bytes(stored.key, source.read_bytes(stored.key))


def eventually(condition: Callable[[], Any]) -> Any:
    """Wait until a condition returns a true value, and return it."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("timeout")


def tables_of(output: Path) -> dict[str, pl.DataFrame]:
    """Return the tables of a camera's results by name, without the files' modification times."""
    read = {path.name: pl.read_parquet(path) for path in (output / "tables").glob("*.parquet")}
    return {name: table.drop("modified_ns", strict=False) for name, table in read.items()}
