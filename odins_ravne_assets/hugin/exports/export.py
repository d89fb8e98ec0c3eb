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

from odins_ravne_assets.hugin.exports.camtrap_dp import (
    CAMTRAP_DP_TABLES,
    ExcludedCounts,
    write_camtrap_dp,
)
from odins_ravne_assets.hugin.exports.deployments import NotExportableError
from odins_ravne_assets.hugin.exports.export_tables import ExportTables, open_export_tables
from odins_ravne_assets.hugin.exports.megadetector import write_megadetector_json
from odins_ravne_assets.hugin.exports.observations_csv import write_observations_csv
from resources.settings.profile import Privacy
from resources.settings.project import Project
from resources.storage.layout import STAGE3_FOLDER
from resources.storage.object_store import ObjectStore

MEGADETECTOR_FILE = "megadetector.json"
MEGADETECTOR_JSON = f"{STAGE3_FOLDER}/{MEGADETECTOR_FILE}"
OBSERVATIONS_CSV = "observations.csv"
OBSERVATIONS_PARQUET = "observations.parquet"
CAMTRAP_DP_FOLDER = "camtrap-dp"
CAMTRAP_DP_FILES = tuple(
    f"{CAMTRAP_DP_FOLDER}/{name}"
    for name in (*(f"{t}.csv" for t in CAMTRAP_DP_TABLES), "datapackage.json")
)


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Attributes:
        visits: rows of observations.csv.
        camtrap_dp: what the package could not hold; None: there is no package.
        why_no_camtrap_dp: the fact that is missing for one.
    """

    visits: int
    camtrap_dp: ExcludedCounts | None
    why_no_camtrap_dp: str | None


def export_camera(
    store: ObjectStore,
    camera_id: str,
    project: Project,
    privacy: Privacy,
    made: ObjectStore | None = None,
) -> ExportResult:
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
        results = stack.enter_context(open_export_tables(store, target, camera_id))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="munin-exports-")))
        exported = _write_exports([results], folder, project, privacy, folders=False)
        for name in (MEGADETECTOR_FILE, OBSERVATIONS_CSV, *CAMTRAP_DP_FILES):
            key, file = f"{STAGE3_FOLDER}/{name}", folder / name
            if file.exists():
                with target.writing(key) as path:
                    shutil.copyfile(file, path)
            else:
                target.delete(key)  # of a run that knew more
    return exported


def export_project(
    cameras: Iterable[tuple[str, ObjectStore]], folder: Path, project: Project, privacy: Privacy
) -> ExportResult:
    """Write the exports of some cameras, as one, into a folder of this machine.

    Args:
        cameras: camera id and output of each.

    Raises:
        StoreError: see `export_camera`.
    """
    with ExitStack() as stack:
        results = [
            stack.enter_context(open_export_tables(store, store, name)) for name, store in cameras
        ]
        folder.mkdir(parents=True, exist_ok=True)
        exported = _write_exports(results, folder, project, privacy, folders=True)
        visits = pl.concat(each.observations for each in _apply_privacy(results, privacy))
        visits.write_parquet(folder / OBSERVATIONS_PARQUET)
        return exported


def _apply_privacy(cameras: list[ExportTables], privacy: Privacy) -> list[ExportTables]:
    return [each.without_people() for each in cameras] if privacy.leave_out_people else cameras


def _write_exports(
    cameras: list[ExportTables], folder: Path, project: Project, privacy: Privacy, folders: bool
) -> ExportResult:
    told = _apply_privacy(cameras, privacy)
    write_megadetector_json(told, folder / MEGADETECTOR_FILE, folders)
    visits = pl.concat(camera.observations for camera in told)
    write_observations_csv(visits, folder / OBSERVATIONS_CSV)
    (folder / CAMTRAP_DP_FOLDER).mkdir(exist_ok=True)
    try:
        left_out = write_camtrap_dp(told, folder / CAMTRAP_DP_FOLDER, project, privacy)
    except NotExportableError as error:
        shutil.rmtree(folder / CAMTRAP_DP_FOLDER)
        return ExportResult(visits.height, None, str(error))
    return ExportResult(visits.height, left_out, None)
