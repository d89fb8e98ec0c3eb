"""Runs of a job for several cameras, as commands start them, and what became of them."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import typer

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cameras.results_store import stage3_folder
from odins_ravne_assets.cameras.selection import check_output_collisions
from odins_ravne_assets.cli.cloud_profile import require_sandbox
from odins_ravne_assets.cli.terminal import (
    ProgressBars,
    out,
    print_error,
    print_unused_media,
    print_visits,
)
from odins_ravne_assets.instance_home import catalog_folder, prepare_home
from odins_ravne_assets.runs.process_pool import EXIT_INTERRUPTED, CameraRun, CameraRunPool
from resources.errors import UsageError
from resources.settings.loader import find_profile, load_profile
from resources.settings.profile import Profile
from resources.storage.open_store import shown_url

# The jobs that end with visits to show.
MAKE_VISITS = {"camera", "stages2and3", "stage3"}


@dataclass
class Choice:
    """The profile of this call, by name."""

    name: str


@dataclass
class JobResult:
    """What became of a job's cameras."""

    runs: list[CameraRun]
    interrupted: bool

    @property
    def succeeded(self) -> list[Camera]:
        return [run.camera for run in self.runs if run.succeeded]

    def exit_if_any_failed(self) -> None:
        """End the command, if anything went wrong."""
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
    """A job that is about to run, with its settings checked."""

    name: str
    choice: Choice
    profile: Profile
    overrides: dict[str, Any]

    def run(self, cameras: list[Camera], tags: dict[str, str] | None = None) -> JobResult:
        """Run it for some cameras, and show the visits."""
        catalog = CameraCatalog(catalog_folder())
        check_output_collisions(cameras, catalog)
        for camera in cameras:
            catalog.put(camera)
        with ProgressBars() as watcher:
            at_once = self.profile.pipeline.cost_optimization.max_parallel_jobs
            name = str(find_profile(self.choice.name).absolute())
            runs = CameraRunPool(self.name, name, self.overrides, tags or {}, at_once, watcher)
            ended = JobResult(runs.run(cameras), runs.interrupted)
        _show_results(ended.succeeded, self.profile, visits=self.name in MAKE_VISITS)
        return ended


def prepare(
    context: typer.Context,
    job: str,
    options: dict[str, Any],
    cloud_only: dict[str, tuple[str | None, Any]],
) -> Job:
    """Check the settings before anything is done.

    Args:
        cloud_only: options that mean something in a cloud profile alone: the key of the profile
            that each sets, if any, and its value.
    """
    choice: Choice = context.obj
    overrides = {key: value for key, value in options.items() if value is not None}
    given = {option: pair for option, pair in cloud_only.items() if pair[1] is not None}
    if load_profile(choice.name, overrides).cloud is None:
        for option in given:
            raise UsageError(
                f"{option} has no meaning with profile {choice.name}, which runs on this "
                "machine; leave it out, or name a cloud profile"
            )
    overrides |= {key: value for key, value in given.values() if key}
    profile = load_profile(choice.name, overrides)
    require_sandbox(profile)
    prepare_home()
    return Job(job, choice, profile, overrides)


def _show_results(cameras: list[Camera], profile: Profile, visits: bool) -> None:
    with ExitStack() as stack:
        if visits and cameras:
            folders = [stack.enter_context(stage3_folder(each, profile)) for each in cameras]
            print_visits(folders)
            for camera, folder in zip(cameras, folders, strict=True):
                print_unused_media(camera.camera_id, folder)
    for camera in cameras:
        out.print(f"results: {shown_url(camera.output_url)}", soft_wrap=True)
        if visits:
            out.print(f"report: {shown_url(camera.output_url)}/stage3/report.html", soft_wrap=True)
