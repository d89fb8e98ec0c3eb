"""`munin sources`: the sources of a camera's footage, and the removal of one.

`munin forget` and `munin rename`: a camera out of the registers, or under another id.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cameras.deployments import with_deployments
from odins_ravne_assets.cameras.next_card import without_place
from odins_ravne_assets.cameras.results_store import OpenStore, store_opener
from odins_ravne_assets.cameras.selection import check_profile
from odins_ravne_assets.cli.cloud_profile import require_sandbox
from odins_ravne_assets.cli.job import prepare_job
from odins_ravne_assets.cli.terminal import out, print_log
from odins_ravne_assets.instance_home import catalog_folder, home, prepare_home
from resources.errors import UsageError
from resources.settings.camera_ids import CAMERA_ID_PATTERN
from resources.settings.loader import load_profile
from resources.settings.profile import Profile
from resources.storage.layout import (
    CLASSIFICATIONS_TABLE,
    CORRECTIONS_FOLDER,
    LAUNCHES_FOLDER,
    MEDIA_SAMPLES_FOLDER,
)
from resources.storage.local_store import LocalStore
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import display_url

HEADINGS = ("source", "media", "available", "place")


class ListByDefault(typer.core.TyperGroup):
    """A group whose first argument may be a camera: `munin sources ridge` lists its sources."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See click.Group."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=ListByDefault,
    help="The sources of a camera's footage, such as its memory cards: list them, remove one.",
    no_args_is_help=True,
)
CameraArgument = Annotated[
    str, typer.Argument(metavar="CAMERA", help="A known camera's id, or its results.")
]


@app.command("list")
def list_sources(context: typer.Context, camera: CameraArgument) -> None:
    """List the sources of a camera: name, media, whether it is available now, and its place."""
    profile = load_profile(context.obj.name)
    require_sandbox(profile)
    prepare_home()
    from odins_ravne_assets.munin.media.source_removal import media_by_source
    from odins_ravne_assets.munin.media.sources import load_sources

    chosen = _camera(camera, profile)
    results = store_opener(profile)(chosen.output_url)
    listed = load_sources(results)
    if listed is None:
        out.print(
            f"{chosen.camera_id}: its results list no sources yet; its next run does",
            markup=False,
            soft_wrap=True,
        )
        return
    media = media_by_source(results, listed)
    table = Table()
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    for source in listed.sources:
        state = _availability(source.place, source.copy, profile)
        place = display_url(source.place) if source.place else "unknown"
        cells = (source.name, str(media[source.name]), state, place)
        table.add_row(*map(escape, cells))
    out.print(table)


@app.command("remove")
def remove(
    context: typer.Context,
    camera: CameraArgument,
    source: Annotated[str, typer.Argument(help="The name of the source, as the list has it.")],
) -> None:
    """Remove a source: its media and visits go from the results; its files are not touched."""
    job = prepare_job(context, "tables", {}, {})
    from odins_ravne_assets.munin.media.source_removal import remove_source

    chosen = _camera(camera, job.profile)
    results = store_opener(job.profile)(chosen.output_url)
    removed = remove_source(results, source, _waiting(chosen.camera_id))
    print_log(
        f"{chosen.camera_id}: removed source {source}, with {removed.media} media, which are in "
        f"{removed.visits} visits; its files stay, and adding it again costs nothing. A sensor of "
        "new footage that watches its folder adds it again: move the folder"
    )
    if count := _corrections_of(results, removed.hashes):
        print_log(
            f"{chosen.camera_id}: {count} corrections of its media stay in "
            f"{display_url(chosen.output_url)}/{CORRECTIONS_FOLDER}, without effect until the "
            "source is added again"
        )
    chosen = without_place(chosen, removed.place, removed.places_left)
    CameraCatalog(catalog_folder()).put(chosen)
    job.run([chosen]).exit_if_any_failed()


def forget(
    context: typer.Context,
    camera: Annotated[str, typer.Argument(metavar="CAMERA", help="A known camera's id.")],
    delete_results: Annotated[
        bool, typer.Option("--delete-results", help="Delete its results as well.")
    ] = False,
) -> None:
    """Remove a camera from this machine: its partition, status, checks and costs.

    Its footage stays, and so do its results unless --delete-results is given.
    """
    profile = load_profile(context.obj.name)
    require_sandbox(profile)
    prepare_home()
    import dagster as dg

    from odins_ravne_assets.cameras.register import CameraRegister
    from odins_ravne_assets.results.renamed_camera import delete_results as delete
    from odins_ravne_assets.runs.liveness import close_dead_runs

    catalog = CameraCatalog(catalog_folder())
    known = catalog.get(camera)
    with dg.DagsterInstance.get() as instance:
        close_dead_runs(instance)
        register = CameraRegister(catalog, instance)
        register.refuse_running(camera)
        if delete_results:  # first: an interrupted removal leaves a known camera
            check_profile([known], profile)
            count = delete(store_opener(profile), known.output_url, _waiting(camera))
            print_log(f"{camera}: {count} files of its results are deleted")
        register.forget(camera)
    LocalStore(home() / MEDIA_SAMPLES_FOLDER).delete(f"{camera}.json")
    shown = display_url(known.output_url)
    if not delete_results:
        print_log(
            f"{camera}: is forgotten; its results and costs stay in {shown}. To add it again: "
            f"munin sources {shown}"
        )
    print_log(
        f"{camera}: its footage stays in {display_url(known.footage_url)}; a sensor of new footage "
        "does not add it again. Its runs stay in Dagster"
    )


def rename(
    context: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD", help="A known camera's id.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its id from now on.")],
) -> None:
    """Give a camera another id, in all that is known of it; nothing is analysed again.

    If it is interrupted, run it again.
    """
    job = prepare_job(context, "stage3", {}, {})
    import dagster as dg

    from odins_ravne_assets.cameras.register import CameraRegister
    from odins_ravne_assets.results import renamed_camera
    from odins_ravne_assets.runs.liveness import close_dead_runs

    catalog, open_store = CameraCatalog(catalog_folder()), store_opener(job.profile)
    with dg.DagsterInstance.get() as instance:
        close_dead_runs(instance)
        register = CameraRegister(catalog, instance)
        camera = register.check_rename(old, new)
        check_profile([camera], job.profile)
        _refuse_unfinished_launch(camera, open_store)
        place = renamed_camera.renamed_place(camera.output_url, old, new)
        camera = register.begin_rename(camera, new)
        with open_store(camera.output_url).exclusive(_waiting(old)):
            pass  # a run that holds the results would write into the folder that is moved
        renamed_camera.move_results(camera.output_url, place)
        camera = replace(camera, output_url=place)
        catalog.put(camera)
        results = open_store(place)
        renamed_camera.rename_results(results, camera.earlier_ids, new, _waiting(old))
        register.finish_rename(old, new)
    LocalStore(home() / MEDIA_SAMPLES_FOLDER).delete(f"{old}.json")
    print_log(f"{old}: is {new} from now on; its results are in {display_url(place)}")
    _name_rows_of(old, new, camera, job.profile)
    if results.exists(CLASSIFICATIONS_TABLE):
        job.run([camera]).exit_if_any_failed()


def forget_deleted_cameras() -> None:
    """Forget the cameras whose partition was deleted in Dagster's UI, and say so."""
    prepare_home()
    import dagster as dg

    from odins_ravne_assets.cameras.register import DELETED_PARTITION, CameraRegister

    with dg.DagsterInstance.get() as instance:
        for camera_id in CameraRegister(CameraCatalog(catalog_folder()), instance).forget_deleted():
            print_log(f"{camera_id}: {DELETED_PARTITION}")


def _refuse_unfinished_launch(camera: Camera, open_store: OpenStore) -> None:
    """Refuse while jobs on AWS may write into the results.

    Raises:
        UsageError: a launch is not finished.
    """
    from resources.batch.launch_record import load_records

    launches = open_store(f"{camera.output_url}/{LAUNCHES_FOLDER}")
    if not all(record.finished for record in load_records(launches)):
        raise UsageError(
            f"camera {camera.camera_id}: a launch of it is unfinished; run it to its end first: "
            f"munin backfill --cameras {camera.camera_id}"
        )


def _name_rows_of(old: str, new: str, camera: Camera, profile: Profile) -> None:
    """Name the tables of people that have rows of the earlier id: they are theirs to change."""
    rows = with_deployments(profile, [camera]).project.deployments
    tables = {row.where for row in rows if row.cameraID == old}
    clocks = profile.pipeline.stage0.clock_corrections
    for where in sorted(tables):
        print_log(f"{where}: is of camera {old}; write {new} there, or {new} has no deployment")
    if any(each.camera_id == old for each in clocks):
        print_log(f"clock corrections: rows are of camera {old}; write {new} there")


def _waiting(camera_id: str) -> Callable[[], None]:
    """Return a callback that says once that another run uses the results."""
    lines = iter([f"{camera_id}: waiting for the end of another run"])

    def on_wait() -> None:
        if line := next(lines, None):
            print_log(line)

    return on_wait


def _camera(camera: str, profile: Profile) -> Camera:
    """Return a camera by its id or its results.

    Raises:
        UsageError: it is neither.
    """
    from odins_ravne_assets.cameras.known_results import camera_of_results

    catalog = CameraCatalog(catalog_folder())
    if CAMERA_ID_PATTERN.fullmatch(camera) and (known := catalog.find(camera)):
        return known
    try:
        return camera_of_results(camera, catalog, profile, print_log)
    except UsageError as error:
        if CAMERA_ID_PATTERN.fullmatch(camera):
            raise UsageError(
                f"{camera}: is no known camera, and no folder of results; munin status lists the "
                "known cameras"
            ) from error
        raise


def _availability(place: str | None, copy: str | None, profile: Profile) -> str:
    from odins_ravne_assets.munin.media.source_match import holds_media
    from odins_ravne_assets.munin.media.source_store import open_source
    from odins_ravne_assets.munin.media.sources import Source
    from resources.errors import StoreError

    open_place = store_opener(profile)
    for url in (place, copy):
        opened = open_source(Source("", url), url, open_place)
        try:
            if opened.store is not None and holds_media(opened.store):
                return "yes" if url == place else "its copy"
        except StoreError:
            continue
    return "no"


def _corrections_of(results: ObjectStore, hashes: frozenset[str]) -> int:
    from contextlib import ExitStack

    from odins_ravne_assets.hugin.review.corrections import read_corrections

    with ExitStack() as stack:
        corrected = read_corrections(results, stack)["content_hash"]
        return sum(each in hashes for each in corrected)
