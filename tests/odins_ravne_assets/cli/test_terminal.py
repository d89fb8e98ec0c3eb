"""Terminal output: the table of visits, progress bars, warnings."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer
from paths import ROOT
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.cli import job, terminal
from odins_ravne_assets.munin.tables.schemas import OBSERVATIONS
from odins_ravne_assets.runs.process_pool import CameraRun
from resources.storage.transfer.download import TransferProgress

VISIT: dict[str, Any] = {
    "camera_id": "demo-camera",
    "species": "Egyptian cat",
    "scientific_name": "Felis catus",
    "start_at": datetime(2026, 5, 14, 21, 40, 12),
    "end_at": datetime(2026, 5, 14, 21, 40, 24),
    "frame_count": 2,
    "max_confidence": 0.876,
    "needs_review": False,
}

Show = Callable[..., list[str]]


@pytest.fixture
def show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Show:
    """Print visits, each given by its differences to VISIT; return the lines."""

    def show(*differences: dict[str, Any], width: int = 80) -> list[str]:
        rows = [VISIT | difference for difference in differences]
        pl.DataFrame(rows, schema=OBSERVATIONS).write_parquet(tmp_path / "observations.parquet")
        console = Console(width=width, record=True, highlight=False)
        monkeypatch.setattr(terminal, "out", console)
        terminal.print_visits([tmp_path])
        return [line.rstrip() for line in console.export_text().splitlines()]

    return show


def test_a_visit_is_a_line_with_the_scientific_name_below(show: Show) -> None:
    assert show({}) == [
        "1 visit",
        "camera      species      when                           frames confidence review",
        "─" * 80,
        "demo-camera Egyptian cat 2026-05-14 21:40:12 – 21:40:24      2       0.88",
        "            Felis catus",
    ]


def test_a_visit_without_duration_has_one_time(show: Show) -> None:
    line = show({"end_at": VISIT["start_at"]})[3]
    assert " 2026-05-14 21:40:12   " in line
    assert "–" not in line


def test_a_visit_over_the_end_of_summer_time_has_both_offsets(show: Show) -> None:
    _, _, _, first, second = show(
        {
            "start_at": datetime(2026, 10, 25, 2, 58),
            "end_at": datetime(2026, 10, 25, 2, 1),
            "utc_offset_minutes": 120,
            "end_utc_offset_minutes": 60,
        }
    )
    assert "2026-10-25 02:58:00+02:00 –" in first
    assert "2026-10-25 02:01:00+01:00" in second


def test_a_visit_past_midnight_has_both_dates(show: Show) -> None:
    _, _, _, first, second = show({"end_at": datetime(2026, 5, 15, 0, 1, 10)})
    assert "2026-05-14 21:40:12 –" in first
    assert "2026-05-15 00:01:10" in second


def test_a_visit_without_a_time_says_so(show: Show) -> None:
    assert " unknown " in show({"start_at": None, "end_at": None})[3]


def test_visits_to_review_are_marked(show: Show) -> None:
    assert show({"needs_review": True})[3].endswith(" yes")


@pytest.mark.parametrize("width", [72, 80, 120])
def test_long_names_fold_and_times_stay_whole(show: Show, width: int) -> None:
    camera = "Tai-transect-12-camera-192-north-of-the-river"
    species = {"species": "white-tailed deer", "scientific_name": "Odocoileus virginianus"}
    lines = show({"camera_id": camera, **species}, width=width)
    assert "2026-05-14 21:40:12 – 21:40:24      2       0.88" in lines[3]
    assert "".join(line.split(" ")[0] for line in lines[3:]) == camera
    assert "…" not in "".join(lines)


def test_a_narrow_terminal_shows_a_list_that_fits(show: Show) -> None:
    overnight = {"end_at": datetime(2026, 5, 15, 0, 1, 10), "needs_review": True}
    assert show({}, overnight, width=40) == [
        "2 visits",
        "demo-camera: Egyptian cat",
        "  2026-05-14 21:40:12 – 21:40:24",
        "  frames 2, confidence 0.88",
        "demo-camera: Egyptian cat",
        "  2026-05-14 21:40:12 –",
        "  2026-05-15 00:01:10",
        "  frames 2, confidence 0.88, to review",
    ]
    lines = show({"camera_id": "a-long-name-" * 6}, width=40)
    assert max(map(len, lines)) <= 40
    assert "…" not in "".join(lines)


@pytest.mark.parametrize("width", [40, 120])
def test_markup_in_names_is_escaped(show: Show, width: int) -> None:
    assert "[red]cat[/red]" in "\n".join(show({"species": "[red]cat[/red]"}, width=width))


def test_the_table_is_short_and_counts_the_rows_that_it_leaves_out(show: Show) -> None:
    lines = show(*[{}] * 23)
    assert lines[0] == "23 visits"
    assert sum("21:40:12" in line for line in lines) == terminal.MAX_VISITS_SHOWN
    assert lines[-1] == "… and 3 more, in the files below"


def test_no_visits_need_no_table(show: Show) -> None:
    assert show() == ["0 visits"]


COST = {"line": "cost so far $0.1200, about $0.3000 and 5 min to go", "short": "$0.1200 of $0.4200"}


WARNING = "the GPU is not used: its driver supports CUDA 12.4, [13.0] is needed"


def bars_of_a_camera(monkeypatch: pytest.MonkeyPatch, is_terminal: bool, width: int = 120) -> str:
    """The output for a camera in Stage 1, with warnings and a cost."""
    shown = StringIO()
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=shown, force_terminal=is_terminal, width=width, highlight=False)
    monkeypatch.setattr(terminal, "err", console)
    with terminal.ProgressBars() as bars:
        bars.on_progress("cam", {"stage": "detections", "done": 3, "total": 9, "unit": "media"})
        for text in (WARNING, WARNING, "2014: not read this time"):
            bars.on_warning("cam", text)
        bars.on_cost("cam", COST)
    return shown.getvalue()


def test_the_cost_is_next_to_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    output = bars_of_a_camera(monkeypatch, is_terminal=True)
    assert "3/9 media" in output
    assert "$0.1200 of $0.4200" in output


def test_the_progress_of_a_camera_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    output = bars_of_a_camera(monkeypatch, is_terminal=True, width=40)
    lines = [line for line in Text.from_ansi(output).plain.splitlines() if "%" in line]
    assert lines
    assert all("cam" in line and "detecting" in line and "33 %" in line for line in lines)
    assert max(len(line.rstrip()) for line in lines) <= 40


def test_without_a_terminal_the_cost_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bars_of_a_camera(monkeypatch, is_terminal=False).splitlines() == [
        "cam: detecting",
        f"warning: cam: {WARNING}",
        "warning: cam: 2014: not read this time",
        "cam: cost so far $0.1200, about $0.3000 and 5 min to go",
    ]


class Log:
    """Standard error as a file, and the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        self.now = 1000.0
        self._file = StringIO()
        monkeypatch.setattr(terminal, "err", Console(file=self._file, highlight=False, **options))
        monkeypatch.setattr(terminal, "monotonic", lambda: self.now)

    def lines(self) -> list[str]:
        return self._file.getvalue().splitlines()


def test_without_a_terminal_progress_is_a_line_every_half_minute_and_at_the_end_of_a_stage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Log(monkeypatch)
    with terminal.ProgressBars() as bars:

        def report(stage: str, done: int, total: int | None = 900, camera: str = "north") -> None:
            progress = {"stage": stage, "done": done, "total": total, "unit": "media"}
            bars.on_progress(camera, progress)

        report("footage", 0, None)
        report("footage", 900, None)
        for seconds in range(65):  # at 0, 30 and 60 seconds
            log.now = 2000.0 + seconds
            report("detections", seconds)
        report("detections", 900)
        report("detections", 3, 4, camera="south")
        report("exports", 0)
        camera = Camera("north", "file:///card", "file:///results")
        bars.on_end(CameraRun(camera, status="SUCCESS"))
    assert log.lines() == [
        "north: reading footage",
        "north: reading footage: 900 media",
        "north: detecting",
        "north: detecting: 30/900 media",
        "north: detecting: 60/900 media",
        "south: detecting",
        "north: detecting: 900/900 media",
        "north: writing exports",
        "north: writing exports: 0/900 media",
    ]


def test_an_error_that_all_cameras_have_is_printed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(monkeypatch)
    with terminal.ProgressBars() as bars:
        for name, error in (("a", "t.csv, line 2: x"), ("b", "t.csv, line 2: x"), ("c", "y")):
            camera = Camera(name, f"file:///cards/{name}", f"file:///results/{name}")
            bars.on_end(CameraRun(camera, status="FAILURE", error=error))
    assert log.lines() == [
        "error: camera a: t.csv, line 2: x",
        "error: camera b: the same error as camera a",
        "error: camera c: y",
    ]


def test_without_a_terminal_a_download_is_a_line_every_half_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Log(monkeypatch)
    with terminal.TransferBar() as bar:
        for seconds in range(61):
            log.now = 1000.0 + seconds
            progress = TransferProgress(9, 120_000_000, bytes=seconds * 1_000_000)
            bar.on_progress(progress)
    assert log.lines() == [
        "downloading results: 30 of 120 MB",
        "downloading results: 60 of 120 MB",
    ]


PRINT = """
from odins_ravne_assets.cli import terminal
with terminal.ProgressBars() as bars:
    bars.on_progress("cam", {"stage": "detections", "done": 3, "total": 9, "unit": "media"})
    bars.on_decision("cam", "starts a job")
terminal.print_error("no such camera")
"""


def printed(environment: dict[str, str], in_terminal: bool) -> str:
    """Standard error of a process that prints progress and an error."""
    command = [sys.executable, "-c", PRINT]
    variables = os.environ | {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
    variables = {k: v for k, v in variables.items() if k not in {"NO_COLOR", "FORCE_COLOR"}}
    if not in_terminal:
        run = subprocess.run(command, env=variables | environment, check=True, capture_output=True)
        return run.stderr.decode()
    reader, writer = pty.openpty()
    with os.fdopen(reader, "rb", buffering=0) as output:
        process = subprocess.Popen(command, env=variables | environment, stderr=writer)
        os.close(writer)
        data = b""
        with suppress(OSError):  # the end of a terminal
            while chunk := output.read(4096):
                data += chunk
        assert process.wait(60) == 0
    return data.decode()


COLOR = re.compile(r"\x1b\[[\d;]*\b(3[0-8]|4[0-8]|9[0-7])[\d;]*m")


def test_no_color_is_respected_in_a_terminal() -> None:
    assert COLOR.search(printed({}, in_terminal=True))
    without = printed({"NO_COLOR": "1"}, in_terminal=True)
    assert "no such camera" in without
    assert not COLOR.search(without)


@pytest.mark.parametrize("environment", [{}, {"FORCE_COLOR": "1"}])
def test_a_file_gets_no_bars_and_no_cursor_movement(environment: dict[str, str]) -> None:
    output = printed(environment, in_terminal=False)
    plain = re.sub(r"\x1b\[[\d;]*m", "", output)  # colors, which FORCE_COLOR asks for
    assert plain.splitlines() == [
        "cam: detecting",
        "cam: starts a job",
        "error: no such camera",
    ]


def test_a_terminal_without_cursor_movement_gets_lines() -> None:
    output = printed({"TERM": "dumb"}, in_terminal=True)
    assert output.split("\r\n")[:2] == ["cam: detecting", "cam: starts a job"]


@pytest.mark.parametrize(
    ("reasons", "line"),
    [
        ({"not a [JPEG]": 2}, "north: 2 of 9 media could not be used: not a [JPEG]"),
        (
            {"not a JPEG": 1, "decoder crashed": 1},
            "north: 2 of 9 media could not be used; the reasons are in stage3/report.json, "
            "failed_by_reason",
        ),
    ],
)
def test_a_single_reason_of_failed_media_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reasons: dict[str, int], line: str
) -> None:
    report = {"totals": {"failed": 2, "media": 9}, "failed_by_reason": reasons}
    (tmp_path / "report.json").write_text(json.dumps(report))
    console = Console(width=80, record=True, highlight=False)
    monkeypatch.setattr(terminal, "err", console)
    job.print_unused_media("north", tmp_path)
    assert console.export_text().splitlines() == [line]


def a_command() -> typer.Typer:
    """An app whose command does what its argument says."""
    app = typer.Typer()

    @app.command()
    def act(what: str, number: int = 0) -> None:
        if what == "stop":
            signal.raise_signal(signal.SIGINT)
        if what == "fail":
            raise typer.Exit(3)

    return app


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["work", "more\x1b[31m"], 2, r"more\x1b[31m"),
        (["--no\x1b[31m"], 2, r"--no\x1b[31m"),
        (["stop"], 130, "stopped; run the same command again to continue"),
        (["fail"], 3, ""),
        (["work"], 0, ""),
    ],
)
def test_messages_of_typer_are_printable_and_ctrl_c_says_what_to_do(
    words: list[str],
    code: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["act", *words])
    monkeypatch.setenv("COLUMNS", "100")
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as ended:
            terminal.run_app(a_command())
    finally:
        signal.signal(signal.SIGINT, before)
    printed = capfd.readouterr().err
    assert ended.value.code == code
    assert text in printed and "\x1b]" not in printed and "\x1b[31m" not in printed


PATH = "/media/card/" + "a folder with a long name/" * 12 + "IMG_0001.JPG"


@pytest.mark.parametrize("console", [terminal.out, terminal.err])
def test_no_line_is_broken_in_a_pipe(
    console: terminal.PrintableConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever prints it: text, a line in bold, a table."""
    monkeypatch.setattr(console, "has_given_width", False)
    table = Table("camera", Column("folder", overflow="fold"))
    table.add_row("north", PATH)
    with console.capture() as printed:
        console.print(PATH)
        console.print(f"[bold]{PATH}")
        console.print(table)
    assert printed.get().count(PATH) == 3
    assert max(map(len, printed.get().splitlines())) < len(PATH) + 30


def test_a_width_that_is_set_holds_in_a_pipe_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    console = terminal.PrintableConsole()
    with console.capture() as printed:
        console.print("word " * 40)
    assert max(map(len, printed.get().splitlines())) <= 60
