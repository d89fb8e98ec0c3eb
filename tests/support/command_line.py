"""The `munin` command as its users run it: a process, with a Dagster instance of its own."""

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
from paths import ROOT

DEMO = ROOT / "tools" / "demo_footage.py"
# A run of the few media of a test takes seconds; on a busy machine, many.
TIMEOUT = 120


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines that tell an error."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


@dataclass
class Munin:
    """Runs the command.

    Args:
        folder: is made; holds the instance, temporary files, and is where the command is run.
        profile: `--profile` of every call.
        environment: variables on top of those of this process.
        before_start: is called in the process before it becomes the command.
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

    def __call__(self, *words: str | Path, timeout: float = TIMEOUT) -> Ended:
        """Run the command to its end. A traceback is never the right answer."""
        return self.end(self.start(*words), timeout)

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """Start the command; `end` waits for it."""
        own = {name: text for name, text in os.environ.items() if not name.startswith("MUNIN_")}
        own |= {"DAGSTER_HOME": str(self.home), "TMPDIR": str(self.temporary), "COLUMNS": "200"}
        munin = Path(sys.executable).parent / "munin"
        return subprocess.Popen(
            [str(munin), "--profile", self.profile, *map(str, words)],
            env=own | dict(self.environment),
            cwd=self.folder,
            preexec_fn=self.before_start,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def end(self, process: subprocess.Popen[str], timeout: float = TIMEOUT) -> Ended:
        """Wait for the end of a command."""
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert "Traceback" not in out + err, out + err
        return Ended(process.returncode, out, err)

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """The Dagster instance that the command's runs are in."""
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            yield instance

    def processes(self, module: str = "odins_ravne_assets.") -> list[psutil.Process]:
        """The living processes of runs that this command started and whose module begins so."""
        found = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
                ours = process.environ().get("DAGSTER_HOME") == str(self.home)
            except psutil.Error:
                continue  # it ended meanwhile, or is not ours to look at
            if ours and any(word.startswith(module) for word in words):
                found.append(process)
        return found


def make_demo_footage(folder: Path) -> Path:
    """The footage of `make demo`: five stills and a clip, with a cat and a person in them."""
    subprocess.run([sys.executable, str(DEMO), str(folder)], check=True, timeout=TIMEOUT)
    return folder


def results(output: Path) -> dict[str, Any]:
    """What a camera's run has made, by name: tables and Stage 3's files, without what belongs to
    one run: when it was, and what it cost."""
    files = [path for folder in ("tables", "stage3") for path in (output / folder).rglob("*")]
    named = {path.relative_to(output).as_posix(): path for path in sorted(files) if path.is_file()}
    return {name: without_run_facts(name, path.read_bytes()) for name, path in named.items()}


def processed(output: Path) -> dict[str, tuple[str, str | None]]:
    """What became of each media file: its path, and status with reason."""
    table = pl.read_parquet(output / "tables" / "processed.parquet")
    rows = table.select("path", "status", "reason").rows()
    return {path: (status, why) for path, status, why in rows}


def journalled(output: Path) -> list[str]:
    """The content hashes of Stage 1's journal, as often as they are in it."""
    parts = sorted((output / "journal" / "stage1").rglob("*.media.parquet"))
    return [content for part in parts for content in pl.read_parquet(part)["content_hash"]]
