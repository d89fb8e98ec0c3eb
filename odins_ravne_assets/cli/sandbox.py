"""`munin sandbox`: an AWS account on this machine, as a background process."""

import importlib.util
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import psutil
import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from odins_ravne_assets.cli.terminal import out
from odins_ravne_assets.instance_home import home, prepare_home
from resources.clock import clock_at
from resources.errors import LaunchError, UsageError
from resources.sandbox.model.config import data_bucket

app = typer.Typer(
    help="An AWS account on this machine, with jobs and spot interruptions.", no_args_is_help=True
)

# The port that profile `sandbox` names.
DEFAULT_PORT = 4599
SHUTDOWN_TIMEOUT_SECONDS = 30.0
# Rows of jobs and of machines in `status`, the newest first.
MAX_ROWS_SHOWN = 15

Facts = dict[str, Any]


@app.command()
def up(
    port: Annotated[
        int, typer.Option(help="Port on 127.0.0.1; 0 picks a free one.")
    ] = DEFAULT_PORT,
    scale: Annotated[
        float, typer.Option(min=1.0, help="Speed of its clock: sandbox seconds per real second.")
    ] = 60.0,
    seed: Annotated[int, typer.Option(help="Seed of the random interruptions.")] = 0,
    name: Annotated[str, typer.Option(help="The profile's cloud.aws.name.")] = "ravne",
) -> None:
    """Start the sandbox, with the bucket, roles and network that `cost setup` needs."""
    running = _running()
    if running is None:
        running = _start(port, scale, seed, name)
    out.print(
        f"The sandbox is running: {running['endpoint_url']}; its bucket: "
        f"s3://{data_bucket(running['name'])}"
    )
    out.print("It needs credentials, of any value:", soft_wrap=True)
    out.print("  export AWS_ACCESS_KEY_ID=sandbox AWS_SECRET_ACCESS_KEY=sandbox", soft_wrap=True)
    if not running["endpoint_url"].endswith(f":{DEFAULT_PORT}"):
        out.print("Profile sandbox needs its address:")
        for key in ("endpoint_url", "clock_url"):
            line = f"  export MUNIN_CLOUD__AWS__{key.upper()}={running[key]}"
            out.print(line, soft_wrap=True)


@app.command()
def down() -> None:
    """Stop the sandbox and all of its jobs, and delete its data."""
    running = _running()
    if running is None:
        out.print("The sandbox is not running.")
        return
    _request(running, "/shutdown", {})
    deadline = time.monotonic() + SHUTDOWN_TIMEOUT_SECONDS
    while not _has_exited(running["pid"]):
        if time.monotonic() > deadline:
            raise LaunchError(f"sandbox: process {running['pid']} does not stop; kill -9 it")
        time.sleep(0.05)
    _state_file().unlink(missing_ok=True)
    out.print("The sandbox is stopped.")


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the sandbox's clock, machines, jobs and bill."""
    running = _require_running()
    jobs, machines = _request(running, "/jobs"), _request(running, "/instances")
    now = clock_at(running["clock_url"]).now()
    if as_json:
        facts = {"now": now, "jobs": jobs, "instances": machines, **running}
        out.print_json(json.dumps(facts))
        return
    scale = _request(running, "/clock")["scale"]
    out.print(f"{running['endpoint_url']}   {_time(now)} UTC, {scale:g} seconds per second")
    if jobs:
        _print_jobs(jobs)
    if machines:
        _print_machines(machines)
    paid = sum(machine["cost"] for machine in machines)
    on_demand = sum(machine["on_demand_cost"] for machine in machines)
    out.print(f"Bill: ${paid:.4f}; on demand the same hours cost ${on_demand:.4f}")


@app.command()
def interrupt(
    job_or_machine: Annotated[
        str, typer.Argument(help="Name or id of a running job, or id of a spot machine.")
    ],
    without_notice: Annotated[
        bool, typer.Option("--without-notice", help="Interrupt at once, without the two minutes.")
    ] = False,
) -> None:
    """Interrupt a spot machine, as EC2 does when it needs the capacity."""
    running = _require_running()
    ids = [job["jobId"] for job in _request(running, "/jobs") if job["jobName"] == job_or_machine]
    known = {"job_id": ids[-1] if ids else job_or_machine, "instance_id": job_or_machine}
    try:
        machine = _request(running, "/interrupt", {**known, "notice": not without_notice})["result"]
    except urllib.error.HTTPError:
        raise UsageError(
            f"{job_or_machine}: no running job on spot, and no spot machine; "
            "munin sandbox status lists them"
        ) from None
    effect = "is terminated" if without_notice else "has two minutes' notice"
    out.print(f"{machine} {effect}.")


@app.command()
def capacity(
    market: Annotated[Literal["spot", "on-demand"], typer.Argument(help="The market.")],
    machines: Annotated[
        int | None, typer.Argument(min=0, help="Maximum number of machines. Default: no limit.")
    ] = None,
) -> None:
    """Limit the number of machines that EC2 has; running machines stay."""
    _request(_require_running(), "/capacity", {"lifecycle": market, "machines": machines})
    limit = "no limit" if machines is None else f"at most {machines}"
    out.print(f"EC2 capacity, {market}: {limit}.")


def _print_jobs(jobs: list[Facts]) -> None:
    counts = Counter(job["status"] for job in jobs)
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    table = _table(f"Jobs: {states}")
    for heading in ("job", "queue", "status", "attempts", "reason"):
        table.add_column(heading, overflow="fold")
    for job in reversed(jobs[-MAX_ROWS_SHOWN:]):
        table.add_row(
            job["jobName"],
            job["jobQueue"].rpartition("/")[2],
            job["status"],
            str(len(job["attempts"])),
            escape(job.get("statusReason", "")),
        )
    out.print(table)


def _print_machines(machines: list[Facts]) -> None:
    counts = Counter(machine["state"] for machine in machines)
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    table = _table(f"Machines: {states}")
    for heading in ("machine", "type", "zone", "market", "state"):
        table.add_column(heading, overflow="fold")
    for heading in ("minutes", "USD"):
        table.add_column(heading, justify="right")
    for machine in reversed(machines[-MAX_ROWS_SHOWN:]):
        table.add_row(
            machine["instance_id"],
            machine["instance_type"],
            machine["zone"],
            machine["lifecycle"],
            "interrupted" if machine["interrupted"] else machine["state"],
            f"{machine['seconds'] / 60:.1f}",
            f"{machine['cost']:.4f}",
        )
    out.print(table)


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD,
        show_edge=False, padding=(0, 1, 0, 0), pad_edge=False,
    )  # fmt: skip


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _state_file() -> Path:
    return home() / "sandbox.json"


def _log_file() -> Path:
    return home() / "sandbox.log"


def _start(port: int, scale: float, seed: int, name: str) -> Facts:
    """Start the process, wait until it responds, and save its address."""
    _refuse_without_moto()
    prepare_home()
    options = {"port": port, "scale": scale, "seed": seed, "name": name}
    arguments = [f"--{option}={value}" for option, value in options.items()]
    with _log_file().open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "resources.sandbox", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    assert process.stdout is not None
    try:
        with process.stdout as ready:
            line = ready.readline()
        if line:
            facts: Facts = {**json.loads(line), "name": name}
            _state_file().write_text(json.dumps(facts), encoding="utf-8")
            return facts
    except BaseException:  # no command could stop it later
        process.terminate()
        raise
    process.wait()
    last = _log_file().read_text("utf-8", "replace").strip().rpartition("\n")[2]
    raise LaunchError(f"sandbox: did not start on port {port} ({last}); see {_log_file()}")


def _refuse_without_moto() -> None:
    if importlib.util.find_spec("moto") is None:
        raise UsageError(
            "sandbox: moto is missing; install the extra, pip install 'odins-ravne[sandbox]'"
        )


def _running() -> Facts | None:
    """Return the sandbox that an earlier command started, if it still responds."""
    try:
        facts: Facts = json.loads(_state_file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return facts if _responds(facts) else None


def _require_running() -> Facts:
    """Return the running sandbox.

    Raises:
        UsageError: there is none.
    """
    running = _running()
    if running is None:
        raise UsageError("the sandbox is not running; start it: munin sandbox up")
    return running


def _responds(facts: Facts) -> bool:
    try:
        return bool(_request(facts, "/process")["pid"] == facts["pid"])
    except OSError:
        return False


def _has_exited(pid: int) -> bool:
    """Return True if a process has ended; a zombie has."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _request(facts: Facts, path: str, arguments: Facts | None = None) -> Any:
    """GET a control URL, or POST arguments to it."""
    data = None if arguments is None else json.dumps(arguments).encode()
    with urllib.request.urlopen(facts["control_url"] + path, data, timeout=10) as answer:
        return json.load(answer)
