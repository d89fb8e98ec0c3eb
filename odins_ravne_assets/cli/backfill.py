"""`munin backfill`: a stage, or all of them, again for many cameras; can be stopped and resumed."""

import fnmatch
import json
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cli.job import Job, ProfileChoice, prepare_job
from odins_ravne_assets.cli.terminal import out, print_log
from odins_ravne_assets.instance_home import catalog_folder, home
from resources.errors import UsageError
from resources.spot.policy import PRIORITY_TAG, Priority
from resources.storage.local_store import LocalStore

BACKFILL_TAG = "munin/backfill"
# What --stages names, and the job that makes it.
JOB_OF_STAGES = {"1-3": "camera", "1": "stage1", "2": "stage2", "2-3": "stages2and3", "3": "stage3"}


@dataclass(frozen=True)
class Backfill:
    """A backfill as it was asked for; what has come of it is in the instance's runs.

    Args:
        number: the backfill's name, and the value of its runs' tag.
        overrides: settings that differ from the profile's.
    """

    number: str
    profile: str
    job: str
    cameras: tuple[str, ...]
    overrides: dict[str, Any]
    priority: Priority | None = None


def backfill(
    context: typer.Context,
    cameras: Annotated[
        list[str] | None,
        typer.Option("--cameras", help="Ids, or patterns as 'north-*'. Default: all cameras."),
    ] = None,
    stages: Annotated[str, typer.Option(help="1, 2, 3, 2-3 or 1-3.")] = "1-3",
    priority: Annotated[
        Priority | None, typer.Option(help="high goes before other runs, low after them.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option(help="The number of a backfill that was stopped.")
    ] = None,
) -> None:
    """Run stages again for the cameras this machine knows, as many at once as the profile allows.

    A camera that fails leaves the others alone. Ctrl-C stops it; --resume goes on.
    """
    if resume:
        asked = _read(resume)
        context.obj = ProfileChoice(asked.profile)
    else:
        asked = _new_backfill(context.obj.name, cameras or ["*"], stages, priority)
    job = prepare_job(context, asked.job, dict(asked.overrides), {})
    catalog = CameraCatalog(catalog_folder())
    _store().write_bytes(f"{asked.number}.json", json.dumps(asdict(asked), indent=1).encode())
    done = cameras_done(asked.number)
    left = [catalog.get(name) for name in asked.cameras if name not in done]
    out.print(
        f"backfill {asked.number}: {asked.job} for {len(left)} of {len(asked.cameras)} cameras",
        markup=False,
    )
    _run(job, asked, left)


def _run(job: Job, asked: Backfill, cameras: list[Camera]) -> None:
    tags = {BACKFILL_TAG: asked.number}
    if asked.priority:
        tags[PRIORITY_TAG] = asked.priority
    ended = job.run(cameras, tags)
    if len(ended.succeeded) < len(cameras):
        print_log(f"go on with: munin backfill --resume {asked.number}")
    ended.exit_if_any_failed()


def _new_backfill(
    profile: str, patterns: list[str], stages: str, priority: Priority | None
) -> Backfill:
    if stages not in JOB_OF_STAGES:
        raise UsageError(f"--stages {stages}: is not one of {', '.join(JOB_OF_STAGES)}")
    known = [camera.camera_id for camera in CameraCatalog(catalog_folder()).list()]
    chosen = dict.fromkeys(
        name for pattern in patterns for name in known if fnmatch.fnmatchcase(name, pattern)
    )
    for pattern in patterns:
        if not fnmatch.filter(known, pattern):
            raise UsageError(
                f"--cameras {pattern}: no camera that this machine knows; `munin status` lists "
                f"its {len(known)}"
            )
    numbers = [int(found.key.removesuffix(".json")) for found in _store().list()]
    return Backfill(
        str(max(numbers, default=0) + 1),
        profile,
        JOB_OF_STAGES[stages],
        tuple(chosen),
        {},
        priority,
    )


def _read(number: str) -> Backfill:
    store, key = _store(), f"{number}.json"
    if not number.isdigit() or not store.exists(key):
        known = ", ".join(sorted(found.key.removesuffix(".json") for found in store.list()))
        raise UsageError(f"--resume {number}: no such backfill; there are: {known or 'none'}")
    tree = json.loads(store.read_bytes(key))
    return Backfill(**{**tree, "cameras": tuple(tree["cameras"])})


def cameras_done(number: str) -> set[str]:
    """The cameras that a run of the backfill has succeeded for."""
    import dagster as dg

    from odins_ravne_assets.runs.liveness import close_dead_runs

    filters = dg.RunsFilter(tags={BACKFILL_TAG: number}, statuses=[dg.DagsterRunStatus.SUCCESS])
    with dg.DagsterInstance.get() as instance:
        close_dead_runs(instance)  # one that was killed may have told all
        runs = instance.get_runs(filters)
    return {run.tags["dagster/partition"] for run in runs}


def _store() -> LocalStore:
    return LocalStore(home() / "backfills")
