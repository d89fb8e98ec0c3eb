"""Terminal output of the commands: progress bars, the table of visits, log lines, errors."""

import os
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta, timezone
from io import TextIOWrapper
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import typer
from rich import box
from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType
from rich.constrain import Constrain
from rich.markup import escape
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text
from typer.rich_utils import rich_format_error

from odins_ravne_assets.runs.process_pool import EXIT_INTERRUPTED, CameraRun
from resources.errors import RavneError
from resources.printable import printable
from resources.storage.layout import OBSERVATIONS_PARQUET
from resources.storage.transfer.download import TransferProgress

# Characters in a line of a pipe: more than a path has.
PIPE_WIDTH = 10_000


class PrintableConsole(Console):
    """A console that escapes control characters in everything that it prints.

    Those of names, labels and errors; its own colors and movements of the cursor stay. In a pipe
    or a file no line is broken: other programs read the paths in it. COLUMNS sets a width there.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.has_given_width = "width" in options or os.environ.get("COLUMNS", "").isdigit()

    @property  # type: ignore[misc] # nothing sets it
    def size(self) -> ConsoleDimensions:
        """Return width and height in characters."""
        found = super().size
        if not self.has_given_width and not self.file.isatty():
            return ConsoleDimensions(PIPE_WIDTH, found.height)
        return found

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of a renderable, with printable text."""
        for segment in super().render(renderable, options):
            yield (
                segment
                if segment.control
                else Segment(printable(segment.text, lines=True), segment.style)
            )


out = PrintableConsole(highlight=False)
# No bars in a file, also not where FORCE_COLOR asks for colors in it.
err = PrintableConsole(
    stderr=True, highlight=False, force_interactive=None if sys.stderr.isatty() else False
)

# The base of Typer's usage errors, which Typer does not export.
CLICK_ERROR: Any = next(
    each for each in typer.BadParameter.__mro__ if each.__name__ == "ClickException"
)

STAGE_TITLES = {
    "footage": "reading footage",
    "staging": "copying to S3",
    "detections": "detecting",
    "classifications": "classifying",
    "observations": "finding visits",
    "exports": "writing exports",
}
# Rows of the table of visits; the files that are printed below it have all visits.
MAX_VISITS_SHOWN = 20
VISIT_COLUMNS = [
    "camera_id",
    "species",
    "scientific_name",
    "start_at",
    "end_at",
    "utc_offset_minutes",
    "end_utc_offset_minutes",
    "frame_count",
    "max_confidence",
    "needs_review",
]
DATE_FORMAT, TIME_FORMAT = "%Y-%m-%d", "%H:%M:%S"
# Columns of a terminal below which names do not fit next to times.
MIN_TABLE_WIDTH = 72
# Seconds between two lines on the progress of a camera, where there are no bars.
LINE_INTERVAL_SECONDS = 30.0


class _Bars(Progress):
    """Bars that leave room for ^C at the right edge.

    A terminal echoes ^C at the cursor. At the edge it would wrap to the next line, and the bars
    that are drawn now would not be erased.
    """

    def get_renderable(self) -> RenderableType:
        return Constrain(super().get_renderable(), err.width - len("^C^C "))


def _bar_columns() -> list[ProgressColumn]:
    camera = "{task.fields[camera]}"
    if err.width < MIN_TABLE_WIDTH:
        return [
            SpinnerColumn(),
            TextColumn(camera, table_column=Column(max_width=11, no_wrap=True)),
            TextColumn("{task.description}"),
            TextColumn("{task.fields[percent]}", justify="right"),
        ]
    return [
        SpinnerColumn(),
        TextColumn(camera, table_column=Column(max_width=24, no_wrap=True)),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}", justify="right"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.fields[cost]}"),
    ]


class ProgressLines:
    """Lines on the progress of cameras, where a bar cannot be redrawn: a log, a pipe."""

    def __init__(self) -> None:
        self._current: dict[str, tuple[str, str]] = {}  # stage and count, by camera
        self._printed: dict[str, tuple[float, str]] = {}  # time and text of the latest line

    def update(self, camera_id: str, stage: str, count: str) -> None:
        """Print a line if the stage is new, or the latest line is old."""
        if self._current.get(camera_id, ("", ""))[0] != stage:
            self.end_stage(camera_id)
            self._print(camera_id, stage)
        self._current[camera_id] = stage, count
        if count and monotonic() - self._printed[camera_id][0] >= LINE_INTERVAL_SECONDS:
            self._print(camera_id, f"{stage}: {count}")

    def end_stage(self, camera_id: str) -> None:
        """Print the final count of the camera's stage, if it has one."""
        stage, count = self._current.pop(camera_id, ("", ""))
        if count:
            self._print(camera_id, f"{stage}: {count}")

    def _print(self, camera_id: str, text: str) -> None:
        if self._printed.get(camera_id, (0.0, ""))[1] != text:
            err.print(f"{escape(camera_id)}: {text}", soft_wrap=True)
        self._printed[camera_id] = monotonic(), text


class ProgressBars:
    """A bar for each camera in a terminal, lines elsewhere."""

    def __init__(self) -> None:
        self._bars = _Bars(*_bar_columns(), console=err, transient=True)
        self._lines = ProgressLines()
        self._starting: TaskID | None = None
        self._tasks: dict[str, TaskID] = {}
        self._stages: dict[str, str] = {}
        self._costs: dict[str, str] = {}
        self._warned: set[tuple[str, str]] = set()  # camera, text
        self._errors: dict[str | None, str] = {}  # the first camera with each
        self._stopping = False

    def __enter__(self) -> "ProgressBars":
        if err.is_interactive:
            self._starting = self._bars.add_task(
                "starting", camera="", count="", percent="", left="", cost="", total=None
            )
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if err.is_interactive:
            self._bars.stop()

    def on_progress(self, camera_id: str, progress: Mapping[str, Any]) -> None:
        """See RunListener."""
        if self._starting is not None:
            self._bars.remove_task(self._starting)
            self._starting = None
        stage = STAGE_TITLES[progress["stage"]]
        done, total, unit = progress["done"], progress["total"], progress["unit"]
        count = f"{done}/{total} {unit}" if total else f"{done} {unit}" if done else ""
        if not err.is_interactive:
            self._lines.update(camera_id, stage, count)
            return
        if self._stages.get(camera_id) != stage:
            self._stages[camera_id] = stage
            if camera_id in self._tasks:
                self._bars.remove_task(self._tasks[camera_id])
            self._tasks[camera_id] = self._bars.add_task(
                stage,
                camera=escape(camera_id),
                count="",
                percent="",
                left="",
                cost=self._costs.get(camera_id, ""),
                total=None,
            )
        self._bars.update(
            self._tasks[camera_id],
            completed=done,
            total=total,
            count=count,
            percent=f"{100 * done // total} %" if total else str(done or ""),
            left="left" if total else "",
        )

    def on_decision(self, camera_id: str, text: str) -> None:
        """See RunListener."""
        err.print(f"{escape(camera_id)}: {escape(text)}", style="dim", soft_wrap=True)

    def on_warning(self, camera_id: str, text: str) -> None:
        """See RunListener. The workers of several stages may send the same warning."""
        if (camera_id, text) not in self._warned:
            self._warned.add((camera_id, text))
            err.print(f"warning: {escape(camera_id)}: {escape(text)}", soft_wrap=True)

    def on_cost(self, camera_id: str, cost: Mapping[str, str]) -> None:
        """See RunListener."""
        self._costs[camera_id] = cost["short"]
        if camera_id in self._tasks:
            self._bars.update(self._tasks[camera_id], cost=self._costs[camera_id])
        if not err.is_interactive:
            err.print(f"{escape(camera_id)}: {cost['line']}", style="dim", soft_wrap=True)

    def on_end(self, run: CameraRun) -> None:
        """See RunListener."""
        self._lines.end_stage(run.camera.camera_id)
        task = self._tasks.pop(run.camera.camera_id, None)
        if task is not None:
            self._bars.remove_task(task)
        if run.status == "FAILURE":
            first = self._errors.setdefault(run.error, run.camera.camera_id)
            again = first != run.camera.camera_id
            text = f"the same error as camera {first}" if again else run.error
            print_error(f"camera {run.camera.camera_id}: {text}")
        elif not run.succeeded:
            err.print(
                f"{escape(run.camera.camera_id)}: stopped; run the same command again to continue"
            )

    def on_interrupt(self) -> None:
        """See RunListener."""
        if self._stopping:
            err.print("Ending now. Finished work is saved.")
        else:
            err.print("Stopping after the media in progress. Press Ctrl-C again to end now.")
        self._stopping = True


class TransferBar:
    """A progress bar of a download; lines without a terminal."""

    def __init__(self, title: str = "downloading results") -> None:
        self._title = title
        self._bar = _Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=err,
            transient=True,
            disable=not err.is_interactive,
        )
        self._printed_at = monotonic()
        self._task = self._bar.add_task(title, total=None)

    def __enter__(self) -> "TransferBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def on_progress(self, progress: TransferProgress) -> None:
        """See OnProgress of `transfer.download`."""
        self.on_bytes(progress.bytes, progress.total_bytes)

    def on_bytes(self, done: int, total: int | None) -> None:
        """Show the bytes that are there, and the total if it is known."""
        self._bar.update(self._task, completed=done, total=total)
        if not err.is_interactive and monotonic() - self._printed_at >= LINE_INTERVAL_SECONDS:
            self._printed_at = monotonic()
            of_total = f" of {total / 1e6:.0f}" if total else ""
            err.print(f"{self._title}: {done / 1e6:.0f}{of_total} MB")


def run_app(app: typer.Typer) -> None:
    """Run a command; print an expected error, or a failed import, as one line, and exit.

    After Ctrl-C a command ends with a line and exit code 130, unless it handles the signal itself.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        # Some terminals lack letters, and file names need not be valid text.
        sys.stdout.reconfigure(errors="backslashreplace")
    interrupts: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        code = _run(app)
        if interrupts and code == EXIT_INTERRUPTED:
            print_log("stopped; run the same command again to continue")
        sys.exit(code)
    except RavneError as error:
        print_error(str(error))
        sys.exit(error.exit_code)
    except ImportError as error:  # a dependency is missing, or lacks a library of the system
        print_error(f"{error}; run munin doctor")
        sys.exit(1)


def _run(app: typer.Typer) -> int:
    """Run a command, and return its exit code; a usage error is printed without control codes."""
    try:
        code = app(standalone_mode=False)
    except CLICK_ERROR as error:
        text = printable(error.format_message(), lines=True)
        error.format_message = lambda: text
        rich_format_error(error)
        return int(error.exit_code)
    except typer.Abort:
        print_log("aborted")
        return 1
    return code if isinstance(code, int) else 0


def print_log(text: str) -> None:
    """Print a log line to standard error."""
    err.print(text, soft_wrap=True, markup=False)


def print_error(message: str) -> None:
    """Print an error, in one line."""
    err.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)


def print_visits(stage3_folders: Sequence[Path]) -> None:
    """Print a short table of the visits of cameras, in each camera's own time."""
    # polars takes half a second, for which `munin --help` need not wait.
    import polars as pl

    from odins_ravne_assets.munin.tables.parquet_io import scan_table
    from odins_ravne_assets.munin.tables.schemas import OBSERVATIONS

    tables = [scan_table(folder / OBSERVATIONS_PARQUET, OBSERVATIONS) for folder in stage3_folders]
    visits = pl.concat(table.select(VISIT_COLUMNS) for table in tables)
    total = visits.select(pl.len()).collect().item()
    out.print(f"{total} visit{'s' * (total != 1)}")
    rows = visits.head(MAX_VISITS_SHOWN).collect().iter_rows(named=True)
    if total and out.width < MIN_TABLE_WIDTH:
        _print_visit_list(rows)
    elif total:
        out.print(_visits_table(rows))
    if total > MAX_VISITS_SHOWN:
        out.print(f"… and {total - MAX_VISITS_SHOWN} more, in the files below")


def _visits_table(visits: Iterable[Mapping[str, Any]]) -> Table:
    """Return a table that fits MIN_TABLE_WIDTH; long names are folded."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0, pad_edge=False)
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
            _when(visit),
            str(visit["frame_count"]),
            f"{visit['max_confidence']:.2f}",
            "yes" if visit["needs_review"] else "",
        )
    return table


def _print_visit_list(visits: Iterable[Mapping[str, Any]]) -> None:
    """Print three lines for each visit, for a narrow terminal."""
    for visit in visits:
        out.print(Text.assemble(f"{visit['camera_id']}: ", printable(visit["species"])))
        review = ", to review" if visit["needs_review"] else ""
        counts = f"frames {visit['frame_count']}, confidence {visit['max_confidence']:.2f}{review}"
        for line in (_when(visit), counts):
            out.print(Padding(line, (0, 0, 0, 2)))


def _species(visit: Mapping[str, Any]) -> Text:
    """Return the common name, with the scientific one below it."""
    name = Text(printable(visit["species"]))  # escaped before the table measures it
    if visit["scientific_name"]:
        name.append(f"\n{printable(visit['scientific_name'])}", style="italic dim")
    return name


def _when(visit: Mapping[str, Any]) -> str:
    """Return start and end, without repeating an equal date or time; with offsets that differ."""
    start, end = visit["start_at"], visit["end_at"]
    if start is None or end is None:
        return "unknown"
    offsets = visit["utc_offset_minutes"], visit["end_utc_offset_minutes"]
    if None not in offsets and offsets[0] != offsets[1]:
        zones = [timezone(timedelta(minutes=minutes)) for minutes in offsets]
        texts = [
            each.replace(tzinfo=zone).isoformat(" ", "seconds")
            for each, zone in zip((start, end), zones, strict=True)
        ]
        return " –\n".join(texts)
    first, last = f"{start:{DATE_FORMAT} {TIME_FORMAT}}", f"{end:{DATE_FORMAT} {TIME_FORMAT}}"
    if first == last:
        return first
    if start.date() == end.date():
        return f"{first} – {end:{TIME_FORMAT}}"
    return f"{first} –\n{last}"
