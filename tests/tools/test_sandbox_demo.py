"""`make sandbox-demo`: two cameras in a sandbox, from the commands to the bill."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from paths import ROOT

REPOSITORY = ROOT
TIMEOUT = 240.0
pytestmark = pytest.mark.timeout(TIMEOUT + 30)


@dataclass(frozen=True)
class Demo:
    """The result of a demo."""

    code: int
    out: str  # stdout and stderr
    folder: Path
    remaining_processes: list[str]

    def attempts(self) -> list[list[str]]:
        """Return the rows of the cost table, each from the number of the attempt on."""
        rows = re.findall(r"^(?:camera-\S+)? +(\d  (?:spot|on-demand) .*)", self.out, re.MULTILINE)
        return [row.split() for row in rows]


def start(folder: Path) -> subprocess.Popen[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "MUNIN_"))
    }
    # `--old-file` keeps make from installing the environment in which this test runs.
    return subprocess.Popen(
        ["make", "--no-print-directory", "sandbox-demo", f"VENV={sys.prefix}",
         f"--old-file={sys.prefix}/.sandbox", f"SANDBOX={folder}", f"SANDBOX_PORT={port}"],
        cwd=REPOSITORY,
        env={**environment, "COLUMNS": "80", "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        start_new_session=True,
    )  # fmt: skip


def end(process: subprocess.Popen[str], folder: Path, output: str = "") -> Demo:
    try:
        out, _ = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return Demo(process.returncode, output + out, folder, list(_processes_of(folder)))


def _processes_of(folder: Path) -> Iterator[str]:
    """Yield the running processes with the demo's folder in their command or environment."""
    for process in psutil.process_iter():
        try:
            texts = [*process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue  # it has ended, or belongs to another user
        if process.pid != os.getpid() and any(str(folder) in text for text in texts):
            yield f"{process.pid} {process.cmdline()}"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("sandbox") / "demo"
    folder.mkdir()
    return end(start(folder), folder)


def test_both_cameras_finish_and_their_results_are_downloaded(demo: Demo) -> None:
    assert demo.code == 0, demo.out
    for camera in ("camera-a", "camera-b"):
        assert (demo.folder / "results" / camera / "stage3" / "report.json").is_file()


def test_one_camera_loses_its_spot_machine_and_continues_on_the_next(demo: Demo) -> None:
    ends = [(row[1], row[-2]) for row in demo.attempts() if row[-1].startswith("$")]
    assert ("spot", "interrupted") in ends and ("spot", "done") in ends
    assert "spot machine lost for the first time: Host EC2" in demo.out


def test_the_other_camera_finds_no_spot_capacity_and_falls_back(demo: Demo) -> None:
    assert [row[1:] for row in demo.attempts() if row[-1] == "moved"] == [["spot", "none", "moved"]]
    ends = [(row[1], row[-2]) for row in demo.attempts()]
    assert ("on-demand", "done") in ends
    assert re.search(r"starving for\s+3\d\d s of 300 s\s+\(fallback_timeout\)", demo.out)


def test_reported_costs_and_savings_are_those_of_the_true_bill(demo: Demo) -> None:
    text = " ".join(demo.out.split())
    [_, (undiscounted, paid)] = re.findall(  # at the batch's end, and when all machines have ended
        r"the same machine hours cost \$([\d.]+) on demand; paid: \$([\d.]+\d)", text
    )
    [(bill, on_demand)] = re.findall(
        r"Bill: \$([\d.]+); on demand the same hours cost \$([\d.]+)", text
    )
    assert float(paid) > 0
    # Two sums, each printed with four decimals.
    assert float(paid) == pytest.approx(float(bill), rel=0.001, abs=0.0001)
    assert float(undiscounted) == pytest.approx(float(on_demand), rel=0.001, abs=0.0001)


def test_the_printed_commands_are_those_of_a_user(demo: Demo) -> None:
    commands = re.findall(r"^\$ munin (.*)", demo.out, re.MULTILINE)
    assert [" ".join(re.findall(r"(?<!\S)[a-z]+(?!\S)", line)) for line in commands] == [
        "sandbox up",
        "sandbox cost setup",
        "sandbox capacity spot",
        "sandbox batch",
        "sandbox interrupt",
        "sandbox cost teardown",
        "sandbox cost costs",
        "sandbox status",
        "sandbox down",
    ]


def test_no_process_is_left(demo: Demo) -> None:
    assert demo.remaining_processes == []


def test_ctrl_c_ends_running_jobs_and_all_processes(tmp_path: Path) -> None:
    process = start(tmp_path)
    output = ""
    assert process.stdout is not None
    while "detecting" not in output:
        line = process.stdout.readline()
        assert line, output
        output += line
    os.killpg(process.pid, signal.SIGINT)
    demo = end(process, tmp_path, output)
    assert demo.code != 0
    assert "terminated ravne-camera-" in demo.out
    assert "cost teardown --force" in demo.out and "The sandbox is stopped." in demo.out
    assert demo.remaining_processes == []
