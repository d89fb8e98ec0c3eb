"""Terminal output: the table of visits, progress bars, warnings."""

from collections.abc import Callable
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from odins_ravne_assets.cli import terminal
from odins_ravne_assets.munin.tables.schemas import OBSERVATIONS

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


def test_a_visit_past_midnight_has_both_dates(show: Show) -> None:
    _, _, _, first, second = show({"end_at": datetime(2026, 5, 15, 0, 1, 10)})
    assert "2026-05-14 21:40:12 –" in first
    assert "2026-05-15 00:01:10" in second


def test_a_visit_without_a_time_says_so(show: Show) -> None:
    assert " unknown " in show({"start_at": None, "end_at": None})[3]


def test_visits_to_review_are_marked(show: Show) -> None:
    assert show({"needs_review": True})[3].endswith(" yes")


@pytest.mark.parametrize("width", [40, 72, 80, 120])
def test_long_names_fold_and_times_stay_whole(show: Show, width: int) -> None:
    camera = "Tai-transect-12-camera-192-north-of-the-river"
    species = {"species": "white-tailed deer", "scientific_name": "Odocoileus virginianus"}
    lines = show({"camera_id": camera, **species}, width=width)
    assert "2026-05-14 21:40:12 – 21:40:24      2       0.88" in lines[3]
    assert "".join(line.split(" ")[0] for line in lines[3:]) == camera
    assert "…" not in "".join(lines)


def test_markup_in_names_is_escaped(show: Show) -> None:
    assert "[red]cat[/red]" in "\n".join(show({"species": "[red]cat[/red]"}, width=120))


def test_the_table_is_short_and_counts_the_rows_that_it_leaves_out(show: Show) -> None:
    lines = show(*[{}] * 23)
    assert lines[0] == "23 visits"
    assert sum("21:40:12" in line for line in lines) == terminal.MAX_VISITS_SHOWN
    assert lines[-1] == "… and 3 more, in the files below"


def test_no_visits_need_no_table(show: Show) -> None:
    assert show() == ["0 visits"]


COST = {"line": "cost so far $0.1200, about $0.3000 and 5 min to go", "short": "$0.1200 of $0.4200"}


WARNING = "the GPU is not used: its driver supports CUDA 12.4, [13.0] is needed"


def bars_of_a_camera(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> str:
    """The output for a camera in Stage 1, with warnings and a cost."""
    shown = StringIO()
    console = Console(file=shown, force_terminal=is_terminal, width=120, highlight=False)
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


def test_without_a_terminal_the_cost_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bars_of_a_camera(monkeypatch, is_terminal=False).splitlines() == [
        "cam: detecting",
        f"warning: cam: {WARNING}",
        "warning: cam: 2014: not read this time",
        "cam: cost so far $0.1200, about $0.3000 and 5 min to go",
    ]
