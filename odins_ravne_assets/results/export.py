"""Export the results of several cameras, local or on S3, as one project."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.cameras.deployments import unknown_cameras, with_deployments
from odins_ravne_assets.cameras.results_store import store_opener
from odins_ravne_assets.hugin.exports.camtrap_dp import ExcludedCounts
from odins_ravne_assets.hugin.exports.export import export_project
from odins_ravne_assets.results.project_paths import project_folders
from resources.errors import UsageError
from resources.settings.profile import Profile
from resources.storage.layout import (
    CAMTRAP_DP_FOLDER,
    MEGADETECTOR_FILE,
    OBSERVATIONS_CSV,
    OBSERVATIONS_PARQUET,
    OBSERVATIONS_TABLE,
    OBSERVATIONS_XLSX,
)
from resources.storage.open_store import display_url

MAX_NAMED = 5  # cameras in an error


def export_cameras(
    cameras: Sequence[Camera], profile: Profile, folder: Path, whole_project: bool = False
) -> Iterator[str]:
    """Write a project's exports into a folder, and yield lines that describe them.

    Cameras without results are left out, with a line.

    Args:
        whole_project: the cameras are all that are known; deployments of further cameras, which
            recorded nothing, are part of the project too.

    Raises:
        UsageError: there is no camera with results, or a table of deployments cannot be read.
        StoreError: a camera's table is missing or damaged; names the stage to run.
    """
    if not cameras:
        raise UsageError("there are no cameras yet; run `munin batch INPUT OUTPUT` first")
    store_of = store_opener(profile)
    stores = [(each.camera_id, store_of(each.output_url)) for each in cameras]
    with_results = [pair for pair in stores if pair[1].exists(OBSERVATIONS_TABLE)]
    without = [camera_id for camera_id, _ in stores if camera_id not in dict(with_results)]
    if not with_results:
        raise UsageError(
            f"no results of camera {', '.join(without[:MAX_NAMED])} yet; run "
            "`munin batch INPUT OUTPUT` first"
        )
    for camera_id, store in stores:
        if camera_id in without:
            yield f"camera {camera_id} is left out: no results yet in {display_url(store.url)}"
    project = with_deployments(profile, cameras).project
    rows = unknown_cameras(project.deployments, dict(with_results)) if whole_project else []
    silent = {row.cameraID: row for row, meant in rows if not meant}
    for row, meant in rows:
        if meant:
            yield (
                f"{row.where}: cameraID {row.cameraID} is no camera with results, did you mean "
                f"{meant}? Its deployments are left out"
            )
    folders = project_folders([each for each in cameras if each.camera_id not in without], store_of)
    exported = export_project(with_results, folder, project, profile.privacy, silent, folders)
    number = len(with_results)
    visits = f"{exported.observations} visit{'s' * (exported.observations != 1)}"
    yield f"{visits} of {number} camera{'s' * (number != 1)}:"
    yield f"  {folder / MEGADETECTOR_FILE}"
    yield from (f"  {folder / name}" for name in (OBSERVATIONS_XLSX, OBSERVATIONS_CSV))
    yield f"  {folder / OBSERVATIONS_PARQUET}"
    if exported.camtrap_dp is None:
        yield f"no Camtrap DP: {exported.camtrap_dp_error}"
    else:
        yield f"  {folder / CAMTRAP_DP_FOLDER}"
        yield from _left_out(exported.camtrap_dp)
        for row in silent.values():
            yield (
                f"{row.where}: camera {row.cameraID} has no results; its deployments are in "
                "Camtrap DP"
            )
    yield from exported.remarks


def _left_out(excluded: ExcludedCounts) -> Iterator[str]:
    if excluded.media or excluded.observations:
        yield (
            "left out of Camtrap DP (no time, or outside of all deployments): "
            f"{excluded.media} media, {excluded.observations} visits"
        )
    if excluded.deployments:
        yield (
            "left out of Camtrap DP (no media, and no deploymentStart or no deploymentEnd): "
            f"{excluded.deployments} deployments"
        )
