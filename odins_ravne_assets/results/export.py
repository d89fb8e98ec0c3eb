"""`munin export`: the results of several cameras, here or on S3, as one project."""

from collections.abc import Iterator
from pathlib import Path

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.cameras.deployments import with_deployments
from odins_ravne_assets.cameras.results_store import store_opener
from odins_ravne_assets.hugin.exports.export import (
    CAMTRAP_DP_FOLDER,
    MEGADETECTOR_FILE,
    OBSERVATIONS_CSV,
    OBSERVATIONS_PARQUET,
    export_project,
)
from resources.errors import UsageError
from resources.settings.profile import Profile


def export_cameras(cameras: list[Camera], profile: Profile, folder: Path) -> Iterator[str]:
    """Write a project's exports into a folder, and tell what was written.

    Raises:
        UsageError: there is no camera, or a table of deployments cannot be read.
        StoreError: a camera's table is missing or damaged; names the stage to run.
    """
    if not cameras:
        raise UsageError("no camera is known yet; `munin batch INPUT OUTPUT` makes the first")
    store_of = store_opener(profile)
    stores = [(each.camera_id, store_of(each.output_url)) for each in cameras]
    project = with_deployments(profile, cameras).project
    made = export_project(stores, folder, project, profile.privacy)
    yield f"{made.visits} visits of {len(cameras)} cameras:"
    yield f"  {folder / MEGADETECTOR_FILE}"
    yield f"  {folder / OBSERVATIONS_CSV}"
    yield f"  {folder / OBSERVATIONS_PARQUET}"
    if made.camtrap_dp is None:
        yield f"no Camtrap DP: {made.why_no_camtrap_dp}"
        return
    yield f"  {folder / CAMTRAP_DP_FOLDER}"
    if any(made.camtrap_dp):
        yield (
            f"left out of Camtrap DP, for they have no time or lie outside of all deployments: "
            f"{made.camtrap_dp.media} media, {made.camtrap_dp.visits} visits"
        )
