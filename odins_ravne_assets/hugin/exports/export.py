"""The exports of a camera, and of a project of several.

    megadetector.json    MegaDetector JSON 1.6
    camtrap-dp/          Camtrap DP 1.0.2
    observations.csv     the visits, for a spreadsheet

A camera's lie in `stage3/` of its output. Parquet is `stage3/observations.parquet`.
"""

import shutil
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from odins_ravne_assets.hugin.exports.camtrap_dp import TABLES, LeftOut, write_camtrap_dp
from odins_ravne_assets.hugin.exports.observations_csv import write_visits_csv
from odins_ravne_assets.hugin.exports.deployments import NotExportableError
from odins_ravne_assets.hugin.exports.export_tables import ExportedCamera, camera_results
from odins_ravne_assets.hugin.exports.megadetector import write_megadetector_json
from resources.settings.profile import Privacy
from resources.settings.project import Project
from resources.storage.layout import STAGE3_FOLDER
from resources.storage.object_store import ObjectStore

MEGADETECTOR = "megadetector.json"
MEGADETECTOR_JSON = f"{STAGE3_FOLDER}/{MEGADETECTOR}"
VISITS = "observations.csv"
PARQUET = "observations.parquet"
CAMTRAP_DP = "camtrap-dp"
PACKAGE = tuple(
    f"{CAMTRAP_DP}/{name}" for name in (*(f"{t}.csv" for t in TABLES), "datapackage.json")
)


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        visits: rows of observations.csv.
        camtrap_dp: what the package could not hold; None: there is no package.
        why_no_camtrap_dp: the fact that is missing for one.
    """

    visits: int
    camtrap_dp: LeftOut | None
    why_no_camtrap_dp: str | None


def export_camera(
    store: ObjectStore,
    camera_id: str,
    project: Project,
    privacy: Privacy,
    made: ObjectStore | None = None,
) -> Exported:
    """Write a camera's exports into `stage3/` of its output.

    Args:
        store: the camera's output, with `tables/`.
        project, privacy: what is told of the project, and what is kept back.
        made: where Stage 3 put its results, and exports go; the same when not given.

    Raises:
        StoreError: a table is missing, damaged or of another version; or the store refuses.
    """
    target = made or store
    with ExitStack() as stack:
        results = stack.enter_context(camera_results(store, target, camera_id))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="munin-exports-")))
        exported = _write([results], folder, project, privacy, folders=False)
        for name in (MEGADETECTOR, VISITS, *PACKAGE):
            key, file = f"{STAGE3_FOLDER}/{name}", folder / name
            if file.exists():
                with target.writing(key) as path:
                    shutil.copyfile(file, path)
            else:
                target.delete(key)  # of a run that knew more
    return exported


def export_project(
    cameras: Iterable[tuple[str, ObjectStore]], folder: Path, project: Project, privacy: Privacy
) -> Exported:
    """Write the exports of some cameras, as one, into a folder of this machine.

    Args:
        cameras: camera id and output of each.

    Raises:
        StoreError: see `export_camera`.
    """
    with ExitStack() as stack:
        results = [
            stack.enter_context(camera_results(store, store, name)) for name, store in cameras
        ]
        folder.mkdir(parents=True, exist_ok=True)
        exported = _write(results, folder, project, privacy, folders=True)
        visits = pl.concat(each.observations for each in _told(results, privacy))
        visits.write_parquet(folder / PARQUET)
        return exported


def _told(cameras: list[ExportedCamera], privacy: Privacy) -> list[ExportedCamera]:
    return [each.without_people() for each in cameras] if privacy.leave_out_people else cameras


def _write(
    cameras: list[ExportedCamera], folder: Path, project: Project, privacy: Privacy, folders: bool
) -> Exported:
    told = _told(cameras, privacy)
    write_megadetector_json(told, folder / MEGADETECTOR, folders)
    visits = pl.concat(camera.observations for camera in told)
    write_visits_csv(visits, folder / VISITS)
    (folder / CAMTRAP_DP).mkdir(exist_ok=True)
    try:
        left_out = write_camtrap_dp(told, folder / CAMTRAP_DP, project, privacy)
    except NotExportableError as error:
        shutil.rmtree(folder / CAMTRAP_DP)
        return Exported(visits.height, None, str(error))
    return Exported(visits.height, left_out, None)
