"""Every command of docs/commands.md, run in a sandbox in the order of the page."""

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
# Commands in the text or a table, and blocks of commands.
INLINE = r"`((?:munin|python|run_offline_camera_batch) [^`]+)`"
BLOCK = r"^```sh\n(.*?)^```$"
TIMEOUT = 240


def scripts() -> list[str]:
    """Return the page's scripts: each block is one, and each command that is only in the text.

    The last block, which tears compute down, is the last.
    """
    page = re.sub(r"\s*\\\n\s*", " ", TEXT)
    *blocks, last = re.findall(BLOCK, page, re.M | re.S)
    inline = dict.fromkeys(re.findall(INLINE, re.sub(BLOCK, "", page, flags=re.M | re.S)))
    known = "\n".join([*blocks, last]).splitlines()
    return [*blocks, *(command for command in inline if command not in known), last]


SCRIPTS = scripts()


@dataclass
class Shell:
    """Runs the page's scripts in one folder, each once."""

    folder: Path
    environment: dict[str, str]
    done: list[CompletedCommand] = field(default_factory=list)

    def run(self, number: int) -> CompletedCommand:
        """Return the outcome of a script, after all scripts before it."""
        while len(self.done) <= number:
            self.done.append(self._run(SCRIPTS[len(self.done)]))
        return self.done[number]

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
def test_each_command_succeeds(shell: Shell, number: int) -> None:
    ended = shell.run(number)
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.out + ended.err
    assert not ended.errors


def number_of(part: str) -> int:
    """Return the number of the first script that contains a text."""
    return next(number for number, text in enumerate(SCRIPTS) if part in text)


def test_a_local_output_named_after_the_camera_is_its_folder(shell: Shell) -> None:
    shell.run(number_of("for camera in"))
    for camera in ("camera1", "camera2", "camera3"):
        assert (shell.folder / "results" / camera / "run_stage3_local.py").is_file()
        assert not (shell.folder / "results" / camera / camera).exists()


def test_another_local_folder_gets_a_folder_per_camera(shell: Shell) -> None:
    shell.run(number_of("--local-path ./stage3_results"))
    rerun = shell.folder / "stage3_results/camera1/rerun/stage3"
    assert (rerun / "report.html").is_file()
    settings = json.loads((rerun / "report.json").read_text())["settings"]
    assert (settings["compression_window"], settings["min_confidence"]) == (30, 0.6)


def test_a_second_run_with_another_window_starts_no_machine(shell: Shell) -> None:
    ended = shell.run(number_of("--priority high"))
    assert "cost: $0.00; no job ran on AWS" in ended.out


def test_version_is_that_of_the_package(shell: Shell) -> None:
    assert f"munin {version('odins-ravne')}" in shell.run(number_of("--version")).out.splitlines()
