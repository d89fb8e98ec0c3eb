"""A server's dagster.yaml and services, with a real Postgres and moto's S3."""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import boto3
import dagster as dg
import pytest
import yaml
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import should_retry
from dagster._utils.tags import TagConcurrencyLimitsCounter
from dagster_ui import wait_for
from moto.server import ThreadedMotoServer
from paths import ROOT

from odins_ravne_assets.instance_home import DAGSTER_YAML, prepare_home
from odins_ravne_assets.runs.heartbeat import EXPIRY_SECONDS, HeartbeatWatch
from odins_ravne_assets.runs.liveness import close_dead_runs, running_here
from resources.errors import UsageError
from resources.launch.slots import LaunchSlots

DEPLOY = ROOT / "deploy"
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
BUCKET, PASSWORD = "ravne-data", "a secret"
# A test needs no durability.
UNSAFE = "-c fsync=off -c listen_addresses=127.0.0.1"
SERVICES = ("ravne-code", "ravne-daemon", "ravne-webserver")
BIN = "/opt/ravne/bin"
# On a busy machine.
READY_TIMEOUT_SECONDS, STOP_TIMEOUT_SECONDS = 90.0, 30.0
# A run that waits for its job, on another server, at the moment when the server is lost.
LOST_SERVER = """
import os, signal, socket, sys
socket.gethostname = lambda: "server-a"
import dagster as dg
from odins_ravne_assets.runs.liveness import running_here
from resources.clock import system_clock
from resources.launch.slots import LaunchSlots

run = dg.DagsterRun(
    "camera", status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": "north"}
)
with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    instance.add_run(run)
    with running_here(instance, run, system_clock()):
        assert LaunchSlots(instance, run.run_id, "replaced", 1).take("unit 0")
        os.kill(os.getpid(), signal.SIGKILL)
"""
STATE = """{
  workspaceOrError {... on Workspace {locationEntries {name loadStatus}}}
  instance {daemonHealth {allDaemonStatuses {daemonType required healthy}}}
}"""


class SteppedClock:
    """A clock that the test moves."""

    time = 1_000_000.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float, wake: Event | None = None) -> bool:
        return bool(wake and wake.wait(60))


@pytest.fixture(scope="module")
def postgres() -> Iterator[int]:
    """The port of a Postgres with the user and the database of docs/production.md."""
    if not BINARIES:
        pytest.skip("no Postgres is installed (apt-get install postgresql)")
    # Not below pytest's folder, to which other users, such as Postgres's, have no access.
    with tempfile.TemporaryDirectory(prefix="munin-postgres-") as folder:
        root = Path(folder)
        data, secret = root / "data", root / "secret"
        data.mkdir()
        secret.write_text(PASSWORD)
        user = None
        if os.geteuid() == 0:  # Postgres does not run as root
            user = "postgres"
            for path in (root, data, secret):
                shutil.chown(path, user)
        port = free_port()

        def run(program: str, *words: str) -> None:
            command = [str(BINARIES[-1] / program), *words]
            subprocess.run(command, check=True, user=user, timeout=60, stdout=subprocess.DEVNULL)

        login = ["-U", "ravne", f"--pwfile={secret}", "-A", "scram-sha-256"]
        run("initdb", "-D", str(data), *login, "-N")
        options = f"{UNSAFE} -p {port} -k {root}"
        run("pg_ctl", "-D", str(data), "-w", "-l", str(data / "log"), "-o", options, "start")
        try:
            yield port
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")


@pytest.fixture(scope="module")
def home(postgres: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A server's DAGSTER_HOME, with the environment of its services."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    environment = {
        "RAVNE_POSTGRES_HOST": "127.0.0.1",
        "RAVNE_POSTGRES_PORT": str(postgres),
        "RAVNE_POSTGRES_USER": "ravne",
        "RAVNE_POSTGRES_PASSWORD": PASSWORD,
        "RAVNE_POSTGRES_DATABASE": "postgres",
        "RAVNE_BUCKET": BUCKET,
        "AWS_REGION": "eu-north-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    folder = tmp_path_factory.mktemp("home")
    shutil.copy(DEPLOY / "dagster.yaml", folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, text in environment.items():
            patch.setenv(name, text)
        place = {"LocationConstraint": "eu-north-1"}
        boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)  # type: ignore[arg-type]
        yield folder
    server.stop()


def test_runs_are_stored_in_postgres_and_their_output_in_the_bucket(home: Path) -> None:
    @dg.asset
    def visits() -> None:
        print("a fox at 02:14", flush=True)

    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert dg.materialize([visits], instance=instance).success
    with dg.DagsterInstance.from_config(str(home)) as another:
        (run,) = another.get_runs()
        assert run.status == dg.DagsterRunStatus.SUCCESS
        assert another.get_latest_materialization_event(visits.key)
    s3 = boto3.client("s3")
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    (printed,) = [key for key in keys if key.endswith(".out")]
    assert printed.startswith("dagster-logs/")
    assert s3.get_object(Bucket=BUCKET, Key=printed)["Body"].read() == b"a fox at 02:14\n"
    assert not list(home.rglob("*.db"))


def test_the_slots_of_an_account_are_shared_through_postgres(home: Path) -> None:
    def slots(instance: dg.DagsterInstance) -> LaunchSlots:
        run = dg.DagsterRun("job", status=dg.DagsterRunStatus.STARTED)
        instance.add_run(run)
        return LaunchSlots(instance, run.run_id, "account", 1)

    with (
        dg.DagsterInstance.from_config(str(home)) as here,
        dg.DagsterInstance.from_config(str(home)) as there,
    ):
        one, other = slots(here), slots(there)
        assert one.take("unit 0")
        assert not other.take("unit 0")
        one.retain(set())
        assert other.take("unit 0")


def test_a_lost_server_is_replaced(home: Path) -> None:
    """Its run is ended and retried, its slot and its camera are free; a live run goes on."""
    clock = SteppedClock()
    watch = HeartbeatWatch(clock)
    lost = subprocess.run([sys.executable, "-W", "ignore", "-c", LOST_SERVER, str(home)])
    assert lost.returncode == -signal.SIGKILL
    with dg.DagsterInstance.from_config(str(home)) as here:
        tags = {"dagster/partition": "north"}
        [before] = here.get_runs(dg.RunsFilter(tags=tags))
        queued = dg.DagsterRun("camera", tags=tags)
        alive = dg.DagsterRun("camera", status=dg.DagsterRunStatus.STARTED)
        here.add_run(alive)
        slots = LaunchSlots(here, alive.run_id, "replaced", 1)
        with running_here(here, alive, clock):
            close_dead_runs(here, watch)
            assert not slots.take("unit 0")
            assert is_blocked(here, queued)
            for _ in range(round(EXPIRY_SECONDS / 60)):
                clock.time += 60
                close_dead_runs(here, watch)
            after = here.get_run_by_id(before.run_id)
            assert after and after.status == dg.DagsterRunStatus.FAILURE
            assert should_retry(after, here)
            assert not is_blocked(here, queued)
            assert slots.take("unit 0")
            still = here.get_run_by_id(alive.run_id)
            assert still and still.status == dg.DagsterRunStatus.STARTED
            slots.retain(set())


def is_blocked(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Return True if Dagster's queue holds a run back, by the limit of runs of a camera."""
    queue = instance.get_concurrency_config().run_queue_config
    assert queue
    started = instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS_RUN_STATUSES))
    return TagConcurrencyLimitsCounter(queue.tag_concurrency_limits, started).is_blocked(run)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"RAVNE_POSTGRES_PASSWORD": None}, "RAVNE_POSTGRES_PASSWORD is not set"),
        ({"RAVNE_POSTGRES_PORT": "1"}, "too many retries for DB connection"),
    ],
)
def test_a_server_that_cannot_be_reached_is_a_clear_error(
    changed: dict[str, str | None], reason: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagster_postgres.utils.time.sleep", lambda seconds: None)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    for name, text in changed.items():
        monkeypatch.setenv(name, text) if text else monkeypatch.delenv(name)
    with pytest.raises(UsageError, match=rf"dagster.yaml: cannot be used \({reason}\)"):
        prepare_home()


def test_the_rules_for_runs_equal_those_of_a_laptop_except_their_number() -> None:
    server = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())
    laptop = yaml.safe_load(DAGSTER_YAML)
    rules = "tag_concurrency_limits"
    assert server["concurrency"]["runs"][rules] == laptop["concurrency"]["runs"][rules]
    assert server["run_retries"] == laptop["run_retries"]


def test_the_services_environment_has_every_variable_of_the_dagster_yaml() -> None:
    required = set(names_of_env(yaml.safe_load((DEPLOY / "dagster.yaml").read_text())))
    lines = (DEPLOY / "environment").read_text().splitlines()
    defined = {line.partition("=")[0] for line in lines if not line.startswith("#")}
    assert required and required <= defined


# The services


def installed(text: str) -> str:
    """Return a service's file with the paths of this environment."""
    return text.replace(BIN, str(Path(sys.executable).parent))


def command_of(service: str) -> list[str]:
    """Return the command of a service."""
    lines = installed((DEPLOY / f"{service}.service").read_text()).splitlines()
    (command,) = (line.partition("=")[2] for line in lines if line.startswith("ExecStart="))
    return shlex.split(command)


def test_systemd_accepts_the_services(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (apt-get install systemd)")
    files = [tmp_path / f"{service}.service" for service in SERVICES]
    for file in files:
        file.write_text(installed((DEPLOY / file.name).read_text()))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_services_connect_and_stop_when_terminated(home: Path, tmp_path: Path) -> None:
    moved = {"4266": str(free_port()), "3000": str(free_port())}
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text((DEPLOY / "workspace.yaml").read_text().replace("4266", moved["4266"]))
    moved["/etc/ravne/workspace.yaml"] = str(workspace)
    with ExitStack() as stack:
        for service in SERVICES:
            command = [moved.get(word, word) for word in command_of(service)]
            stack.enter_context(running(command, environment(home), tmp_path / f"{service}.log"))
        wait_for("all three", lambda: is_ready(moved["3000"]), READY_TIMEOUT_SECONDS)


def environment(home: Path) -> dict[str, str]:
    """Return the environment that systemd gives a service: its file, and little else."""
    lines = (DEPLOY / "environment").read_text().splitlines()
    named = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    here = {name: os.environ[name] for name in named if name in os.environ}
    aws = {name: text for name, text in os.environ.items() if name.startswith("AWS_")}
    own = {"DAGSTER_HOME": str(home), "MUNIN_PROFILE": "local", "HOME": str(home)}
    return {"PATH": "/usr/bin:/bin", **named, **here, **aws, **own}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    """Run a service; stop it as systemd does, by terminating all of its processes."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield
        assert process.poll() is None, log.read_text()
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(STOP_TIMEOUT_SECONDS)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def is_ready(port: str) -> bool:
    """Return True if the UI has loaded the code location and all daemons are healthy."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": STATE}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            state: dict[str, Any] = json.load(response)["data"]
    except (urllib.error.URLError, ConnectionError):
        return False
    entries = state["workspaceOrError"].get("locationEntries", [])
    daemons = state["instance"]["daemonHealth"]["allDaemonStatuses"]
    return [(each["name"], each["loadStatus"]) for each in entries] == [
        ("odins_ravne_assets.definitions", "LOADED")
    ] and all(each["healthy"] for each in daemons if each["required"])


def names_of_env(tree: object) -> Iterator[str]:
    """Yield the environment variables that a configuration names."""
    if isinstance(tree, dict):
        for key, inner in tree.items():
            if key == "env":
                yield inner
            yield from names_of_env(inner)
