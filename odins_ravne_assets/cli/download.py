"""`munin cost download-stage3`: download results from the cloud."""

import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.cameras.selection import S3
from odins_ravne_assets.cli.cloud_profile import require_sandbox
from odins_ravne_assets.cli.terminal import TransferBar, out, print_log
from odins_ravne_assets.results.download import (
    ResultsLocation,
    camera_folders,
    download_results,
    find_results,
    is_project_report_page,
    read_reports,
    write_project_report_page,
    write_report_pages,
)
from resources.aws.clients import AwsClients
from resources.errors import StoreError
from resources.settings.loader import load_profile
from resources.settings.profile import Aws
from resources.storage.layout import LEDGER_FOLDER, REPORT_JSON
from resources.storage.local_store import LocalStore, local_path
from resources.storage.open_store import open_store
from resources.storage.transfer.download import OnProgress, TransferProgress

app = typer.Typer()

RUNNER = "run_stage3_local.py"
LEDGER_NAME_FORMAT = "taken-home-%Y-%m-%dT%H-%M-%SZ"

Report = dict[str, Any]
MINUTE_LENGTH = len("2026-05-01T02:14")


@app.command("download-stage3")
def download_stage3(
    context: typer.Context,
    cloud_path: Annotated[
        str,
        typer.Option(help="The OUTPUT of the run: s3://BUCKET/PREFIX of one camera or of several."),
    ],
    local_path_: Annotated[
        str,
        typer.Option(
            "--local-path",
            help="A local folder: each camera gets FOLDER/CAMERA, or FOLDER if it has the camera's "
            "name.",
        ),
    ] = "stage3_results",
    summary: Annotated[
        bool,
        typer.Option("--summary", help="Print a summary: visits, species, cameras, time range."),
    ] = False,
    create_runner: Annotated[
        bool,
        typer.Option(
            "--create-runner",
            help="Write run_stage3_local.py, which recomputes the visits with other windows.",
        ),
    ] = False,
) -> None:
    """Download the results of Stage 3 and the tables that recomputing them needs.

    Skips files that have not changed, and resumes an interrupted download.
    """
    profile = load_profile(context.obj.name)
    require_sandbox(profile)
    # Reading results needs only the profile's AWS settings.
    aws = profile.aws
    root, url = local_path(local_path_), cloud_path.rstrip("/")
    results = find_results(open_store(url, AwsClients(aws)))
    folders = camera_folders(root, [each.camera_id for each in results])
    sources = [
        RemoteResults(each.camera_id, f"{url}/{each.prefix}".rstrip("/"), folder)
        for each, folder in zip(results, folders, strict=True)
    ]
    progress = download_cameras(sources, aws)
    print_log(
        f"{progress.files - progress.present} files downloaded, {progress.present} up to date; "
        f"{progress.total_bytes / 1e6:.1f} MB in total"
    )
    if summary:
        print_summary(read_reports(folders))
    print_downloaded(folders, root, create_runner)


def print_downloaded(folders: Sequence[Path], root: Path, runners: bool = True) -> None:
    """Write the reports of downloaded results, and print where they are.

    Args:
        folders: folders of the cameras.
        root: the folder of the report of several cameras.
        runners: also write the scripts that recompute the visits.
    """
    for folder in folders:
        out.print(f"Stage 3 of {folder.name}: {folder}/stage3", soft_wrap=True)
        if runners:
            out.print(f"other windows: python {write_runner(folder)}", soft_wrap=True)
    if folders:
        out.print(f"report: {write_report_pages(folders, root)[-1]}", soft_wrap=True)


def write_combined_report(cameras: Sequence[Camera]) -> None:
    """Write one report of several cameras next to their results, if these are local."""
    urls = [each.output_url for each in cameras if not each.output_url.startswith("s3://")]
    folders = [folder for folder in map(local_path, urls) if (folder / REPORT_JSON).exists()]
    if len(folders) > 1:
        page = write_project_report_page(folders, folders[0].parent)
        out.print(f"report of {len(folders)} cameras: {page}", soft_wrap=True)


def renew_combined_report(cameras: Sequence[Camera]) -> None:
    """Write the report of several cameras again, if there is one above changed cameras.

    Its labels and visits would be those of before. It is of all cameras in its folder, so that a
    run of some of them takes none out of it. Without one, several cameras get one.
    """
    urls = [each.output_url for each in cameras if not each.output_url.startswith(S3)]
    roots = {local_path(url).parent for url in urls}
    root = roots.pop() if len(roots) == 1 else None
    if root is None or not is_project_report_page(root):
        write_combined_report(cameras)
        return
    folders = sorted(each.parent.parent for each in root.glob(f"*/{REPORT_JSON}"))
    page = write_project_report_page(folders, root)
    out.print(f"report of {len(folders)} cameras: {page}", soft_wrap=True)


def write_runner(folder: Path) -> Path:
    """Write the script that recomputes the visits into a camera's folder.

    Raises:
        StoreError: the folder cannot be written.
    """
    with (
        as_file(files("odins_ravne_assets") / RUNNER) as script,
        LocalStore(folder).writing(RUNNER) as path,
    ):
        shutil.copyfile(script, path)
    return folder / RUNNER


@dataclass(frozen=True)
class RemoteResults:
    """A camera's results at OUTPUT, and the local folder that gets a copy."""

    camera_id: str
    output_url: str
    folder: Path


def download_cameras(sources: Sequence[RemoteResults], aws: Aws) -> TransferProgress:
    """Download the results of cameras, with a progress bar in a terminal.

    Args:
        aws: of those that are on S3.

    Returns:
        The progress of all of them together.

    Raises:
        StoreError: see `download_all`.
    """
    together = TransferProgress(0, 0)
    for source in sources:
        with TransferBar() as bar:
            progress = _download(source, aws, bar.on_progress)
        together.total_files += progress.total_files
        together.total_bytes += progress.total_bytes
        together.files += progress.files
        together.bytes += progress.bytes
        together.present += progress.present
    return together


def _download(source: RemoteResults, aws: Aws, on_progress: OnProgress) -> TransferProgress:
    camera_id, url = source.camera_id, source.output_url
    results = ResultsLocation(camera_id, "")
    if not url.startswith(S3):
        return download_results(open_store(url), results, source.folder, on_progress)
    from resources.ledger.orchestrator_traffic import OrchestratorTraffic

    clients = AwsClients(aws)
    own = OrchestratorTraffic(camera_id, aws.region, "downloading results", clients.clock)
    own.traffic.attach(clients.of("s3"))
    try:
        return download_results(open_store(url, clients), results, source.folder, on_progress)
    finally:  # requests before an interrupt are billed, too
        name = (
            f"{datetime.fromtimestamp(own.start, UTC):{LEDGER_NAME_FORMAT}}-{uuid.uuid4().hex[:8]}"
        )
        try:
            own.write(open_store(f"{url}/{LEDGER_FOLDER}", clients), name)
        except StoreError as error:
            print_log(f"the cost of this download is missing in the ledger: {error}")


def print_summary(reports: Sequence[Report]) -> None:
    """Print counts, time range, cameras and species.

    Args:
        reports: the content of each camera's `stage3/report.json`.
    """
    for line in summary_lines(reports):
        out.print(line, soft_wrap=True, markup=False)
    cameras = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("camera", "first", "last"):
        cameras.add_column(heading, overflow="fold")
    for heading in ("media", "visits"):
        cameras.add_column(heading, justify="right")
    for report in reports:
        for camera in report["cameras"]:
            cameras.add_row(
                escape(camera["camera_id"]),
                _minute(camera["first_time"]),
                _minute(camera["last_time"]),
                str(camera["media"]),
                str(camera["observations"]),
            )
    species = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    species.add_column("species", overflow="fold")
    for heading in ("visits", "to review"):
        species.add_column(heading, justify="right")
    for name, (visits, review) in species_counts(reports):
        species.add_row(escape(name), str(visits), str(review))
    out.print(cameras)
    out.print(species)


def summary_lines(reports: Sequence[Report]) -> Iterator[str]:
    """Yield the counts and the time range as sentences."""
    totals = [report["totals"] for report in reports]

    def total(key: str) -> int:
        return sum(int(each[key]) for each in totals)

    yield (
        f"{total('observations')} visits ({total('needs_review')} to review) at "
        f"{len(reports)} camera{'s' * (len(reports) != 1)}, "
        f"of {total('stills')} pictures and {total('videos')} videos"
    )
    times = [report["time_range"]["media"] for report in reports]
    known = [each for each in times if each["first_time"]]
    if known:
        first = min(each["first_time"] for each in known)
        last = max(each["last_time"] for each in known)
        yield f"from {_minute(first)} to {_minute(last)}, by the cameras' clocks"
    if total("failed"):
        yield f"{total('failed')} media could not be used; the report has the reasons"


def species_counts(reports: Sequence[Report]) -> list[tuple[str, tuple[int, int]]]:
    """Return each species with its number of visits, in total and to review; most visits first."""
    counts: dict[str, tuple[int, int]] = {}
    for report in reports:
        for row in report["species"]:
            visits, review = counts.get(row["species"], (0, 0))
            counts[row["species"]] = (visits + row["observations"], review + row["needs_review"])
    return sorted(counts.items(), key=lambda item: (-item[1][0], item[0]))


def _minute(time: str | None) -> str:
    return time[:MINUTE_LENGTH].replace("T", " ") if time else "unknown"
