"""Deployments of cameras: those of the profile, or of a table next to the footage.

The table is `deployments.csv` or `deployments.xlsx`: in `uploads.url` for cameras whose footage is
uploaded there, for others in the folder above the camera's.
"""

import difflib
from collections.abc import Collection, Iterable
from posixpath import dirname

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.cameras.results_store import store_of
from resources.errors import UsageError
from resources.settings.camera_ids import suggest_camera_id
from resources.settings.deployments import TABLE_COLUMNS, Deployment, arrange_deployments
from resources.settings.profile import Profile
from resources.settings.table_models import parse_rows
from resources.storage.local_store import local_path
from resources.storage.object_store import S3_SCHEME
from resources.storage.open_store import display_url

DEPLOYMENTS_FILES = ("deployments.csv", "deployments.xlsx")


def profile_for_camera(profile: Profile, camera: Camera) -> Profile:
    """Return the profile with the deployments and clock corrections of this camera alone.

    A change of another camera's row then does not change this camera's launch.

    Raises:
        UsageError: the table next to the footage cannot be read; names the line.
        StoreError: the store refuses.
    """
    rows = _rows(_folders_of(camera, profile), profile)
    stage0 = profile.pipeline.stage0
    own = tuple(each for each in stage0.clock_corrections if each.camera_id == camera.camera_id)
    stage0 = stage0.model_copy(update={"clock_corrections": own})
    # Without their lines, which change with rows of other cameras.
    mine = tuple(
        row.model_copy(update={"table": "", "line": 0})
        for row in rows
        if row.cameraID == camera.camera_id
    )
    return profile.model_copy(
        update={
            "pipeline": profile.pipeline.model_copy(update={"stage0": stage0}),
            "project": profile.project.model_copy(update={"deployments": mine}),
        }
    )


def with_deployments(profile: Profile, cameras: Iterable[Camera]) -> Profile:
    """Return the profile with the rows of all tables that apply to these cameras, or to uploads.

    Raises: see `profile_for_camera`.
    """
    of_cameras = (folder for camera in cameras for folder in _folders_of(camera, profile))
    folders = [_uploads(profile), *of_cameras]
    project = profile.project.model_copy(update={"deployments": _rows(folders, profile)})
    return profile.model_copy(update={"project": project})


def _rows(folders: Iterable[str | None], profile: Profile) -> tuple[Deployment, ...]:
    """Return the rows with valid camera ids: tables name cameras with spaces and accents."""
    rows: Iterable[Deployment] = profile.project.deployments
    if not rows:
        distinct = dict.fromkeys(folder for folder in folders if folder)
        rows = _without_copies(row for folder in distinct for row in _read(folder, profile))
    named = [
        row.model_copy(update={"cameraID": suggest_camera_id(row.cameraID) or row.cameraID})
        for row in profile.project.in_its_zone(rows)
    ]
    try:
        return arrange_deployments(named)  # again, as two names may be one id
    except ValueError as error:
        raise UsageError(str(error)) from None


def _without_copies(rows: Iterable[Deployment]) -> list[Deployment]:
    """Leave out the rows of a copy of a table in another folder."""
    found: list[Deployment] = []
    tables: dict[str, set[str]] = {}
    for row in rows:
        content = row.model_copy(update={"table": "", "line": 0}).model_dump_json()
        others = (known for table, known in tables.items() if table != row.table)
        if not any(content in known for known in others):
            found.append(row)
        tables.setdefault(row.table, set()).add(content)
    return found


def unknown_cameras(
    rows: Iterable[Deployment], known: Collection[str]
) -> list[tuple[Deployment, str | None]]:
    """Return the first row of each camera that is not known, in order of their ids.

    Returns:
        The row, and the known camera without a row that it probably means; None: no name is close.
    """
    first: dict[str, Deployment] = {}
    for row in rows:
        first.setdefault(row.cameraID, row)
    without_row = {each.casefold(): each for each in known if each not in first}
    found = []
    for camera_id in sorted(first.keys() - set(known)):
        close = difflib.get_close_matches(camera_id.casefold(), without_row, n=1, cutoff=0.75)
        found.append((first[camera_id], without_row[close[0]] if close else None))
    return found


def _uploads(profile: Profile) -> str | None:
    url = profile.uploads.url
    if not url:
        return None
    if not url.startswith(S3_SCHEME):
        return local_path(url).as_uri()
    return url.rstrip("/") if profile.cloud else None


def _folders_of(camera: Camera, profile: Profile) -> list[str | None]:
    """Return the URLs of the folders that may hold a table for this camera; None where there is no
    such folder, or this profile cannot reach it."""
    return [_folder_of(footage, profile) for footage in camera.places]


def _folder_of(footage: str, profile: Profile) -> str | None:
    footage, uploads = footage.rstrip("/"), _uploads(profile)
    if uploads and f"{footage}/".startswith(f"{uploads}/"):
        return uploads
    if footage.startswith(S3_SCHEME) and profile.cloud is None:
        return None
    above = dirname(footage)
    return above if "://" in above else None  # the footage is a whole bucket


def _read(folder: str, profile: Profile) -> list[Deployment]:
    store = store_of(folder, profile)
    found = [name for name in DEPLOYMENTS_FILES if store.exists(name)]
    if not found:
        return []
    if len(found) > 1:
        raise UsageError(
            f"{display_url(folder)}: holds {' and '.join(found)}; delete or rename one of the two"
        )
    try:
        rows = parse_rows(
            Deployment,
            store.read_bytes(found[0]),
            f"{display_url(folder)}/{found[0]}",
            TABLE_COLUMNS,
            arrange_deployments,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    return list(rows)
