"""What `munin status` tells of each camera."""

import json
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from dagster import RunsFilter

from odins_ravne_assets.cameras import Camera
from odins_ravne_assets.run_camera import close_dead_runs
from resources.object_store import local_path


def camera_status(cameras: Sequence[Camera]) -> list[tuple[str, str, str, str, str, str]]:
    """A row for each camera: id, last run, media, failed, visits, where the results are."""
    with dg.DagsterInstance.get() as instance:
        return [_row(instance, camera) for camera in cameras]


def _row(instance: dg.DagsterInstance, camera: Camera) -> tuple[str, str, str, str, str, str]:
    close_dead_runs(instance, camera.camera_id)
    filters = RunsFilter(tags={"dagster/partition": camera.camera_id})
    records = instance.get_run_records(filters, limit=1)
    last = "none"
    if records:
        when = records[0].create_timestamp.astimezone().strftime("%Y-%m-%d %H:%M")
        last = f"{records[0].dagster_run.status.value} {when}"
    folder = local_path(camera.output_url)
    return (camera.camera_id, last, *_counts(folder), str(folder))


def _counts(output: Path) -> tuple[str, str, str]:
    report = output / "stage3" / "report.json"
    if not report.is_file():
        return "", "", ""
    totals = json.loads(report.read_text(encoding="utf-8"))["totals"]
    return str(totals["media"]), str(totals["failed"]), str(totals["observations"])
