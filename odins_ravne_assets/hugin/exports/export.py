"""Export the observations of a camera, or of a project with several cameras.

    megadetector.json    MegaDetector JSON 1.6
    camtrap-dp/          Camtrap DP 1.0.2
    observations.xlsx    a workbook of observations, for reviewers
    observations.csv     the same rows as CSV

The exports of a camera are in `stage3/` of its output, next to `observations.parquet`.
"""

import shutil
from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from odins_ravne_assets.hugin.exports.camtrap_dp import (
    CAMTRAP_DP_TABLES,
    ExcludedCounts,
    write_camtrap_dp,
)
from odins_ravne_assets.hugin.exports.deployments import NotExportableError, exact_positions
from odins_ravne_assets.hugin.exports.export_tables import (
    ExportTables,
    open_export_tables,
    shared_media_remarks,
)
from odins_ravne_assets.hugin.exports.megadetector import Folders, write_megadetector_json
from odins_ravne_assets.hugin.exports.observation_rows import (
    MAX_XLSX_ROWS,
    observation_rows,
    write_observations_xlsx,
)
from odins_ravne_assets.hugin.identification.taxonomy import Taxonomy
from odins_ravne_assets.hugin.privacy.places import covered_cameras
from resources.settings.profile import Privacy
from resources.settings.project import Project
from resources.storage.layout import (
    CAMTRAP_DP_FOLDER,
    MEGADETECTOR_FILE,
    OBSERVATIONS_CSV,
    OBSERVATIONS_PARQUET,
    OBSERVATIONS_XLSX,
    STAGE3_FOLDER,
)
from resources.storage.object_store import ObjectStore
from resources.storage.temporary_folder import temporary_folder

OBSERVATION_FILES = (OBSERVATIONS_CSV, OBSERVATIONS_XLSX)
CAMTRAP_DP_FILES = tuple(
    f"{CAMTRAP_DP_FOLDER}/{name}"
    for name in (*(f"{t}.csv" for t in CAMTRAP_DP_TABLES), "datapackage.json")
)


@dataclass(frozen=True)
class ExportResult:
    """The result of an export.

    Attributes:
        observations: rows of observations.csv.
        camtrap_dp: numbers of rows that the package leaves out; None: there is no package.
        camtrap_dp_error: the reason why there is no package.
        remarks: on files that are left out, for the user.
    """

    observations: int
    camtrap_dp: ExcludedCounts | None
    camtrap_dp_error: str | None
    remarks: tuple[str, ...] = ()


def export_camera(
    store: ObjectStore,
    camera_id: str,
    project: Project,
    privacy: Privacy,
    results: ObjectStore | None = None,
) -> ExportResult:
    """Write a camera's exports into `stage3/` of its output.

    Args:
        store: the camera's output, with `tables/`.
        project: metadata, deployments and species of the project.
        privacy: the privacy settings.
        results: the store with `stage3/`, to which exports are written; default: `store`.

    Raises:
        StoreError: a table is missing, damaged or of another version; or the store refuses access.
        UsageError: a name of `privacy.sensitive_species` is unknown.
    """
    target = results or store
    with ExitStack() as stack:
        tables = stack.enter_context(open_export_tables(store, target, camera_id, project.species))
        folder = stack.enter_context(temporary_folder("exports"))
        exported = _write_exports([tables], folder, project, privacy, None)
        for name in (MEGADETECTOR_FILE, *OBSERVATION_FILES, *CAMTRAP_DP_FILES):
            key, file = f"{STAGE3_FOLDER}/{name}", folder / name
            if file.exists():
                with target.writing(key) as path:
                    shutil.copyfile(file, path)
            else:
                target.delete(key)  # of an earlier run with more information
    return exported


def export_project(
    cameras: Iterable[tuple[str, ObjectStore]],
    folder: Path,
    project: Project,
    privacy: Privacy,
    silent: Collection[str] = (),
    folders: Folders | None = None,
) -> ExportResult:
    """Write the exports of several cameras as one project into a local folder.

    Args:
        cameras: id and output of each camera.
        folder: created if missing.
        project, privacy: see `export_camera`.
        silent: ids of cameras without results, whose deployments are exported.
        folders: of the cameras, for the paths of media; by default their ids.

    Raises:
        StoreError: see `export_camera`.
    """
    cameras = list(cameras)
    folders = folders or {name: {None: name} for name, _ in cameras}
    with ExitStack() as stack:
        tables = [
            stack.enter_context(open_export_tables(store, store, name, project.species))
            for name, store in cameras
        ]
        folder.mkdir(parents=True, exist_ok=True)
        exported = _write_exports(tables, folder, project, privacy, folders, silent)
        observations = pl.concat(each.observations for each in _apply_privacy(tables, privacy))
        observations.write_parquet(folder / OBSERVATIONS_PARQUET)
        return exported


def _apply_privacy(cameras: list[ExportTables], privacy: Privacy) -> list[ExportTables]:
    return [each.without_people() for each in cameras] if privacy.leave_out_people else cameras


def _write_exports(
    cameras: list[ExportTables],
    folder: Path,
    project: Project,
    privacy: Privacy,
    folders: Folders | None,
    silent: Collection[str] = (),
) -> ExportResult:
    places = covered_cameras(
        [(each.camera_id, each.observations, each.taxonomy) for each in cameras],
        [position for each in cameras for position in exact_positions(each, project)],
        privacy,
    )
    places = places.with_unknown(silent, privacy)
    cameras = _apply_privacy(cameras, privacy)
    write_megadetector_json(cameras, folder / MEGADETECTOR_FILE, folders)
    observations = pl.concat(camera.observations for camera in cameras)
    remarks = _write_observations(observations, cameras, folder)
    remarks = (*remarks, *shared_media_remarks(cameras))
    (folder / CAMTRAP_DP_FOLDER).mkdir(exist_ok=True)
    try:
        excluded = write_camtrap_dp(cameras, folder / CAMTRAP_DP_FOLDER, project, places, silent)
    except NotExportableError as error:
        shutil.rmtree(folder / CAMTRAP_DP_FOLDER)
        return ExportResult(observations.height, None, str(error), remarks)
    return ExportResult(observations.height, excluded, None, remarks)


def _write_observations(
    observations: pl.DataFrame, cameras: Sequence[ExportTables], folder: Path
) -> tuple[str, ...]:
    """Write the observations as CSV and XLSX; return remarks."""
    rows = observation_rows(observations)
    rows.write_csv(folder / OBSERVATIONS_CSV)
    workbook = folder / OBSERVATIONS_XLSX
    workbook.unlink(missing_ok=True)  # of an earlier export
    if rows.height > MAX_XLSX_ROWS:
        return (
            f"no {OBSERVATIONS_XLSX}: {rows.height:,} visits are more than the {MAX_XLSX_ROWS:,} "
            f"rows of a sheet; use {OBSERVATIONS_CSV}",
        )
    taxa = {name: taxon for each in cameras for name, taxon in each.taxonomy.taxa.items()}
    listed = [each.taxonomy.listed for each in cameras]
    write_observations_xlsx(rows, Taxonomy(taxa, listed[0]), workbook)
    return ()
