"""What `munin status` tells of each camera."""

import json
from collections.abc import Sequence

import dagster as dg
from dagster import RunsFilter

from odins_ravne_assets.cameras import Camera
from odins_ravne_assets.results_here import store_of
from odins_ravne_assets.run_process import close_dead_runs
from odins_ravne_assets.which_cameras import S3, shown
from resources.errors import StoreError
from resources.profile import Profile

Row = tuple[str, str, str, str, str, str]
Counts = tuple[str, str, str]
REPORT = "stage3/report.json"


def camera_status(cameras: Sequence[Camera], profile: Profile) -> tuple[list[Row], list[str]]:
    """A row for each camera, and what could not be looked into.

    Returns:
        Rows: id, last run, media, failed, visits, where the results are; and remarks.
    """
    rows, remarks = [], []
    with dg.DagsterInstance.get() as instance:
        close_dead_runs(instance)
        for camera in cameras:
            counts: Counts = ("", "", "")
            try:
                counts = _counts(camera, profile)
            except StoreError as error:
                remarks.append(f"{camera.camera_id}: {error}")
            last = _last_run(instance, camera)
            rows.append((camera.camera_id, last, *counts, shown(camera.output_url)))
    return rows, remarks


def _last_run(instance: dg.DagsterInstance, camera: Camera) -> str:
    filters = RunsFilter(tags={"dagster/partition": camera.camera_id})
    records = instance.get_run_records(filters, limit=1)
    if not records:
        return "none"
    when = records[0].create_timestamp.astimezone().strftime("%Y-%m-%d %H:%M")
    return f"{records[0].dagster_run.status.value} {when}"


def _counts(camera: Camera, profile: Profile) -> Counts:
    """Media, failed media and visits of the last report.

    Raises:
        StoreError: the results cannot be reached.
    """
    if camera.output_url.startswith(S3) and profile.cloud is None:
        raise StoreError("its results lie on S3; name a cloud profile to have them counted")
    store = store_of(camera.output_url, profile)
    if not store.exists(REPORT):
        return "", "", ""
    totals = json.loads(store.read_bytes(REPORT))["totals"]
    return str(totals["media"]), str(totals["failed"]), str(totals["observations"])
