"""What the command line shows: progress, the table of visits, errors."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.console import Console, RenderableType
from rich.constrain import Constrain
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column, Table
from rich.text import Text

from odins_ravne_assets.runs.process_pool import CameraRun
from resources.errors import RavneError
from resources.storage.transfer.download import TransferProgress

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

STAGE_TITLES = {
    "footage": "reading footage",
    "staging": "copying to S3",
    "detections": "detecting",
    "classifications": "classifying",
    "observations": "finding visits",
    "exports": "writing exports",
}
# Visits that the table at the end shows; all of them are in the files it names.
SHOWN = 20
VISIT_COLUMNS = [
    "camera_id",
    "species",
    "scientific_name",
    "start_at",
    "end_at",
    "frame_count",
    "max_confidence",
    "needs_review",
]
DAY, CLOCK = "%Y-%m-%d", "%H:%M:%S"
# Columns of a terminal below which the names would have no room beside the times.
NARROWEST = 72


class _Bars(Progress):
    """Bars that leave room at the edge.

    A terminal writes ^C where the cursor stands. At the edge that would go to the next line, and
    what is drawn now would stay for good.
    """

    def get_renderable(self) -> RenderableType:
        return Constrain(super().get_renderable(), err.width - len("^C^C "))


class ProgressBars:
    """A bar for each camera in a terminal, a line for each stage elsewhere."""

    def __init__(self) -> None:
        self._bars = _Bars(
            SpinnerColumn(),
            TextColumn("{task.fields[camera]}", table_column=Column(max_width=24, no_wrap=True)),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[count]}", justify="right"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[cost]}"),
            console=err,
            transient=True,
        )
        self._starting: TaskID | None = None
        self._tasks: dict[str, TaskID] = {}
        self._stages: dict[str, str] = {}
        self._costs: dict[str, str] = {}
        self._warned: set[tuple[str, str]] = set()  # camera, and of what
        self._stopping = False

    def __enter__(self) -> "ProgressBars":
        if err.is_terminal:
            self._starting = self._bars.add_task(
                "starting", camera="", count="", left="", cost="", total=None
            )
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if err.is_terminal:
            self._bars.stop()

    def progress(self, camera_id: str, progress: Mapping[str, Any]) -> None:
        """See camera_runs.Watcher."""
        if self._starting is not None:
            self._bars.remove_task(self._starting)
            self._starting = None
        stage = STAGE_TITLES[progress["stage"]]
        if self._stages.get(camera_id) != stage:
            self._stages[camera_id] = stage
            if not err.is_terminal:
                err.print(f"{escape(camera_id)}: {stage}")
            if camera_id in self._tasks:
                self._bars.remove_task(self._tasks[camera_id])
            self._tasks[camera_id] = self._bars.add_task(
                stage,
                camera=escape(camera_id),
                count="",
                left="",
                cost=self._costs.get(camera_id, ""),
                total=None,
            )
        done, total, unit = progress["done"], progress["total"], progress["unit"]
        self._bars.update(
            self._tasks[camera_id],
            completed=done,
            total=total,
            count=f"{done}/{total} {unit}" if total else f"{done} {unit}" if done else "",
            left="left" if total else "",
        )

    def decided(self, camera_id: str, text: str) -> None:
        """See camera_runs.Watcher."""
        err.print(f"{escape(camera_id)}: {escape(text)}", style="dim", soft_wrap=True)

    def warned(self, camera_id: str, text: str) -> None:
        """See camera_runs.Watcher. Each stage has a worker of its own, which may say the same."""
        if (camera_id, text) not in self._warned:
            self._warned.add((camera_id, text))
            err.print(f"warning: {escape(camera_id)}: {escape(text)}", soft_wrap=True)

    def cost(self, camera_id: str, told: Mapping[str, str]) -> None:
        """See camera_runs.Watcher."""
        self._costs[camera_id] = told["short"]
        if camera_id in self._tasks:
            self._bars.update(self._tasks[camera_id], cost=self._costs[camera_id])
        if not err.is_terminal:
            err.print(f"{escape(camera_id)}: {told['line']}", style="dim", soft_wrap=True)

    def ended(self, run: CameraRun) -> None:
        """See camera_runs.Watcher."""
        task = self._tasks.pop(run.camera.camera_id, None)
        if task is not None:
            self._bars.remove_task(task)
        if run.status == "FAILURE":
            print_error(f"camera {run.camera.camera_id}: {run.error}")
        elif not run.succeeded:
            err.print(
                f"{escape(run.camera.camera_id)}: stopped; run the same command again to go on"
            )

    def stopping(self) -> None:
        """See camera_runs.Watcher."""
        if self._stopping:
            err.print("Ending at once. What is finished is kept.")
        else:
            err.print("Stopping: media in hand are finished first. Ctrl-C again ends it at once.")
        self._stopping = True


class TransferBar:
    """A bar for files on their way to this machine; in a terminal alone."""

    def __init__(self) -> None:
        self._bar = _Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self._task = self._bar.add_task("taking results home", total=None)

    def __enter__(self) -> "TransferBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def told(self, brought: TransferProgress) -> None:
        """See bringing.OnProgress."""
        self._bar.update(self._task, completed=brought.bytes, total=brought.total_bytes)


def run_app(app: typer.Typer) -> None:
    """Run a command. An expected error is one line, and its `exit_code` that of the process."""
    if isinstance(sys.stdout, TextIOWrapper):
        # Not every terminal has every letter, and file names need not be valid text.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except RavneError as error:
        print_error(str(error))
        sys.exit(error.exit_code)


def say(step: str) -> None:
    """One line on what is being done."""
    err.print(step, soft_wrap=True, markup=False)


def print_error(message: str) -> None:
    """One line for the user."""
    err.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)


def print_unused_media(camera_id: str, stage3: Path) -> None:
    """How many media of a camera could not be used, if any, and where the reasons are.

    Args:
        stage3: the camera's folder of that name.
    """
    totals = json.loads((stage3 / "report.json").read_text(encoding="utf-8"))["totals"]
    if totals["failed"]:
        err.print(
            f"{escape(camera_id)}: {totals['failed']} of {totals['media']} media could not be "
            "used; failed_by_reason in stage3/report.json says why",
            soft_wrap=True,
        )


def print_visits(stage3_folders: Sequence[Path]) -> None:
    """A short table of the visits of some cameras, in the cameras' own time."""
    import polars as pl  # takes half a second, for which `munin --help` need not wait

    tables = [pl.scan_parquet(folder / "observations.parquet") for folder in stage3_folders]
    visits = pl.concat(tables).select(VISIT_COLUMNS)
    total = visits.select(pl.len()).collect().item()
    out.print(f"{total} visit{'s' * (total != 1)}")
    if total:
        # A table that a line cannot hold goes on in the next; a time that is cut off is no time.
        out.print(_visits_table(visits.head(SHOWN).collect().iter_rows(named=True)), crop=False)
    if total > SHOWN:
        out.print(f"… and {total - SHOWN} more, in the files below")


def _visits_table(visits: Iterable[Mapping[str, Any]]) -> Table:
    """Fits a terminal of 80 columns: where it is narrow, the names are folded."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0, pad_edge=False)
    table.width = None if out.width >= NARROWEST else NARROWEST
    table.add_column("camera", overflow="fold")
    table.add_column("species", overflow="fold")
    table.add_column("when", no_wrap=True)
    table.add_column("frames", justify="right", no_wrap=True)
    table.add_column("confidence", justify="right", no_wrap=True)
    table.add_column("review", no_wrap=True)
    for visit in visits:
        table.add_row(
            escape(visit["camera_id"]),
            _species(visit),
            _when(visit["start_at"], visit["end_at"]),
            str(visit["frame_count"]),
            f"{visit['max_confidence']:.2f}",
            "yes" if visit["needs_review"] else "",
        )
    return table


def _species(visit: Mapping[str, Any]) -> Text:
    """The common name, and the scientific one below it."""
    name = Text(visit["species"])
    if visit["scientific_name"]:
        name.append(f"\n{visit['scientific_name']}", style="italic dim")
    return name


def _when(start: datetime | None, end: datetime | None) -> str:
    """From when to when; the date and the time once where they are the same."""
    if start is None or end is None:
        return "unknown"
    first, last = f"{start:{DAY} {CLOCK}}", f"{end:{DAY} {CLOCK}}"
    if first == last:
        return first
    if start.date() == end.date():
        return f"{first} – {end:{CLOCK}}"
    return f"{first} –\n{last}"
