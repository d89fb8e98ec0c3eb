"""The `munin` command as a process with its own Dagster instance."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import psutil
from interruption_drill import without_run_facts

from odins_ravne_assets.demo.footage import write_footage
from resources.storage.parquet_files import read_parquet

# Seconds; a run of a test's few media takes some, and many on a busy machine.
TIMEOUT = 120


@dataclass(frozen=True)
class CompletedCommand:
    """A command that has exited."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The error lines of standard error."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


@dataclass
class Munin:
    """Runs the command.

    Args:
        folder: is created; holds the instance and temporary files, and is the working directory.
        profile: `--profile` of every command.
        environment: variables in addition to those of this process.
        before_start: is called in the child process before it executes the command.
    """

    folder: Path
    profile: str = "local"
    environment: Mapping[str, str] = field(default_factory=dict)
    before_start: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        for folder in (self.home, self.temporary):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def home(self) -> Path:
        return self.folder / "dagster"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    def __call__(self, *words: str | Path, timeout: float = TIMEOUT) -> CompletedCommand:
        """Run the command and wait for it; fail on a traceback."""
        return self.wait(self.start(*words), timeout)

    def variables(self) -> dict[str, str]:
        """Return the environment of the command."""
        own = {name: text for name, text in os.environ.items() if not name.startswith("MUNIN_")}
        own |= {"DAGSTER_HOME": str(self.home), "TMPDIR": str(self.temporary), "COLUMNS": "200"}
        return own | dict(self.environment)

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """Start the command; `wait` waits for it."""
        munin = Path(sys.executable).parent / "munin"
        return subprocess.Popen(
            [str(munin), "--profile", self.profile, *map(str, words)],
            env=self.variables(),
            cwd=self.folder,
            preexec_fn=self.before_start,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def wait(self, process: subprocess.Popen[str], timeout: float = TIMEOUT) -> CompletedCommand:
        """Wait for a command; fail on a traceback."""
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert "Traceback" not in out + err, out + err
        return CompletedCommand(process.returncode, out, err)

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """Open the Dagster instance of the command."""
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            yield instance

    def processes(self, module: str = "odins_ravne_assets.") -> list[psutil.Process]:
        """Return the running processes of this command whose module has a prefix."""
        found = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
                ours = process.environ().get("DAGSTER_HOME") == str(self.home)
            except psutil.Error:
                continue  # it has exited, or belongs to another user
            if ours and any(word.startswith(module) for word in words):
                found.append(process)
        return found


def make_demo_footage(folder: Path) -> Path:
    """Create the footage of `make demo`: five stills and a clip, with a cat and a person."""
    return write_footage(folder)


def results(output: Path) -> dict[str, Any]:
    """Return the tables and the files of Stage 3 by name, without the time and cost of the run."""
    files = [path for folder in ("tables", "stage3") for path in (output / folder).rglob("*")]
    named = {path.relative_to(output).as_posix(): path for path in sorted(files) if path.is_file()}
    return {name: without_run_facts(name, path.read_bytes()) for name, path in named.items()}


def processed(output: Path) -> dict[str, tuple[str, str | None]]:
    """Return the status and the reason of each media file, by path."""
    table = read_parquet(output / "tables" / "processed.parquet")
    rows = table.select("path", "status", "reason").rows()
    return {path: (status, why) for path, status, why in rows}


def journal_hashes(output: Path) -> list[str]:
    """Return the content hashes in the journal of Stage 1, with duplicates."""
    parts = sorted((output / "journal" / "stage1").rglob("*.media.parquet"))
    return [content for part in parts for content in pl.read_parquet(part)["content_hash"]]
