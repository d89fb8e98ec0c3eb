"""`munin sources`: the sources of a camera's footage, and the removal of one."""

from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cameras.next_card import without_place
from odins_ravne_assets.cameras.results_store import store_opener
from odins_ravne_assets.cli.cloud_profile import require_sandbox
from odins_ravne_assets.cli.job import prepare_job
from odins_ravne_assets.cli.terminal import out, print_log
from odins_ravne_assets.instance_home import catalog_folder, prepare_home
from resources.errors import UsageError
from resources.settings.camera_ids import CAMERA_ID_PATTERN
from resources.settings.loader import load_profile
from resources.settings.profile import Profile
from resources.storage.layout import CORRECTIONS_FOLDER
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
    waiting = iter([f"{chosen.camera_id}: waiting for the end of another run"])

    def on_wait() -> None:
        if line := next(waiting, None):
            print_log(line)

    removed = remove_source(results, source, on_wait)
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
