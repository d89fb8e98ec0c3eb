"""Results as files of this machine: all of Stage 3, and the tables that re-running it needs.

FOLDER/CAMERA/stage3/                  what Stage 3 made
FOLDER/CAMERA/tables/                  what it made it of
FOLDER/CAMERA/run_stage3_local.py      makes it anew, with other windows and thresholds
FOLDER/report.html                     several cameras on one page
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.errors import StoreError
from resources.settings.camera_ids import parse_camera_id
from resources.settings.profile import Privacy
from resources.storage.layout import LEDGER_FOLDER, STAGE3_FOLDER, TABLES_FOLDER
from resources.storage.local_store import LocalStore
from resources.storage.object_store import ObjectStore
from resources.storage.transfer.download import (
    DownloadItem,
    OnProgress,
    TransferProgress,
    download_all,
)

REPORT_JSON, REPORT_PAGE = f"{STAGE3_FOLDER}/report.json", f"{STAGE3_FOLDER}/report.html"
PROJECT_REPORT_PAGE = "report.html"


@dataclass(frozen=True)
class ResultsLocation:
    """A camera's results in a store: everything below `prefix`, which is empty for all of it."""

    camera_id: str
    prefix: str


def find_results(store: ObjectStore) -> list[ResultsLocation]:
    """The cameras whose results lie in a store: it is one camera's OUTPUT, or a folder of several.

    Raises:
        StoreError: there are none, a report is damaged, or the store refuses.
    """
    if store.exists(REPORT_JSON):
        return [_results(store, "")]
    found = [name for name in store.folders() if store.exists(f"{name}/{REPORT_JSON}")]
    if not found:
        raise StoreError(
            f"{store.url}: holds no results of Stage 3, nor do the folders in it; name what OUTPUT "
            "was, of one camera or of a batch of cameras"
        )
    return [_results(store, f"{name}/") for name in found]


def _results(store: ObjectStore, prefix: str) -> ResultsLocation:
    (name,) = {camera["camera_id"] for camera in _report(store, prefix + REPORT_JSON)["cameras"]}
    return ResultsLocation(parse_camera_id(name), prefix)


def _report(store: ObjectStore, key: str) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads(store.read_bytes(key))
    except ValueError:
        raise StoreError(f"{store.url}/{key}: is damaged; run Stage 3 again") from None
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
    """Copy a camera's results into its folder on this machine.

    What is there and equal is left alone, and so is what re-runs have made.

    Raises:
        StoreError: see `download_all`.
    """
    wanted = [
        DownloadItem(found, found.key.removeprefix(results.prefix))
        for name in (TABLES_FOLDER, STAGE3_FOLDER, LEDGER_FOLDER)
        for found in store.list(results.prefix + name)
        if found.key != f"{results.prefix}{REPORT_PAGE}"
    ]
    return download_all(store, wanted, folder, on_progress)


def write_report_pages(folders: Sequence[Path], root: Path) -> list[Path]:
    """Write the report of each camera whose results are here, and one of all of them.

    What is kept back in a page is what its results were made with.

    Args:
        folders: of the cameras.
        root: where the report of several cameras goes.

    Returns:
        The pages; that of several cameras is the last.

    Raises:
        StoreError: something of the results is missing, or a page cannot be written.
    """
    from odins_ravne_assets.hugin.report.camera_results import load_camera_results
    from odins_ravne_assets.hugin.report.page import write_report_page

    kept = [Privacy.model_validate(report["privacy"]) for report in read_reports(folders)]
    pages = []
    for folder, privacy in zip(folders, kept, strict=True):
        store = LocalStore(folder)
        with store.writing(REPORT_PAGE) as path:
            write_report_page(path, [load_camera_results(store, store, privacy)], privacy)
        pages.append(folder / REPORT_PAGE)
    if len(folders) > 1:
        pages.append(write_project_report_page(folders, root))
    return pages


def write_project_report_page(folders: Sequence[Path], root: Path) -> Path:
    """Write one report of several cameras whose results are here.

    What is kept back is what any of their results was made to keep back.

    Args:
        folders: of the cameras.
        root: where the report goes.

    Returns:
        The page.

    Raises:
        StoreError: something of the results is missing, or the page cannot be written.
    """
    from odins_ravne_assets.hugin.report.camera_results import load_camera_results
    from odins_ravne_assets.hugin.report.page import write_report_page

    kept = [Privacy.model_validate(report["privacy"]) for report in read_reports(folders)]
    privacy = strictest_privacy(kept)
    results = [load_camera_results(store, store, privacy) for store in map(LocalStore, folders)]
    with LocalStore(root).writing(PROJECT_REPORT_PAGE) as path:
        write_report_page(path, results, privacy)
    return root / PROJECT_REPORT_PAGE


def strictest_privacy(kept: Sequence[Privacy]) -> Privacy:
    """What keeps back all that any of these does."""
    return Privacy(
        blur_people=any(each.blur_people for each in kept),
        leave_out_people=any(each.leave_out_people for each in kept),
        sensitive_species=tuple(sorted({name for each in kept for name in each.sensitive_species})),
        sensitive_decimals=min(each.sensitive_decimals for each in kept),
    )


def read_reports(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """The content of `stage3/report.json` of cameras whose results are here."""
    return [_report(LocalStore(folder), REPORT_JSON) for folder in folders]
