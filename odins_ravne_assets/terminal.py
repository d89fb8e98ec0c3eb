"""What the command line shows: progress, the table of visits, errors."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from odins_ravne_assets.camera_runs import CameraRun

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

STAGES = {
    "footage": "reading footage",
    "detections": "detecting",
    "classifications": "classifying",
    "observations": "finding visits",
}
# Visits that the table at the end shows; all of them are in the files it names.
SHOWN = 20


class ProgressBars:
    """A bar for each camera in a terminal, a line for each stage elsewhere."""

    def __init__(self) -> None:
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[camera]}"),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=err,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._stages: dict[str, str] = {}

    def __enter__(self) -> "ProgressBars":
        if err.is_terminal:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if err.is_terminal:
            self._bars.stop()

    def progress(self, camera_id: str, progress: Mapping[str, Any]) -> None:
        """See camera_runs.Watcher."""
        stage = STAGES[progress["stage"]]
        if self._stages.get(camera_id) != stage:
            self._stages[camera_id] = stage
            if not err.is_terminal:
                err.print(f"{escape(camera_id)}: {stage}")
            if camera_id in self._tasks:
                self._bars.remove_task(self._tasks[camera_id])
            self._tasks[camera_id] = self._bars.add_task(
                stage, camera=escape(camera_id), unit=progress["unit"], total=progress["total"]
            )
        self._bars.update(
            self._tasks[camera_id], completed=progress["done"], total=progress["total"]
        )

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
        err.print("Stopping: media in hand are finished first. Ctrl-C again ends it at once.")


def print_error(message: str) -> None:
    """One line for the user."""
    err.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)


def print_visits(stage3_folders: Sequence[Path]) -> None:
    """A short table of the visits of some cameras."""
    visits: list[dict[str, Any]] = []
    for folder in stage3_folders:
        visits += json.loads((folder / "compressed_observations.json").read_text("utf-8"))
    table = Table(title=f"{len(visits)} visits", title_justify="left")
    for heading in ("camera", "species", "start", "end"):
        table.add_column(heading)
    for heading in ("frames", "confidence"):
        table.add_column(heading, justify="right")
    table.add_column("review")
    for visit in visits[:SHOWN]:
        table.add_row(
            escape(visit["camera_id"]),
            escape(_name(visit)),
            visit["start_time"] or "unknown",
            visit["end_time"] or "unknown",
            str(visit["frame_count"]),
            f"{visit['max_confidence']:.2f}",
            "yes" if visit["needs_review"] else "",
        )
    out.print(table)
    if len(visits) > SHOWN:
        out.print(f"… and {len(visits) - SHOWN} more, in the files below")


def _name(visit: Mapping[str, Any]) -> str:
    scientific = visit["scientific_name"]
    return f"{visit['species']} ({scientific})" if scientific else str(visit["species"])
