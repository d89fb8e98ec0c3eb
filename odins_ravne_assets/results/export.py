"""Export the results of several cameras, local or on S3, as one project."""

from collections.abc import Iterator
from pathlib import Path

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.cameras.deployments import with_deployments
from odins_ravne_assets.cameras.results_store import store_opener
from odins_ravne_assets.hugin.exports.export import export_project
from resources.errors import UsageError
from resources.settings.profile import Profile
from resources.storage.layout import (
    CAMTRAP_DP_FOLDER,
    MEGADETECTOR_FILE,
    OBSERVATIONS_CSV,
    OBSERVATIONS_PARQUET,
)


def export_cameras(cameras: list[Camera], profile: Profile, folder: Path) -> Iterator[str]:
    """Write a project's exports into a folder, and yield lines that describe them.

    Raises:
        UsageError: there is no camera, or a table of deployments cannot be read.
        StoreError: a camera's table is missing or damaged; names the stage to run.
    """
    if not cameras:
        raise UsageError("there are no cameras yet; run `munin batch INPUT OUTPUT` first")
    store_of = store_opener(profile)
    stores = [(each.camera_id, store_of(each.output_url)) for each in cameras]
    project = with_deployments(profile, cameras).project
    exported = export_project(stores, folder, project, profile.privacy)
    yield f"{exported.observations} visits of {len(cameras)} cameras:"
    yield f"  {folder / MEGADETECTOR_FILE}"
    yield f"  {folder / OBSERVATIONS_CSV}"
    yield f"  {folder / OBSERVATIONS_PARQUET}"
    if exported.camtrap_dp is None:
        yield f"no Camtrap DP: {exported.camtrap_dp_error}"
        return
    yield f"  {folder / CAMTRAP_DP_FOLDER}"
    if any(exported.camtrap_dp):
        yield (
            "left out of Camtrap DP (no time, or outside of all deployments): "
            f"{exported.camtrap_dp.media} media, {exported.camtrap_dp.observations} visits"
        )
