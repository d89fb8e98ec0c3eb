"""`munin status`: the last run and the results of each camera."""

import json
from collections.abc import Sequence
from datetime import datetime

import dagster as dg
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.cameras.results_store import OpenStore, store_opener
from odins_ravne_assets.cameras.selection import S3
from odins_ravne_assets.cli.terminal import out
from odins_ravne_assets.databases.locked import opened_instance
from odins_ravne_assets.munin.workload.used_settings import differ_from_profile
from odins_ravne_assets.runs.liveness import close_dead_runs
from resources.errors import ModelError, StoreError
from resources.settings.profile import Profile
from resources.storage.layout import REPORT_JSON
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import display_url
from resources.storage.stored_json import REPORT_REMEDY, reading_json_object

Row = tuple[str, str, str, str, str, str, str]
Counts = tuple[str, str, str]
# Between the number of media and that of a camera's sources, if it has several.
IN_SOURCES = " in "
# Of results that are made with other models or settings than the profile's.
OLDER = "older"
OLDER_REMARK = (
    f"{OLDER}: these results are made with other models or settings than the profile's, and new "
    "media are too; munin plan --update shows the cost of processing all media again"
)
PAGE_SIZE = 500  # runs
# The assets and metadata keys of the numbers of media, failed media and visits.
RECORDED = (
    ("footage", "media/files"),
    ("detections", "media/failed"),
    ("observations", "visits/total"),
)
RUN_TIME = "%Y-%m-%d %H:%M"  # local
UNLIMITED = 10_000  # characters
HEADINGS = ("camera", "last run", "media", "failed", "visits", "settings", "results")


def camera_status(cameras: Sequence[Camera], profile: Profile) -> tuple[list[Row], list[str]]:
    """Return a row for each camera, and remarks on results that cannot be read.

    Returns:
        Rows of id, last run, media, failed, visits, OLDER or nothing, and the location of the
        results; remarks.
    """
    rows, remarks = [], []
    store_of = store_opener(profile)
    with opened_instance() as instance:
        close_dead_runs(instance)
        last_runs = _last_runs(instance, {camera.camera_id for camera in cameras})
        for camera in cameras:
            counts: Counts = ("", "", "")
            settings = ""
            try:
                recorded = (
                    _recorded_counts(instance, camera.camera_id)
                    if _is_out_of_reach(camera, profile)
                    else None
                )
                if recorded:
                    counts = recorded
                else:
                    store = _open(camera, profile, store_of)
                    counts = _counts(store)
                    settings = OLDER if differ_from_profile(store, profile) else ""
            except StoreError as error:
                remarks.append(f"{camera.camera_id}: {error}")
            except ModelError as error:  # of the profile
                remarks.append(str(error))
            last = last_runs.get(camera.camera_id, "none")
            url = display_url(camera.output_url)
            rows.append((camera.camera_id, last, *counts, settings, url))
    if any(OLDER in row for row in rows):
        remarks.append(OLDER_REMARK)
    return rows, list(dict.fromkeys(remarks))


def status_json(rows: Sequence[Row], remarks: Sequence[str]) -> str:
    """Return the rows and remarks of `camera_status` as JSON, for other programs.

    Counts are numbers, null if unknown; `sources` is 1 unless the results have several. `last_run`
    is null if there was none, and its time has the offset of this machine.
    """
    cameras = []
    for camera_id, last, media, failed, visits, settings, location in rows:
        state, _, when = last.partition(" ")
        at = datetime.strptime(when, RUN_TIME).astimezone().isoformat() if when else None
        media, _, sources = media.partition(IN_SOURCES)
        in_sources = sources.split(" ")[0] or (media and "1")
        counts = {"media": media, "sources": in_sources, "failed": failed, "visits": visits}
        cameras.append(
            {
                "camera": camera_id,
                "last_run": {"status": state, "at": at} if at else None,
                **{name: int(count) if count else None for name, count in counts.items()},
                "settings": settings or None,
                "results": location,
            }
        )
    content = {"cameras": cameras, "remarks": list(remarks)}
    # Escaped characters, since the terminal's own escapes of control characters are not JSON.
    return json.dumps(content, indent=1)


def print_status(rows: Sequence[Row]) -> None:
    """Print the rows of `camera_status` as a table.

    Locations of results that do not fit are below it, one a line, so that they can be copied.
    """
    wide = _table(HEADINGS, rows)
    unlimited = out.options.update(max_width=UNLIMITED)
    if Measurement.get(out, unlimited, wide).maximum <= out.width:
        out.print(wide)
        return
    out.print(_table(HEADINGS[:-1], [row[:-1] for row in rows]))
    for camera_id, *_, location in rows:
        out.print(f"{camera_id}: {location}", soft_wrap=True, markup=False)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table()
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _last_runs(instance: dg.DagsterInstance, cameras: set[str]) -> dict[str, str]:
    """Return status and date of each camera's last run.

    It reads runs by pages: a query for each of a thousand cameras takes a minute.
    """
    last: dict[str, str] = {}
    cursor = None
    while len(last) < len(cameras):
        page = instance.get_run_records(limit=PAGE_SIZE, cursor=cursor)
        for record in page:
            run = record.dagster_run
            camera = run.tags.get("dagster/partition", "")
            if camera in cameras and camera not in last:
                when = record.create_timestamp.astimezone().strftime(RUN_TIME)
                last[camera] = f"{run.status.value} {when}"
            cursor = run.run_id
        if len(page) < PAGE_SIZE:
            break
    return last


def _is_out_of_reach(camera: Camera, profile: Profile) -> bool:
    return camera.output_url.startswith(S3) and profile.cloud is None


def _recorded_counts(instance: dg.DagsterInstance, camera_id: str) -> Counts | None:
    """The counts that the camera's last run from this machine recorded; None: it has none."""
    found = []
    for asset, key in RECORDED:
        wanted = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[camera_id])
        records = instance.fetch_materializations(wanted, limit=1).records
        made = records[0].asset_materialization if records else None
        value = made.metadata.get(key) if made else None
        if value is None:
            return None
        found.append(str(value.value))
    media, failed, visits = found
    return media, failed, visits


def _open(camera: Camera, profile: Profile, store_of: OpenStore) -> ObjectStore:
    """Open a camera's results.

    Raises:
        StoreError: the profile cannot reach them.
    """
    if not _is_out_of_reach(camera, profile):
        return store_of(camera.output_url)
    raise StoreError("its results are on S3; name a cloud profile to count them")


def _counts(store: ObjectStore) -> Counts:
    """Return the numbers of media, failed media and visits of the last report.

    Raises:
        StoreError: the results cannot be read.
    """
    if not store.exists(REPORT_JSON):
        return "", "", ""
    with reading_json_object(store, REPORT_JSON, REPORT_REMEDY) as report:
        totals = report["totals"]
        media = str(totals["media"])
        if sources := report.get("sources"):
            media = f"{media}{IN_SOURCES}{len(sources)} sources"
        return media, str(totals["failed"]), str(totals["observations"])
