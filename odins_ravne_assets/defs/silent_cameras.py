"""Which cameras have sent nothing for long: a check on `footage`, over all cameras at once.

Dagster's freshness policies are per asset: one living camera would keep all others fresh.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from odins_ravne_assets.cameras.catalog import CameraCatalog
from odins_ravne_assets.cameras.deployments import with_deployments
from resources.settings.dagster_resource import RunSettings
from resources.settings.profile import Profile
from resources.settings.project import Deployment

# What `footage` says of the newest medium, see worker/asset_metadata.py.
NEWEST_TIME_KEY = "time/last"
SILENT_CAMERA_COLUMNS = dg.TableSchema([dg.TableColumn("camera"), dg.TableColumn("newest picture")])


@dg.asset_check(
    asset="footage",
    name="no_camera_is_silent",
    description="Every camera that stands somewhere has taken a picture within "
    "uploads.silent_days, and every deployment has footage. A camera whose deployment has ended "
    "is retired, not silent.",
)
def no_camera_is_silent(
    context: dg.AssetCheckExecutionContext,
    settings: RunSettings,
    catalog: dg.ResourceParam[CameraCatalog],
) -> dg.AssetCheckResult:
    cameras = catalog.list()
    profile = with_deployments(settings.load(), cameras)
    newest = {camera.camera_id: _newest(context.instance, camera.camera_id) for camera in cameras}
    silent = silent_cameras(newest, profile, datetime.now())
    records = [dg.TableRecord({"camera": name, "newest picture": when}) for name, when in silent]
    return dg.AssetCheckResult(
        passed=not silent,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(f"{name}: nothing since {when}" for name, when in silent[:5]),
        metadata={
            "cameras/silent": len(silent),
            "cameras/known": len(newest),
            "cameras/which": dg.MetadataValue.table(records, SILENT_CAMERA_COLUMNS),
        },
    )


def silent_cameras(
    newest: Mapping[str, datetime | None], profile: Profile, now: datetime
) -> list[tuple[str, str]]:
    """The cameras that are silent, and since when, the longest silent first.

    A camera that only the table of deployments knows is silent since it was put up, also when it
    was taken down meanwhile: its card is missing.

    Args:
        newest: by known camera, when its newest picture was taken, by its own clock; None: not
            known.
    """
    since = now - timedelta(days=profile.uploads.silent_days)
    stays = _stays(profile)
    retired = {
        camera for camera, some in stays.items() if all(_is_over(stay, now) for stay in some)
    }
    found = [
        (when or datetime.min, name)
        for name, when in newest.items()
        if name not in retired and (when is None or when < since)
    ]
    silent = [
        (when, name, "the beginning" if when == datetime.min else f"{when:%Y-%m-%d %H:%M}")
        for when, name in found
    ]
    for name in stays.keys() - newest.keys():
        put_up = min(stay.starts or datetime.min for stay in stays[name])
        if datetime.min < put_up < since:
            silent.append((put_up, name, f"it was put up on {put_up:%Y-%m-%d}: no footage yet"))
    return [(name, told) for _, name, told in sorted(silent)]


def _stays(profile: Profile) -> dict[str, list[Deployment]]:
    stays: dict[str, list[Deployment]] = {}
    for row in profile.project.deployments:
        stays.setdefault(row.cameraID, []).append(row)
    return stays


def _is_over(stay: Deployment, now: datetime) -> bool:
    return stay.ends is not None and stay.ends <= now


def _newest(instance: dg.DagsterInstance, camera_id: str) -> datetime | None:
    records = dg.AssetRecordsFilter(asset_key=dg.AssetKey("footage"), asset_partitions=[camera_id])
    found = instance.fetch_materializations(records, limit=1).records
    event = found[0].asset_materialization if found else None
    told: Any = event.metadata.get(NEWEST_TIME_KEY) if event else None
    try:
        return datetime.fromisoformat(str(told.value)) if told else None
    except ValueError:
        return None  # no picture of it has a time
