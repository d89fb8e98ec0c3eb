"""Download results to this machine: Stage 3, and the tables that a re-run needs.

FOLDER/CAMERA/stage3/                  results of Stage 3
FOLDER/CAMERA/tables/                  input of Stage 3
FOLDER/CAMERA/run_stage3_local.py      re-runs Stage 3 with other windows and thresholds
FOLDER/report.html                     report page of several cameras
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.errors import StoreError
from resources.settings.camera_ids import parse_camera_id
from resources.settings.profile import Privacy
from resources.storage.layout import (
    LEDGER_FOLDER,
    REPORT_JSON,
    REPORT_PAGE,
    STAGE3_FOLDER,
    TABLES_FOLDER,
)
from resources.storage.local_store import LocalStore
from resources.storage.object_store import ObjectStore
from resources.storage.transfer.download import (
    DownloadItem,
    OnProgress,
    TransferProgress,
    download_all,
)

PROJECT_REPORT_PAGE = "report.html"


@dataclass(frozen=True)
class ResultsLocation:
    """The results of a camera in a store.

    Attributes:
        camera_id: the camera.
        prefix: the prefix of their keys; empty if the store is the camera's output.
    """

    camera_id: str
    prefix: str


def find_results(store: ObjectStore) -> list[ResultsLocation]:
    """Find the results in a store that is the OUTPUT of one camera or a folder of several.

    Raises:
        StoreError: there are no results, a report is damaged, or the store refuses access.
    """
    if store.exists(REPORT_JSON):
        return [_results(store, "")]
    found = [name for name in store.folders() if store.exists(f"{name}/{REPORT_JSON}")]
    if not found:
        raise StoreError(
            f"{store.url}: no results of Stage 3 here or in a folder below; pass the OUTPUT of "
            "one camera or of a batch of cameras"
        )
    return [_results(store, f"{name}/") for name in found]


def _results(store: ObjectStore, prefix: str) -> ResultsLocation:
    (name,) = {camera["camera_id"] for camera in _report(store, prefix + REPORT_JSON)["cameras"]}
    return ResultsLocation(parse_camera_id(name), prefix)


def _report(store: ObjectStore, key: str) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads(store.read_bytes(key))
    except ValueError:
        raise StoreError(f"{store.url}/{key} is damaged; run Stage 3 again") from None
    return report


def camera_folders(root: Path, camera_ids: Sequence[str]) -> list[Path]:
    """Return the local folder of each camera's results, as `--local-output` and `--local-path` do.

    A folder that is named after the only camera is that camera's; any other holds a folder per
    camera.
    """
    if list(camera_ids) == [root.name]:
        return [root]
    return [root / each for each in camera_ids]


def download_results(
    store: ObjectStore, results: ResultsLocation, folder: Path, on_progress: OnProgress
) -> TransferProgress:
    """Download the results of a camera into its local folder.

    Existing equal files are skipped, and the results of re-runs do not change.

    Raises:
        StoreError: see `download_all`.
    """
    items = [
        DownloadItem(found, found.key.removeprefix(results.prefix))
        for name in (TABLES_FOLDER, STAGE3_FOLDER, LEDGER_FOLDER)
        for found in store.list(results.prefix + name)
        if found.key != f"{results.prefix}{REPORT_PAGE}"
    ]
    return download_all(store, items, folder, on_progress)


def write_report_pages(folders: Sequence[Path], root: Path) -> list[Path]:
    """Write the report page of each camera, and one of all cameras if there are several.

    The privacy settings of a page are those of its results.

    Args:
        folders: the cameras' local results.
        root: the folder of the page of all cameras.

    Returns:
        The pages; the page of all cameras is the last.

    Raises:
        StoreError: a result is missing, or a page cannot be written.
    """
    from odins_ravne_assets.hugin.report.camera_results import load_camera_results
    from odins_ravne_assets.hugin.report.page import write_report_page

    settings = [Privacy.model_validate(report["privacy"]) for report in read_reports(folders)]
    pages = []
    for folder, privacy in zip(folders, settings, strict=True):
        store = LocalStore(folder)
        with store.writing(REPORT_PAGE) as path:
            write_report_page(path, [load_camera_results(store, store, privacy)], privacy)
        pages.append(folder / REPORT_PAGE)
    if len(folders) > 1:
        pages.append(write_project_report_page(folders, root))
    return pages


def write_project_report_page(folders: Sequence[Path], root: Path) -> Path:
    """Write one report page of several cameras, with the strictest of their privacy settings.

    Args:
        folders: the cameras' local results.
        root: the folder of the page.

    Returns:
        The page.

    Raises:
        StoreError: a result is missing, or the page cannot be written.
    """
    from odins_ravne_assets.hugin.report.camera_results import load_camera_results
    from odins_ravne_assets.hugin.report.page import write_report_page

    settings = [Privacy.model_validate(report["privacy"]) for report in read_reports(folders)]
    privacy = strictest_privacy(settings)
    results = [load_camera_results(store, store, privacy) for store in map(LocalStore, folders)]
    with LocalStore(root).writing(PROJECT_REPORT_PAGE) as path:
        write_report_page(path, results, privacy)
    return root / PROJECT_REPORT_PAGE


def strictest_privacy(settings: Sequence[Privacy]) -> Privacy:
    """Return settings that protect everything that any of the given settings protects."""
    return Privacy(
        blur_people=any(each.blur_people for each in settings),
        leave_out_people=any(each.leave_out_people for each in settings),
        sensitive_species=tuple(
            sorted({name for each in settings for name in each.sensitive_species})
        ),
        sensitive_decimals=min(each.sensitive_decimals for each in settings),
    )


def read_reports(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Read `stage3/report.json` of each camera's local results."""
    return [_report(LocalStore(folder), REPORT_JSON) for folder in folders]
