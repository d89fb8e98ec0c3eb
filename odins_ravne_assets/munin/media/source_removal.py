"""Remove a source of a camera from the media table and from the list of its sources."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

import polars as pl

from odins_ravne_assets.munin.media.media_table import (
    OTHER_READER,
    Row,
    StoredMedia,
    open_media_table,
    write_media_table,
)
from odins_ravne_assets.munin.media.retained_rows import ContentIndex, retained_rows
from odins_ravne_assets.munin.media.sources import (
    CameraSources,
    Source,
    load_sources,
    path_prefix,
    save_sources,
)
from resources.errors import UsageError
from resources.storage.layout import MEDIA_TABLE, OBSERVATIONS_TABLE, PROCESSED_TABLE
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import display_url
from resources.storage.parquet_files import scan_parquet


@dataclass(frozen=True)
class RemovedSource:
    """What goes with a source.

    Args:
        media: its rows of the media table.
        visits: visits in which it has a medium.
        hashes: the contents that no other source has.
        place: of the source; None: unknown.
        places_left: of the other sources.
    """

    media: int
    visits: int
    hashes: frozenset[str]
    place: str | None = None
    places_left: tuple[str, ...] = ()


def media_by_source(results: ObjectStore, listed: CameraSources) -> dict[str, int]:
    """Return the number of media of each source.

    Raises:
        StoreError: the results cannot be read.
    """
    with open_media_table(results, MEDIA_TABLE) as stored:
        return {
            each.name: stored.count_of(each.name, number == 0)
            for number, each in enumerate(listed.sources)
        }


def remove_source(results: ObjectStore, name: str, on_wait: Callable[[], None]) -> RemovedSource:
    """Remove a source from the list and from the media table; the other tables follow in a run.

    Its media stay in the journal, so that adding it again costs nothing. If the process is killed,
    the next run ends the removal.

    Args:
        on_wait: called while another run uses the results.

    Raises:
        UsageError: there is no such source, or it is the only one.
        StoreError: the results cannot be read or written.
    """
    with results.exclusive(on_wait):
        listed = load_sources(results)
        if listed is None or name not in {each.name for each in listed.sources}:
            if _is_half_removed(results, name):
                return RemovedSource(0, 0, frozenset())
            names = ", ".join(each.name for each in listed.sources) if listed else "none"
            raise UsageError(
                f"{name}: is no source of {display_url(results.url)}; its sources: {names}"
            )
        if len(listed.sources) == 1:
            raise UsageError(
                f"{name}: is the only source of camera {listed.camera_id}; to remove the camera, "
                "delete its results"
            )
        return _remove(results, listed, name)


def _is_half_removed(results: ObjectStore, name: str) -> bool:
    """Return True if an interrupted removal has left rows of a source in the other tables."""
    if not results.exists(PROCESSED_TABLE):
        return False
    with results.reading(PROCESSED_TABLE) as path:
        rows = scan_parquet(path).filter(pl.col("path").str.starts_with(f"{name}/"))
        return bool(rows.select(pl.len()).collect().item())


def _remove(results: ObjectStore, listed: CameraSources, name: str) -> RemovedSource:
    left = [each for each in listed.sources if each.name != name]
    with open_media_table(results, MEDIA_TABLE) as stored:
        number = [each.name for each in listed.sources].index(name)
        gone = [row["content_hash"] for row in stored.rows_of(name, number == 0)]
        visits = _visits_of(results, path_prefix(listed.sources[number], listed.sources))
        save_sources(results, listed.camera_id, left)
        hashes = set(gone) - {None}
        rows = _rows_left(stored, listed.sources, left, hashes)
        is_older = stored.offset_rules == OTHER_READER
        kept = {each.name: OTHER_READER for each in left} if is_older else stored.retained_rules
        rules = stored.offset_rules or ""
        write_media_table(rows, results, MEDIA_TABLE, rules, kept, stored.tag_reader)
    places = tuple(each.place for each in left if each.place)
    return RemovedSource(len(gone), visits, frozenset(hashes), listed.sources[number].place, places)


def _rows_left(
    stored: StoredMedia, before: Sequence[Source], left: Sequence[Source], hashes: set[str]
) -> Iterator[Row]:
    """Yield the rows of the sources that stay; take their contents from `hashes`."""
    with closing(ContentIndex()) as contents:
        for source in left:
            rows = stored.rows_of(source.name, is_first=source == before[0])
            for row in retained_rows(rows, path_prefix(source, left), None, contents):
                hashes.discard(row["content_hash"])
                yield row


def _visits_of(results: ObjectStore, prefix: str) -> int:
    if not results.exists(OBSERVATIONS_TABLE):
        return 0
    with ExitStack() as stack:
        visits = scan_parquet(stack.enter_context(results.reading(OBSERVATIONS_TABLE)))
        paths = pl.col("detection_timeline").list.eval(
            pl.element().struct.field("path").str.starts_with(prefix)
        )
        return int(visits.select(paths.list.any().sum()).collect().item() or 0)
