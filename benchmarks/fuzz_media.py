"""Mutated media: a camera is run with them and without them.

    python benchmarks/fuzz_media.py --seed 1 --files 1000

Fails (exit code 1) unless each mutated file is a row with a reason or is usable, the rows of the
good files are those of the run without, memory and time stay below their bounds, no run ends with
a traceback or an error, and no output holds the text that names and metadata inject.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Event, Thread

import polars as pl
import psutil
from fuzz_mutations import ESCAPE, MARKUP, MUTATIONS, write_good

from resources.storage.layout import DETECTIONS_TABLE, MEDIA_TABLE, PROCESSED_TABLE
from resources.storage.parquet_files import read_parquet

# Bounds of a run: of its largest process, and per mutated file, with the start of the run.
MEMORY_BYTES = 3 * 2**30
START_SECONDS, SECONDS_PER_FILE = 300.0, 15.0
GOOD_SHARE = 4  # one good file for so many mutated ones
TEXT_FILES = (".html", ".csv", ".json", ".geojson", ".xml")


@dataclass(frozen=True)
class Run:
    """A finished run of `munin batch`."""

    code: int
    output: str  # of the terminal
    seconds: float
    peak_bytes: int  # of its largest process


def main() -> int:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = arguments.keep or Path(name)
        problems = fuzz(folder, arguments.seed, arguments.files)
    for problem in problems:
        print(f"FAILED: {problem}")
    return 1 if problems else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--files", type=int, default=1000, help="mutated files")
    parser.add_argument("--keep", type=Path, help="an empty folder for the footage and the results")
    return parser.parse_args()


def fuzz(folder: Path, seed: int, files: int) -> list[str]:
    """Run a camera without and with mutated files; return what is wrong."""
    good = max(5, files // GOOD_SHARE)
    alone, mixed = folder / "without" / "camera", folder / "with" / "camera"
    for number in range(good):
        write_good(alone / "good", number)
        write_good(mixed / "good", number)
    mutated = write_mutated(mixed, seed, files)
    without = run(alone, folder / "results-without", START_SECONDS + SECONDS_PER_FILE * good)
    limit = START_SECONDS + SECONDS_PER_FILE * (good + files)
    found = run(mixed, folder / "results-with", limit)
    print(
        f"seed {seed}: {files} mutated and {good} good files: {found.seconds:.0f} s "
        f"(without: {without.seconds:.0f} s), largest process {found.peak_bytes / 2**20:.0f} MiB"
    )
    if without.code or found.code:
        return [f"exit codes {without.code} and {found.code}: {found.output[-2000:]}"]
    return [
        *problems_of_rows(folder / "results-with", mixed, mutated),
        *problems_of_good_files(folder),
        *problems_of_run(found, folder / "results-with"),
    ]


def write_mutated(footage: Path, seed: int, files: int) -> list[Path]:
    """Write the mutated files of a seed, some next to the good ones and some in folders."""
    paths = []
    for number in range(files):
        random = Random(f"{seed}-{number}")
        mutate = random.choice(MUTATIONS)
        folder = footage / random.choice(("good", "a", "z/b"))
        paths.append(mutate(random, folder, f"{number:05d}-{mutate.__name__}"))
    return paths


def run(footage: Path, output: Path, limit: float) -> Run:
    """Run `munin batch`, with an instance of its own; kill it after `limit` seconds."""
    home = output.with_name(f"{output.name}-home")
    (home / "tmp").mkdir(parents=True)
    environment = {**os.environ, "DAGSTER_HOME": str(home), "TMPDIR": str(home / "tmp")}
    munin = str(Path(sys.executable).parent / "munin")
    command = [munin, "batch", str(footage), str(output), "--one-camera"]
    started, log = time.monotonic(), home / "terminal.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env=environment, stdout=file, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        with _PeakMemory(process.pid) as peak:
            try:
                code = process.wait(limit)
            except subprocess.TimeoutExpired:
                process.terminate()
                process.wait(60)
                code = -1
    text = log.read_text(encoding="utf-8", errors="replace")
    return Run(code, text, time.monotonic() - started, peak.bytes)


class _PeakMemory:
    """Samples the memory of the largest process below another one."""

    def __init__(self, pid: int) -> None:
        self._parent = psutil.Process(pid)
        self._end = Event()
        self._thread = Thread(target=self._sample, daemon=True)
        self.bytes = 0

    def __enter__(self) -> "_PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._end.wait(0.2):
            try:
                for process in self._parent.children(recursive=True):
                    # Without shared memory, which holds the frames.
                    memory = process.memory_info()
                    shared = getattr(memory, "shared", 0)
                    self.bytes = max(self.bytes, memory.rss - shared)
            except psutil.Error:
                continue  # it has exited


def problems_of_rows(output: Path, footage: Path, mutated: list[Path]) -> list[str]:
    """Return the mutated files without a row, or with a row that explains nothing."""
    rows = {row["path"]: row for row in read_parquet(output / PROCESSED_TABLE).to_dicts()}
    problems = []
    for path in mutated:
        row = rows.get(_key(path, footage))
        if row is None:
            problems.append(f"{path.relative_to(footage)!s}: has no row")
        elif row["status"] not in {"done", "failed", "duplicate"}:
            problems.append(f"{path.relative_to(footage)!s}: is {row['status']}")
        elif row["status"] != "done" and not row["reason"]:
            problems.append(f"{path.relative_to(footage)!s}: failed without a reason")
    statuses = Counter(row["status"] for row in rows.values())
    print(f"  rows: {dict(sorted(statuses.items()))}")
    return problems


def _key(path: Path, footage: Path) -> str:
    return path.relative_to(footage).as_posix()


def problems_of_good_files(folder: Path) -> list[str]:
    """Return the tables in which rows of the good files differ between the two runs."""
    problems = []
    for key in (MEDIA_TABLE, PROCESSED_TABLE, DETECTIONS_TABLE):
        with_, without = (
            read_parquet(folder / name / key)
            .filter(pl.col("path").str.contains(r"^good/(?:good|2026)"))
            .drop("modified_ns", strict=False)
            for name in ("results-with", "results-without")
        )
        if not with_.equals(without):
            changed = with_.join(without, on=without.columns, how="anti", nulls_equal=True)
            problems.append(f"{key}: {changed.height} rows of good files differ: {changed.head(3)}")
    return problems


def problems_of_run(found: Run, output: Path) -> list[str]:
    """Return what is wrong with the run's memory, and with what it wrote and printed."""
    problems = []
    if found.peak_bytes > MEMORY_BYTES:
        problems.append(f"a process took {found.peak_bytes / 2**20:.0f} MiB")
    if "Traceback" in found.output:
        problems.append(f"a traceback: {found.output[-2000:]}")
    if "munin-fuzz\x07" in found.output or ESCAPE in found.output:
        problems.append("the terminal got an injected control sequence")
    for path in (each for each in output.rglob("*") if each.suffix in TEXT_FILES):
        text = path.read_text(encoding="utf-8", errors="replace")
        if ESCAPE in text:
            problems.append(f"{path.relative_to(output)}: holds a control sequence")
        if path.suffix == ".html" and MARKUP in text:
            problems.append(f"{path.relative_to(output)}: holds injected markup")
    return problems


if __name__ == "__main__":
    sys.exit(main())
