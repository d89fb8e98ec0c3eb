"""Runs of a job for several cameras: their settings, their start and their outcome."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cameras.deployments import unknown_cameras, with_deployments
from odins_ravne_assets.cameras.next_card import remember
from odins_ravne_assets.cameras.results_store import stage3_folder
from odins_ravne_assets.cameras.selection import check_output_collisions, check_profile
from odins_ravne_assets.cli.cloud_profile import require_sandbox
from odins_ravne_assets.cli.terminal import (
    ProgressBars,
    out,
    print_error,
    print_log,
    print_visits,
)
from odins_ravne_assets.instance_home import catalog_folder, home, prepare_home
from odins_ravne_assets.model_library.used_models import catalogue_line
from odins_ravne_assets.results.unused_media import unused_media_lines
from odins_ravne_assets.runs.process_pool import EXIT_INTERRUPTED, CameraRun, CameraRunPool
from odins_ravne_assets.runs.tags import UPDATE_TAG
from resources.errors import RavneError, UsageError
from resources.settings.deployments import Deployment
from resources.settings.loader import find_profile, load_profile
from resources.settings.profile import Profile
from resources.storage.layout import CATALOGUE_MARKER, REPORT_JSON_FILE, REPORT_PAGE
from resources.storage.local_store import LocalStore
from resources.storage.open_store import display_url
from resources.storage.stored_json import REPORT_REMEDY, read_json_object

# Jobs whose results include visits.
JOBS_WITH_VISITS = {"camera", "tables", "stages2and3", "stage3"}
MAX_SILENT = 10  # cameras without footage in a message


@dataclass
class ProfileChoice:
    """The name or path of the profile of this command."""

    name: str


@dataclass
class JobResult:
    """The outcome of a job for all of its cameras."""

    runs: list[CameraRun]
    interrupted: bool

    @property
    def succeeded(self) -> list[Camera]:
        return [run.camera for run in self.runs if run.succeeded]

    def exit_if_any_failed(self) -> None:
        """Exit with 1 if a camera failed, or with 130 after Ctrl-C."""
        failed = [run.camera.camera_id for run in self.runs if not run.succeeded]
        if failed and self.interrupted:
            raise typer.Exit(EXIT_INTERRUPTED)
        if failed and len(self.runs) > 1:
            names = ", ".join(failed)
            print_error(f"{len(failed)} of {len(self.runs)} cameras failed: {names}")
        if failed:
            raise typer.Exit(1)


@dataclass
class Job:
    """A job with validated settings."""

    name: str
    choice: ProfileChoice
    profile: Profile
    overrides: dict[str, Any]

    def run(
        self, cameras: list[Camera], tags: dict[str, str] | None = None, update: bool = False
    ) -> JobResult:
        """Run the job for cameras and print where their results are.

        Args:
            update: process finished media again, if the profile's settings are others than theirs.
        """
        tags = {**(tags or {}), UPDATE_TAG: "true"} if update else tags
        catalog = CameraCatalog(catalog_folder())
        check_profile(cameras, self.profile)
        check_output_collisions(cameras, catalog)
        cameras = [remember(each, catalog, self.profile, print_log) for each in cameras]
        with ProgressBars() as listener:
            limit = self.profile.pipeline.cost_optimization.max_parallel_jobs
            profile = str(find_profile(self.choice.name).absolute())
            pool = CameraRunPool(self.name, profile, self.overrides, tags or {}, limit, listener)
            result = JobResult(pool.run(cameras), pool.interrupted)
        _print_results(result.succeeded, self.profile, visits=self.name in JOBS_WITH_VISITS)
        if result.succeeded and self.name == "camera":
            rows = _deployments(result.succeeded, self.profile)
            _warn_of_unknown_cameras(result.succeeded, rows)
            _name_catalogue_once(result.succeeded, self.profile, rows)
        return result


def prepare_job(
    context: typer.Context,
    job: str,
    options: dict[str, Any],
    cloud_only: dict[str, tuple[str | None, Any]],
) -> Job:
    """Validate the settings and initialize the instance.

    Args:
        job: name of a job of `jobs.py`.
        options: profile keys that options set; None changes nothing.
        cloud_only: options that only a cloud profile has: the profile key that each sets, if any,
            and its value.

    Raises:
        UsageError: an option does not fit the profile.
        ProfileError: see `load_profile`.
    """
    choice: ProfileChoice = context.obj
    overrides = {key: value for key, value in options.items() if value is not None}
    given = {option: pair for option, pair in cloud_only.items() if pair[1] is not None}
    if load_profile(choice.name, overrides).cloud is None:
        for option in given:
            raise UsageError(
                f"{option} needs a cloud profile, and profile {choice.name} runs locally; leave it "
                "out, or name a cloud profile"
            )
    overrides |= {key: value for key, value in given.values() if key}
    profile = load_profile(choice.name, overrides)
    require_sandbox(profile)
    prepare_home()
    return Job(job, choice, profile, overrides)


def _deployments(cameras: list[Camera], profile: Profile) -> tuple[Deployment, ...]:
    try:
        return with_deployments(profile, cameras).project.deployments
    except RavneError:
        return ()  # the runs have reported it


def _warn_of_unknown_cameras(cameras: list[Camera], rows: Sequence[Deployment]) -> None:
    """Name rows of the table whose camera is probably a misspelt one of this run.

    A run of several cameras writes a report of them: also name the cameras that it has no days of,
    for their footage may be missing, or not be read yet.
    """
    known = [camera.camera_id for camera in CameraCatalog(catalog_folder()).list()]
    ran = {camera.camera_id for camera in cameras}
    unknown = unknown_cameras(rows, known)
    silent = [row for row, meant in unknown if not meant]
    if silent and len(cameras) > 1:
        more = f" and {len(silent) - MAX_SILENT} more" if len(silent) > MAX_SILENT else ""
        print_log(
            f"{silent[0].table or silent[0].where}: cameras without footage: "
            f"{', '.join(row.cameraID for row in silent[:MAX_SILENT])}{more}; their days are not "
            "in the report of this run, and munin export has their deployments in Camtrap DP"
        )
    for row, meant in unknown:
        if meant in ran:
            print_log(
                f"{row.where}: cameraID {row.cameraID} is no known camera, and {meant} has no "
                "deployment; did you mean it?"
            )


def _name_catalogue_once(
    cameras: list[Camera], profile: Profile, rows: Sequence[Deployment]
) -> None:
    """Name the catalogue to a user of the default models, at the first run in each region."""
    ids = {camera.camera_id for camera in cameras}
    places = [(row.latitude, row.longitude) for row in rows if row.cameraID in ids]
    line = catalogue_line(profile.models, places)
    if line is None:
        return
    marker = home() / CATALOGUE_MARKER
    shown = marker.read_text(encoding="utf-8").splitlines() if marker.is_file() else []
    if line not in shown:
        print_log(line)
        LocalStore(home()).write_bytes(CATALOGUE_MARKER, "\n".join([*shown, line]).encode())


def _print_results(cameras: list[Camera], profile: Profile, visits: bool) -> None:
    with ExitStack() as stack:
        if visits and cameras:
            folders = [stack.enter_context(stage3_folder(each, profile)) for each in cameras]
            print_visits(folders)
            for camera, folder in zip(cameras, folders, strict=True):
                print_unused_media(camera.camera_id, folder)
    for camera in cameras:
        out.print(f"results: {display_url(camera.output_url)}", soft_wrap=True)
        if visits:
            out.print(f"report: {display_url(camera.output_url)}/{REPORT_PAGE}", soft_wrap=True)


def print_unused_media(camera_id: str, stage3: Path) -> None:
    """Print a line for each kind of files that a camera's run did not use, or used in part.

    Args:
        stage3: the folder `stage3` of the camera's results.
    """
    report = read_json_object(LocalStore(stage3), REPORT_JSON_FILE, REPORT_REMEDY, "totals")
    for line in unused_media_lines(report):
        print_log(f"{camera_id}: {line}")
