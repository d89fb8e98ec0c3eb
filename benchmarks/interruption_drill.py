"""Interruption drill: runs whose spot machines are interrupted and whose orchestrators are killed.

Runs of the same footage follow each other in a sandbox, each with its own output. Each must have
the results of an undisturbed local run, no medium twice in its journal, and no job left.

    python benchmarks/interruption_drill.py FOOTAGE --interruptions 200 --kills 20

The exit code is 1 if anything is lost, done twice or left over, and 2 for a usage error.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from interruption_drill_injector import InterruptionInjector, Moment

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.instance_home import DAGSTER_YAML
from odins_ravne_assets.munin.media.media_files import kind_by_name
from resources.aws.batch_states import ENDED_STATUSES
from resources.aws.clients import AwsClients
from resources.compute.environment import ComputeEnvironment
from resources.errors import LaunchError, RavneError, UsageError
from resources.sandbox.fleet.bill import BillLine
from resources.sandbox.foundation import prepare_foundation
from resources.sandbox.model.config import CREDENTIALS, SandboxConfig, data_bucket
from resources.sandbox.sandbox import Sandbox
from resources.settings.loader import load_profile
from resources.settings.profile import Aws
from resources.storage.layout import REPORT_PAGE
from resources.storage.local_store import LocalStore
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import open_store
from resources.storage.parquet_files import read_parquet

CAMERA = "drill"
BUCKET = f"s3://{data_bucket(Aws().name)}"
# Twenty seconds of the account per second, so that leases of 90 s do not expire on a busy machine.
CONFIG = SandboxConfig(
    scale=20, boot_seconds=20, pull_seconds=10, idle_seconds=60, stop_grace_seconds=200
)
# Work stays on spot, however often its machine is interrupted.
MOST_INTERRUPTIONS = 100_000
RUN_SECONDS = 900.0  # real; a run that takes longer hangs

# The keys of exports that hold the time of their creation.
TIME_KEYS = {"megadetector.json": "info", "datapackage.json": "created"}

OnLog = Callable[[str], None]
Contents = dict[str, Any]


@dataclass(frozen=True)
class DrillResult:
    """The result of a drill. Money in USD, of the sandbox's true bill.

    Args:
        interrupted: interruptions by moment.
        killed: killed orchestrators.
        usd_undisturbed: cost of the same number of undisturbed runs.
        lost_seconds: of interrupted machines, most of them free in their first hour.
        usd_lost: charge for interrupted machines.
        usd_lost_on_demand: cost of these on demand.
    """

    runs: int
    interrupted: Counter[Moment]
    killed: int
    usd_undisturbed: float
    usd: float
    lost_seconds: float
    usd_lost: float
    usd_lost_on_demand: float


class Drill:
    """Runs in a sandbox, and their expected results."""

    def __init__(self, sandbox: Sandbox, card: Path, folder: Path) -> None:
        self._folder = folder
        self._sandbox = sandbox
        self._overrides: dict[str, Any] = {
            "cloud.aws.endpoint_url": sandbox.endpoint_url,
            "cloud.aws.clock_url": sandbox.clock_url,
            "pipeline.cost_optimization.max_spot_interruptions": MOST_INTERRUPTIONS,
        }
        cloud = load_profile("sandbox", self._overrides).cloud
        assert cloud is not None
        self._clients = AwsClients(cloud.aws)
        prepare_foundation(self._clients, cloud.aws.name, cloud.aws.region)
        ComputeEnvironment(cloud.aws, self._clients).setup(1)
        (folder / "dagster").mkdir()
        (folder / "dagster" / "dagster.yaml").write_text(DAGSTER_YAML, encoding="utf-8")
        _copy(LocalStore(card), self._store(f"{BUCKET}/footage/{CAMERA}"))
        local = Camera(CAMERA, card.as_uri(), (folder / "local").as_uri())
        self._wait(self._start(local, "local", {}))
        self._expected = contents(LocalStore(folder / "local"))

    def undisturbed(self) -> float:
        """Make an undisturbed run, and return its cost in USD."""
        self.run("undisturbed", None)
        self._sandbox.clock.sleep(CONFIG.idle_seconds * 2)  # until its idle machine is terminated
        return sum(line.cost for line in self._sandbox.bill())

    def run(self, name: str, injector: InterruptionInjector | None) -> None:
        """Complete a run, restarting it whenever it is killed, and check it.

        Raises:
            LaunchError: results are missing or wrong, work is done twice, or a job is left.
        """
        camera = Camera(CAMERA, f"{BUCKET}/footage/{CAMERA}", f"{BUCKET}/results/{name}")
        code: int = -signal.SIGKILL
        while code == -signal.SIGKILL:
            process = self._start(camera, "sandbox", self._overrides)
            if injector is not None:
                injector.begin_orchestrator(process.kill)
            code = self._wait(process)
        self._check(name, self._store(camera.output_url))

    def _check(self, name: str, output: ObjectStore) -> None:
        found = contents(output)
        if found.keys() != self._expected.keys():
            differing = sorted(found.keys() ^ self._expected.keys())
            raise LaunchError(f"drill: run {name} has other results: {', '.join(differing)}")
        for key, content in self._expected.items():
            if not same(found[key], content):
                raise LaunchError(f"drill: {key} of run {name} differs from that of a local run")
        twice = [content for content, times in journalled(output).items() if times > 1]
        if twice:
            raise LaunchError(f"drill: media twice in the journal of run {name}: {twice}")
        live = [j for j in self._sandbox.jobs() if j["status"] not in ENDED_STATUSES]
        if live:
            raise LaunchError(f"drill: run {name} left {len(live)} jobs")

    def _store(self, url: str) -> ObjectStore:
        return open_store(url, self._clients)

    def _start(
        self, camera: Camera, profile: str, overrides: Mapping[str, Any]
    ) -> "subprocess.Popen[bytes]":
        CameraCatalog(self._folder / "dagster" / "cameras").put(camera)
        request = {
            "camera_id": camera.camera_id,
            "job": "camera",
            "profile": profile,
            "overrides": dict(overrides),
            "tags": {},
        }
        with (self._folder / "log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "odins_ravne_assets.run_camera", json.dumps(request)],
                env={**os.environ, **CREDENTIALS, "DAGSTER_HOME": str(self._folder / "dagster")},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    def _wait(self, process: "subprocess.Popen[bytes]") -> int:
        """Wait for a run's process, and return its exit code: 0, or that of SIGKILL."""
        try:
            code = process.wait(RUN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = 1
        assert process.stdin is not None
        process.stdin.close()
        if code not in (0, -signal.SIGKILL):
            end = (self._folder / "log").read_text("utf-8", "replace")[-3000:]
            raise LaunchError(f"drill: a run has exit code {code}; the end of its log:\n{end}")
        return code


def drill(
    card: Path, interruptions: int, kills: int, per_run: int, seed: int, on_log: OnLog
) -> DrillResult:
    """Run until that many interruptions and kills have happened.

    Args:
        card: a camera's footage; a few media are enough.
        per_run: maximum of interruptions of one run.
        on_log: is called with a message after each run.

    Raises:
        UsageError: there are no media.
        LaunchError: something is lost, done twice or left over.
    """
    if not any(kind_by_name(stored.key) for stored in LocalStore(card).list()):
        raise UsageError(f"FOOTAGE {card}: contains no pictures or videos")
    os.environ.update(CREDENTIALS)
    with tempfile.TemporaryDirectory(prefix="munin-drill-") as folder, Sandbox(CONFIG) as sandbox:
        runner = Drill(sandbox, card, Path(folder))
        one_run = runner.undisturbed()
        on_log(f"undisturbed: ${one_run:.4f}")
        before = len(sandbox.bill())
        runs = 0
        with InterruptionInjector(sandbox, interruptions, per_run, kills, seed) as injector:
            while not injector.done:
                runs += 1
                injector.begin_run()
                runner.run(str(runs), injector)
                on_log(
                    f"run {runs}: same results as undisturbed; so far "
                    f"{injector.interrupted.total()} interruptions and {injector.killed} killed "
                    "orchestrators"
                )
        return _result(runs, injector, one_run, sandbox.bill()[before:])


def _result(
    runs: int, injector: InterruptionInjector, one_run: float, bill: Sequence[BillLine]
) -> DrillResult:
    lost = [line for line in bill if line.interrupted]
    return DrillResult(
        runs=runs,
        interrupted=injector.interrupted,
        killed=injector.killed,
        usd_undisturbed=one_run * runs,
        usd=sum(line.cost for line in bill),
        lost_seconds=sum(line.seconds for line in lost),
        usd_lost=sum(line.cost for line in lost),
        usd_lost_on_demand=sum(line.on_demand_cost for line in lost),
    )


def contents(output: ObjectStore) -> Contents:
    """Return a camera's tables and Stage 3 files, without facts of their location."""
    found: Contents = {}
    for folder in ("tables", "stage3"):
        for stored in output.list(folder):
            if stored.key.startswith("tables/"):
                with output.reading(stored.key) as path:
                    table = read_parquet(path)
                found[stored.key] = table.drop("modified_ns", strict=False)
            else:
                found[stored.key] = without_run_facts(stored.key, output.read_bytes(stored.key))
    return found


def without_run_facts(key: str, data: bytes) -> Any:
    """Return a file of Stage 3 without the time and the cost of its run; None for the report."""
    if key == REPORT_PAGE:
        return None
    name = key.rpartition("/")[2]
    if name not in TIME_KEYS:
        return data
    return {item: value for item, value in json.loads(data).items() if item != TIME_KEYS[name]}


def journalled(output: ObjectStore) -> Counter[str]:
    """Count the entries of each content in Stage 1's journal."""
    counts: Counter[str] = Counter()
    for stored in output.list("journal/stage1"):
        if stored.key.endswith(".media.parquet"):
            with output.reading(stored.key) as path:
                counts.update(read_parquet(path, columns=["content_hash"])["content_hash"])
    return counts


def same(found: Any, expected: Any) -> bool:
    """Return True if two files of results are equal."""
    if isinstance(expected, pl.DataFrame):
        return isinstance(found, pl.DataFrame) and found.equals(expected)
    return bool(found == expected)


def _copy(source: ObjectStore, target: ObjectStore) -> None:
    for stored in source.list():
        target.write_bytes(stored.key, source.read_bytes(stored.key))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("footage", type=Path, help="a camera's folder; a few media are enough")
    parser.add_argument("--interruptions", type=int, default=200, help="spot machines to interrupt")
    parser.add_argument("--kills", type=int, default=20, help="orchestrators to kill")
    parser.add_argument(
        "--per-run", type=int, default=10, help="maximum of interruptions of one run"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    options = parser.parse_args(arguments)
    card = options.footage.resolve()
    try:
        result = drill(
            card, options.interruptions, options.kills, options.per_run, options.seed, print
        )
    except RavneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    for moment, times in sorted(result.interrupted.items()):
        print(f"  {times:4d} machines interrupted {moment}")
    print(
        f"{result.interrupted.total()} interruptions and {result.killed} killed orchestrators in "
        f"{result.runs} runs: same results as undisturbed runs, nothing twice, no job left.\n"
        f"Bill ${result.usd:.4f}; the same number of undisturbed runs "
        f"${result.usd_undisturbed:.4f}. Wasted ${result.usd_lost:.4f} on "
        f"{result.lost_seconds / 3600:.1f} interrupted machine-hours (on demand "
        f"${result.usd_lost_on_demand:.4f}): EC2 does not charge interrupted first hours."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
