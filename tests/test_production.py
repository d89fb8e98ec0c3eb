"""The dagster.yaml of a server, on a real Postgres and an S3 that is moto's."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import dagster as dg
import pytest
import yaml
from moto.server import ThreadedMotoServer

from odins_ravne_assets.home import DAGSTER_YAML, prepare_home
from resources.errors import UsageError
from resources.launch_slots import LaunchSlots

DEPLOY = Path(__file__).parent.parent / "deploy"
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
BUCKET, PASSWORD = "ravne-data", "a secret"
# Made for a test: nothing has to outlive a power cut.
UNSAFE = "-c fsync=off -c listen_addresses=127.0.0.1"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a Postgres with the user and the database of docs/production.md."""
    if not BINARIES:
        pytest.skip("no Postgres is installed (apt-get install postgresql)")
    made = tmp_path_factory.mktemp("postgres")
    data, secret = made / "data", made / "secret"
    data.mkdir()
    secret.write_text(PASSWORD)
    user = None
    if os.geteuid() == 0:  # Postgres does not run as root
        user = "postgres"
        for path in (made, data, secret):
            shutil.chown(path, user)
        for parent in (made, *made.parents[:-2]):
            parent.chmod(parent.stat().st_mode | 0o111)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])

    def run(program: str, *words: str) -> None:
        command = [str(BINARIES[-1] / program), *words]
        subprocess.run(command, check=True, user=user, timeout=60, stdout=subprocess.DEVNULL)

    run("initdb", "-D", str(data), "-U", "ravne", f"--pwfile={secret}", "-A", "scram-sha-256", "-N")
    options = f"{UNSAFE} -p {port} -k {made}"
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


def test_runs_are_kept_in_postgres_and_what_they_print_in_the_bucket(home: Path) -> None:
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
        one.keep(set())
        assert other.take("unit 0")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"RAVNE_POSTGRES_PASSWORD": None}, "RAVNE_POSTGRES_PASSWORD is not set"),
        ({"RAVNE_POSTGRES_PORT": "1"}, "too many retries for DB connection"),
    ],
)
def test_a_server_that_cannot_be_reached_is_told_in_words(
    changed: dict[str, str | None], why: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagster_postgres.utils.time.sleep", lambda seconds: None)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    for name, text in changed.items():
        monkeypatch.setenv(name, text) if text else monkeypatch.delenv(name)
    with pytest.raises(UsageError, match=rf"dagster.yaml: cannot be used \({why}\)"):
        prepare_home()


def test_the_rules_for_runs_are_those_of_a_laptop_but_for_their_number() -> None:
    server = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())
    laptop = yaml.safe_load(DAGSTER_YAML)
    rules = "tag_concurrency_limits"
    assert server["concurrency"]["runs"][rules] == laptop["concurrency"]["runs"][rules]
    assert server["run_retries"] == laptop["run_retries"]


def test_the_services_environment_names_all_that_the_dagster_yaml_asks_for() -> None:
    asked = set(names_of_env(yaml.safe_load((DEPLOY / "dagster.yaml").read_text())))
    lines = (DEPLOY / "environment").read_text().splitlines()
    told = {line.partition("=")[0] for line in lines if not line.startswith("#")}
    assert asked and asked <= told


def names_of_env(tree: object) -> Iterator[str]:
    """The environment variables that a configuration names."""
    if isinstance(tree, dict):
        for key, inner in tree.items():
            if key == "env":
                yield inner
            yield from names_of_env(inner)
