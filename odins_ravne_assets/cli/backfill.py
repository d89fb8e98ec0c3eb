"""`munin backfill`: run stages again for many cameras; can be stopped and resumed."""

import fnmatch
import json
import re
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Annotated, Any

import typer

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cli.job import Job, ProfileChoice, prepare_job
from odins_ravne_assets.cli.options import UpdateFlag
from odins_ravne_assets.cli.sources import forget_deleted_cameras
from odins_ravne_assets.cli.terminal import out, print_log
from odins_ravne_assets.databases.locked import opened_instance
from odins_ravne_assets.instance_home import catalog_folder, home
from odins_ravne_assets.runs.tags import BACKFILL_TAG
from resources.errors import UsageError
from resources.spot.policy import PRIORITY_TAG, Priority
from resources.storage.layout import BACKFILLS_FOLDER
from resources.storage.local_store import LocalStore
from resources.storage.stored_json import read_json_object

# Values of --stages, and the job of each.
JOB_OF_STAGES = {"1-3": "camera", "1": "stage1", "2": "stage2", "2-3": "stages2and3", "3": "stage3"}


@dataclass(frozen=True)
class Backfill:
    """The request of a backfill; its progress is in the runs of the instance.

    Args:
        number: the backfill's name, and the value of its runs' tag.
        overrides: settings that differ from the profile's.
        update: see `Job.run`.
    """

    number: str
    profile: str
    job: str
    cameras: tuple[str, ...]
    overrides: dict[str, Any]
    priority: Priority | None = None
    update: bool = False


# The request of a backfill, and the keys that it has in every version.
REQUEST_FILE = re.compile(r"([1-9]\d{0,8})\.json", re.ASCII)
REQUEST_KEYS = tuple(each.name for each in fields(Backfill))
REQUIRED_KEYS = tuple(each.name for each in fields(Backfill) if each.default is MISSING)


def backfill(
    context: typer.Context,
    cameras: Annotated[
        list[str] | None,
        typer.Option("--cameras", help="Ids or patterns such as 'north-*'. Default: all cameras."),
    ] = None,
    stages: Annotated[str, typer.Option(help="1, 2, 3, 2-3 or 1-3.")] = "1-3",
    priority: Annotated[
        Priority | None, typer.Option(help="high runs before other runs, low after them.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option(help="The number of a backfill that was stopped.")
    ] = None,
    update: UpdateFlag = False,
) -> None:
    """Run stages again for known cameras, in parallel as far as the profile allows.

    A camera that fails does not affect the others. Ctrl-C stops it; --resume continues.
    """
    if resume:
        request = read_request(resume)
        if update and not request.update:
            raise UsageError(
                f"--update: backfill {resume} began without it; resume it without, or start "
                "another with it"
            )
        context.obj = ProfileChoice(request.profile)
    else:
        request = _new_backfill(context.obj.name, cameras or ["*"], stages, priority, update)
    job = prepare_job(context, request.job, dict(request.overrides), {})
    if not resume:
        request = numbered(request)
    catalog = CameraCatalog(catalog_folder())
    done = cameras_done(request.number)
    remaining = [catalog.get(name) for name in request.cameras if name not in done]
    out.print(
        f"backfill {request.number}: {request.job} for {len(remaining)} of "
        f"{len(request.cameras)} cameras",
        markup=False,
    )
    _run(job, request, remaining)


def _run(job: Job, request: Backfill, cameras: list[Camera]) -> None:
    tags = {BACKFILL_TAG: request.number}
    if request.priority:
        tags[PRIORITY_TAG] = request.priority
    result = job.run(cameras, tags, request.update)
    if len(result.succeeded) < len(cameras):
        print_log(f"to continue: munin backfill --resume {request.number}")
    result.exit_if_any_failed()


def _new_backfill(
    profile: str, patterns: list[str], stages: str, priority: Priority | None, update: bool
) -> Backfill:
    if stages not in JOB_OF_STAGES:
        raise UsageError(f"--stages {stages}: must be one of {', '.join(JOB_OF_STAGES)}")
    forget_deleted_cameras()
    known = [camera.camera_id for camera in CameraCatalog(catalog_folder()).list()]
    chosen = dict.fromkeys(
        name for pattern in patterns for name in known if fnmatch.fnmatchcase(name, pattern)
    )
    for pattern in patterns:
        if not fnmatch.filter(known, pattern):
            raise UsageError(
                f"--cameras {pattern}: matches no known camera; munin status lists the "
                f"{len(known)} known ones"
            )
    return Backfill(
        "",
        profile,
        JOB_OF_STAGES[stages],
        tuple(chosen),
        {},
        priority,
        update,
    )


def numbered(request: Backfill) -> Backfill:
    """Store a request under the next number, under a lock: several may begin at the same time."""
    store = _store()
    with store.exclusive(lambda: None):
        numbered = replace(request, number=str(max(_numbers(store), default=0) + 1))
        content = json.dumps(asdict(numbered), indent=1).encode()
        store.write_bytes(f"{numbered.number}.json", content)
    return numbered


def _numbers(store: LocalStore) -> list[int]:
    """Return the numbers of the known backfills; other files in the folder have none."""
    found = (REQUEST_FILE.fullmatch(each.key) for each in store.list())
    return sorted(int(match[1]) for match in found if match)


def read_request(number: str) -> Backfill:
    """Return the stored request of a backfill.

    Raises:
        UsageError: there is none of this number.
        StoreError: it is damaged.
    """
    store, key = _store(), f"{number}.json"
    if not REQUEST_FILE.fullmatch(key) or not store.exists(key):
        known = ", ".join(map(str, _numbers(store)))
        raise UsageError(f"--resume {number}: no such backfill; known: {known or 'none'}")
    tree = read_json_object(store, key, "start the backfill anew", *REQUIRED_KEYS)
    values = {name: value for name, value in tree.items() if name in REQUEST_KEYS}
    return Backfill(**{**values, "cameras": tuple(tree["cameras"])})


def cameras_done(number: str) -> set[str]:
    """Return the cameras with a successful run of the backfill."""
    import dagster as dg

    from odins_ravne_assets.runs.liveness import close_dead_runs

    filters = dg.RunsFilter(tags={BACKFILL_TAG: number}, statuses=[dg.DagsterRunStatus.SUCCESS])
    with opened_instance() as instance:
        close_dead_runs(instance)  # a killed run may have reported everything
        runs = instance.get_runs(filters)
    return {run.tags["dagster/partition"] for run in runs}


def _store() -> LocalStore:
    return LocalStore(home() / BACKFILLS_FOLDER)
