"""The page of commands: each of them is run, in the page's order, in a sandbox."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import pytest
from command_line import CompletedCommand, Munin
from media_files import write_picture
from paths import ROOT

from resources.sandbox.model.config import CREDENTIALS, data_bucket

TEXT = (ROOT / "docs" / "commands.md").read_text("utf-8")
# Commands within a sentence or a table, and blocks of them.
INLINE = r"`((?:munin|python|run_offline_camera_batch) [^`]+)`"
BLOCK = r"^```sh\n(.*?)^```$"
TIMEOUT = 240


def scripts() -> list[str]:
    """The page's commands: blocks first, since the table repeats what they explain."""
    text = re.sub(BLOCK, "", TEXT, flags=re.M | re.S)
    blocks = re.findall(BLOCK, TEXT, re.M | re.S)
    inline = dict.fromkeys(re.findall(INLINE, text))
    last = blocks.pop()
    return [*blocks, *(each for each in inline if each not in last), last]


SCRIPTS = scripts()


@dataclass
class Shell:
    """Runs the page's commands in one folder, each once."""

    folder: Path
    environment: dict[str, str]
    ended: list[CompletedCommand] = field(default_factory=list)

    def run(self, number: int) -> CompletedCommand:
        """The end of the script of this number; those before it are run first."""
        while len(self.ended) <= number:
            self.ended.append(self._run(SCRIPTS[len(self.ended)]))
        return self.ended[number]

    def _run(self, script: str) -> CompletedCommand:
        bucket = f"s3://{data_bucket('ravne')}/results"
        script = script.replace("/data", f"{self.folder}/data").replace("s3://bucket", bucket)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env=os.environ | self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        return CompletedCommand(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("commands")
    for number in (1, 2, 3):
        write_picture(folder / "data" / f"camera{number}" / "IMG_0001.JPG", (320, 240))
    munin = Munin(folder / "sandbox", "local", CREDENTIALS)
    up = munin("sandbox", "up", "--port", "0", "--scale", "240")
    assert up.code == 0, up.err
    sandbox = json.loads((munin.home / "sandbox.json").read_text())
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DAGSTER_HOME": str(folder / "dagster"),
        "MUNIN_CLOUD__AWS__ENDPOINT_URL": sandbox["endpoint_url"],
        "MUNIN_CLOUD__AWS__CLOCK_URL": sandbox["clock_url"],
        "AWS_ENDPOINT_URL": sandbox["endpoint_url"],
        "BROWSER": "true",
        "COLUMNS": "200",
        **CREDENTIALS,
    }
    try:
        yield Shell(folder, environment)
    finally:
        munin("sandbox", "down")


@pytest.mark.parametrize("number", range(len(SCRIPTS)), ids=lambda n: SCRIPTS[n][:60])
def test_each_command_does_its_work(shell: Shell, number: int) -> None:
    ended = shell.run(number)
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.out + ended.err
    assert not ended.errors


def number_of(part: str) -> int:
    """The number of the first script that contains a text."""
    return next(number for number, text in enumerate(SCRIPTS) if part in text)


def test_a_local_output_named_after_the_camera_is_its_folder(shell: Shell) -> None:
    shell.run(number_of("for camera in"))
    for camera in ("camera1", "camera2", "camera3"):
        assert (shell.folder / "results" / camera / "run_stage3_local.py").is_file()
        assert not (shell.folder / "results" / camera / camera).exists()


def test_another_local_folder_gets_a_folder_per_camera(shell: Shell) -> None:
    shell.run(number_of("--local-path ./stage3_results"))
    assert (shell.folder / "stage3_results/camera1/rerun/stage3/report.html").is_file()
    shell.run(number_of("--cameras"))
    assert (shell.folder / "season/report.html").is_file()
    assert (shell.folder / "season/camera3/stage3/report.json").is_file()


def test_a_second_run_with_another_window_starts_no_machine(shell: Shell) -> None:
    ended = shell.run(number_of("--priority high"))
    assert "cost: $0.00; no job ran on AWS" in ended.out
    report = json.loads((shell.folder / "results/camera1/stage3/report.json").read_text())
    assert report["settings"]["compression_window"] == 15


def test_version_is_the_packages(shell: Shell) -> None:
    assert f"munin {version('odins-ravne')}" in shell.run(number_of("--version")).out.splitlines()
