"""The check for silent cameras, without new footage for days: on `footage`, over all cameras.

Dagster's freshness policies are per asset: one active camera would keep all others fresh.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from odins_ravne_assets.cameras.catalog import CameraCatalog
from odins_ravne_assets.cameras.deployments import with_deployments
from odins_ravne_assets.cameras.register import DELETED_PARTITION, CameraRegister
from resources.settings.dagster_resource import RunSettings
from resources.settings.deployments import Deployment
from resources.settings.profile import Profile

# The metadata key of the newest capture time, see worker/asset_metadata.py.
NEWEST_TIME_KEY = "time/last"
SILENT_CAMERA_COLUMNS = dg.TableSchema([dg.TableColumn("camera"), dg.TableColumn("newest picture")])


@dg.asset_check(
    asset="footage",
    name="no_camera_is_silent",
    description="Every deployed camera has taken a picture within "
    "uploads.silent_days, and every deployment has footage. A camera whose deployment has ended "
    "is retired, not silent.",
)
def no_camera_is_silent(
    context: dg.AssetCheckExecutionContext,
    settings: RunSettings,
    catalog: dg.ResourceParam[CameraCatalog],
) -> dg.AssetCheckResult:
    for camera_id in CameraRegister(catalog, context.instance).forget_deleted():
        context.log.warning(f"{camera_id}: {DELETED_PARTITION}")
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
    """Return the silent cameras and since when, the longest silent first.

    A camera that is only in the table of deployments is silent since its deployment began, also
    after the deployment has ended: its card is missing.

    Args:
        newest: by known camera, the time of its newest picture by its own clock; None: unknown.
    """
    since = now - timedelta(days=profile.uploads.silent_days)
    deployments = _deployments(profile)
    retired = {
        camera
        for camera, some in deployments.items()
        if all(_is_over(deployment, now) for deployment in some)
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
    for name in deployments.keys() - newest.keys():
        began = min(deployment.starts or datetime.min for deployment in deployments[name])
        if datetime.min < began < since:
            silent.append(
                (began, name, f"its deployment began on {began:%Y-%m-%d}: no footage yet")
            )
    return [(name, text) for _, name, text in sorted(silent)]


def _deployments(profile: Profile) -> dict[str, list[Deployment]]:
    deployments: dict[str, list[Deployment]] = {}
    for row in profile.project.deployments:
        deployments.setdefault(row.cameraID, []).append(row)
    return deployments


def _is_over(deployment: Deployment, now: datetime) -> bool:
    return deployment.ends is not None and deployment.ends <= now


def _newest(instance: dg.DagsterInstance, camera_id: str) -> datetime | None:
    records = dg.AssetRecordsFilter(asset_key=dg.AssetKey("footage"), asset_partitions=[camera_id])
    found = instance.fetch_materializations(records, limit=1).records
    event = found[0].asset_materialization if found else None
    value: Any = event.metadata.get(NEWEST_TIME_KEY) if event else None
    try:
        return datetime.fromisoformat(str(value.value)) if value else None
    except ValueError:
        return None  # no picture of it has a time
