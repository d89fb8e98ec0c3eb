"""`munin sandbox`: AWS on this machine, as a process in the background."""

import importlib.util
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from odins_ravne_assets.cli.terminal import out
from odins_ravne_assets.instance_home import home, prepare_home
from resources.clock import clock_at
from resources.errors import LaunchError, UsageError
from resources.sandbox.model.config import data_bucket

app = typer.Typer(help="AWS on this machine: jobs run, spot is interrupted.", no_args_is_help=True)

# The port that profile `sandbox` names.
DEFAULT_PORT = 4599
SHUTDOWN_TIMEOUT_SECONDS = 30.0
# Jobs and machines that `status` shows, the newest first.
MAX_ROWS_SHOWN = 15

Facts = dict[str, Any]


@app.command()
def up(
    port: Annotated[
        int, typer.Option(help="Where it listens on 127.0.0.1; 0 takes a free port.")
    ] = DEFAULT_PORT,
    scale: Annotated[
        float, typer.Option(min=1.0, help="Seconds of its time in one of ours.")
    ] = 60.0,
    seed: Annotated[int, typer.Option(help="Of the interruptions that come by rate.")] = 0,
    name: Annotated[str, typer.Option(help="cloud.aws.name of the profile.")] = "ravne",
) -> None:
    """Start the sandbox, with the bucket, roles and network that `cost setup` needs."""
    running = _running()
    if running is None:
        running = _start(port, scale, seed, name)
    out.print(
        f"The sandbox is up: {running['endpoint_url']}; its bucket: "
        f"s3://{data_bucket(running['name'])}"
    )
    out.print("Any credentials will do:", soft_wrap=True)
    out.print("  export AWS_ACCESS_KEY_ID=sandbox AWS_SECRET_ACCESS_KEY=sandbox", soft_wrap=True)
    if not running["endpoint_url"].endswith(f":{DEFAULT_PORT}"):
        out.print("Profile sandbox has to be told where it is:")
        for key in ("endpoint_url", "clock_url"):
            line = f"  export MUNIN_CLOUD__AWS__{key.upper()}={running[key]}"
            out.print(line, soft_wrap=True)


@app.command()
def down() -> None:
    """Stop the sandbox and every job in it. What it held is gone."""
    running = _running()
    if running is None:
        out.print("The sandbox is not up.")
        return
    _request(running, "/shutdown", {})
    given_up_at = time.monotonic() + SHUTDOWN_TIMEOUT_SECONDS
    while not _has_exited(running["pid"]):
        if time.monotonic() > given_up_at:
            raise LaunchError(f"sandbox: process {running['pid']} does not end; kill -9 it")
        time.sleep(0.05)
    _state_file().unlink(missing_ok=True)
    out.print("The sandbox is down.")


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show the sandbox's clock, machines, jobs and true bill."""
    running = _require_running()
    jobs, machines = _request(running, "/jobs"), _request(running, "/instances")
    now = clock_at(running["clock_url"]).now()
    if as_json:
        facts = {"now": now, "jobs": jobs, "instances": machines, **running}
        out.print_json(json.dumps(facts))
        return
    scale = _request(running, "/clock")["scale"]
    out.print(f"{running['endpoint_url']}   {_time(now)} UTC, {scale:g} seconds a second")
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
        str, typer.Argument(help="Name or id of a job that runs, or id of a spot machine.")
    ],
    without_notice: Annotated[
        bool, typer.Option("--without-notice", help="Take it at once, without the two minutes.")
    ] = False,
) -> None:
    """Let EC2 take a spot machine back, as it does when others pay more."""
    running = _require_running()
    ids = [job["jobId"] for job in _request(running, "/jobs") if job["jobName"] == job_or_machine]
    known = {"job_id": ids[-1] if ids else job_or_machine, "instance_id": job_or_machine}
    try:
        taken = _request(running, "/interrupt", {**known, "notice": not without_notice})["result"]
    except urllib.error.HTTPError:
        raise UsageError(
            f"{job_or_machine}: no job that runs on spot, and no spot machine; "
            "munin sandbox status lists them"
        ) from None
    when = "is gone" if without_notice else "has two minutes' notice"
    out.print(f"{taken} {when}.")


@app.command()
def capacity(
    market: Annotated[Literal["spot", "on-demand"], typer.Argument(help="Which machines.")],
    machines: Annotated[
        int | None, typer.Argument(min=0, help="At most so many at once. Default: no limit.")
    ] = None,
) -> None:
    """Let EC2 have no more than so many machines to give; those that run stay."""
    _request(_require_running(), "/capacity", {"lifecycle": market, "machines": machines})
    limit = "as many as wanted" if machines is None else f"{machines} at most"
    out.print(f"Machines that EC2 has to give, {market}: {limit}.")


def _print_jobs(jobs: list[Facts]) -> None:
    counts = Counter(job["status"] for job in jobs)
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    table = _table(f"Jobs: {told}")
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
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    table = _table(f"Machines: {told}")
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
    """Start the process, wait until it answers, and write down where."""
    _refuse_without_moto()
    prepare_home()
    options = {"port": port, "scale": scale, "seed": seed, "name": name}
    words = [f"--{option}={value}" for option, value in options.items()]
    with _log_file().open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "resources.sandbox", *words],
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
    except BaseException:  # nobody would know of it
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
    """The sandbox that was started here, if it still answers."""
    try:
        facts: Facts = json.loads(_state_file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return facts if _answers(facts) else None


def _require_running() -> Facts:
    """The sandbox, which must be up.

    Raises:
        UsageError: it is not.
    """
    running = _running()
    if running is None:
        raise UsageError("the sandbox is not up; start it with munin sandbox up")
    return running


def _answers(facts: Facts) -> bool:
    try:
        return bool(_request(facts, "/process")["pid"] == facts["pid"])
    except OSError:
        return False


def _has_exited(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet has."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return Path("/proc").exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


def _request(facts: Facts, path: str, arguments: Facts | None = None) -> Any:
    """GET a control URL, or POST arguments to it."""
    data = None if arguments is None else json.dumps(arguments).encode()
    with urllib.request.urlopen(facts["control_url"] + path, data, timeout=10) as answer:
        return json.load(answer)
