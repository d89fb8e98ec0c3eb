"""Recognise the sources of a camera by their content: a card has no name of its own.

A card is mounted elsewhere, its folder is renamed or moved, and the next card is mounted where the
last one was. So the media of a place are compared with the rows of the media table: first by path,
size and date, then, where these differ, by the hashes of a sample of files with the same size.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from odins_ravne_assets.munin.media.footage import require_camera
from odins_ravne_assets.munin.media.media_files import is_hidden, is_medium, path_in_table
from odins_ravne_assets.munin.media.media_table import Row, StoredMedia, open_media_table
from odins_ravne_assets.munin.media.other_files import OtherFiles, describe_other_files
from odins_ravne_assets.munin.media.source_store import OpenPlace, open_source, place_to_open
from odins_ravne_assets.munin.media.sources import OpenedSource, Source, load_sources, source_name
from resources.errors import MediaError, StoreError
from resources.storage.layout import MEDIA_TABLE
from resources.storage.object_store import ObjectStore, StoredObject, key_order
from resources.storage.open_store import display_url

# Files that are hashed to compare two places. Of n equal ones, the share found is exact to 1/n.
SAMPLE = 32
MAX_OTHERS = 10_000  # files that are counted where there are no media

# Returns when a file says that it was recorded; raises MediaError for one that cannot be used.
ReadTime = Callable[[Path], datetime | None]


@dataclass(frozen=True)
class RunFootage:
    """The footage that a run names.

    Args:
        place: its URL.
        origin: the local folder that `place` is a copy of; None: it is no copy.
        earlier: the places of the camera's footage before, the first one first.
        uses_copies: read the copies on S3 of other sources, as jobs do.
    """

    place: str
    origin: str | None = None
    earlier: tuple[str, ...] = ()
    uses_copies: bool = False

    @property
    def own_place(self) -> str:
        """The place that a person knows."""
        return self.origin or self.place


@dataclass(frozen=True)
class ResolvedSources:
    """The sources of a camera in a run.

    Args:
        opened: all of them, in the order in which they were added.
        named: the one that the run names.
        messages: what people must know: added, moved and missing sources.
    """

    opened: tuple[OpenedSource, ...]
    named: Source
    messages: tuple[str, ...]


def find_sources(
    camera_id: str,
    footage: RunFootage,
    results: ObjectStore,
    open_place: OpenPlace,
    read_time: ReadTime,
) -> ResolvedSources:
    """Find which source of a camera the footage of a run is, and which others are available.

    Changes nothing.

    Raises:
        StoreError: the run names a place without media that is no source of the camera; the results
            are another camera's; or a source is not available and its rows are lost.
    """
    listed = load_sources(results)
    with open_media_table(results, MEDIA_TABLE) as stored:
        require_camera(stored, camera_id, results)
        known = listed.sources if listed else None
        resolved = resolve_sources(camera_id, footage, known, stored, open_place, read_time)
        missing = [each.source.name for each in resolved.opened if each.store is None]
        if missing and stored.path is None:
            raise StoreError(
                f"{results.url}/{MEDIA_TABLE}: is missing or damaged, and {', '.join(missing)} "
                "cannot be read now; make these sources available, or remove them with munin "
                "sources remove"
            )
    return resolved


def resolve_sources(
    camera_id: str,
    footage: RunFootage,
    known: Sequence[Source] | None,
    stored: StoredMedia,
    open_place: OpenPlace,
    read_time: ReadTime,
) -> ResolvedSources:
    """Find which source the footage of a run is, and which of the others are available.

    Args:
        known: the camera's sources; None: results of an earlier version, or none.
        stored: the media table of the last run.

    Raises:
        StoreError: the run names a place without media that is no source of the camera.
    """
    sources = list(known or _unlisted_sources(camera_id, footage, stored))
    return _Resolver(camera_id, footage, sources, stored, open_place, read_time).resolve()


def _unlisted_sources(camera_id: str, footage: RunFootage, stored: StoredMedia) -> Iterator[Source]:
    """Yield the sources of results without a list of them, whose places are then not known.

    They are of an earlier version, or were copied without the list.
    """
    names = stored.source_names()
    if names:
        yield from (Source(name, None) for name in names)
    elif stored.camera_id is not None:
        place = footage.earlier[0] if footage.earlier else footage.own_place
        copy = footage.place if footage.origin == place else None
        yield Source(source_name(place, (), camera_id), place, copy)


class _Resolver:
    """Compares the places of one run with the rows of the last."""

    def __init__(
        self,
        camera_id: str,
        footage: RunFootage,
        sources: list[Source],
        stored: StoredMedia,
        open_place: OpenPlace,
        read_time: ReadTime,
    ) -> None:
        self._camera_id = camera_id
        self._footage = footage
        self._sources = sources
        self._stored = stored
        self._open_place = open_place
        self._read_time = read_time
        self._messages: list[str] = []

    def resolve(self) -> ResolvedSources:
        store = self._open_place(self._footage.place)
        is_there = holds_media(store)
        number = self._number_of(store) if is_there else self._number_of_missing(store)
        if number is None:
            number = self._add()
        opened = [
            OpenedSource(source, store) if n == number and is_there else self._open_other(n, source)
            for n, source in enumerate(self._sources)
        ]
        if all(each.store is None for each in opened):
            raise no_media(store)
        return ResolvedSources(tuple(opened), self._sources[number], tuple(self._messages))

    def _number_of_missing(self, store: ObjectStore) -> int:
        """Return the number of the source whose place is empty now: its card is elsewhere."""
        here = [n for n, each in enumerate(self._sources) if self._is_place_of(each)]
        if not here:
            raise no_media(store)
        return here[0]

    def _number_of(self, store: ObjectStore) -> int | None:
        """Return the number of the source that a store is; None if it is a new one."""
        here = [n for n, each in enumerate(self._sources) if self._is_place_of(each)]
        for n in here:
            if self._is_unchanged(n, store):
                self._note_place(n)
                return n
        if not self._sources:
            return None
        files = _Files(store)
        for n in here:
            if self._is_same_card(n, files):
                self._note_place(n)
                return n
        for n in range(len(self._sources)):
            if n not in here and self._has_moved(n, files):
                return n
        if here:
            name = self._sources[here[0]].name
            self._messages.append(
                f"{display_url(self._footage.own_place)} has none of the media of source {name}, "
                "which was there: it is another card"
            )
        return None

    def _is_place_of(self, source: Source) -> bool:
        places = {source.place, source.copy} - {None}
        return bool(places & {self._footage.place, self._footage.origin})

    def _rows(self, number: int) -> Iterator[Row]:
        return self._stored.rows_of(self._sources[number].name, number == 0)

    def _count(self, number: int) -> int:
        return self._stored.count_of(self._sources[number].name, number == 0)

    def _is_unchanged(self, number: int, store: ObjectStore) -> bool:
        """Return True if half of a source's files are where they were, with their sizes and dates.

        True for a source without rows: its first run was interrupted.
        """
        wanted = self._count(number)
        return _found_again(self._rows(number), store, (wanted + 1) // 2)

    def _is_same_card(self, number: int, files: "_Files") -> bool:
        """Return True if the files in a source's place are mostly its own, some of them edited."""
        rows = list(self._rows(number))
        shared = files.shared(rows)
        few = min(shared.total, len(files.media))
        return 2 * shared.found >= few or self._is_edited(rows, files)

    def _is_edited(self, rows: list[Row], files: "_Files") -> bool:
        """Return True if most files have the path and the recorded time of a row.

        An edit of metadata, such as a position, changes every hash.
        """
        times = {row["path"]: row["recorded_at"] for row in rows if row["recorded_at"]}
        same = [found for found in files.media if path_in_table(found.key) in times]
        sample = _spread(same)
        equal = sum(
            files.time_of(found, self._read_time) == times[path_in_table(found.key)]
            for found in sample
        )
        return bool(sample) and 2 * equal >= len(sample) and 2 * len(same) >= len(rows)

    def _has_moved(self, number: int, files: "_Files") -> bool:
        """Return True if a source is in another place than before, and note the new place."""
        rows = list(self._rows(number))
        shared = files.shared(rows)
        if 2 * shared.found <= shared.total:
            return False
        source = self._sources[number]
        if shared.found < shared.total and self._open_other(number, source, quiet=True).store:
            return False  # a part of a source, which is available too
        self._note_place(number)
        return True

    def _note_place(self, number: int) -> None:
        """Note where a source is now."""
        source, place = self._sources[number], self._footage.own_place
        copy = self._footage.place if self._footage.origin else source.copy
        if self._footage.origin is None and place == source.copy:
            place = source.place or place
        self._sources[number] = replace(source, place=place, copy=copy)
        if place != source.place:
            was = f" (it was in {display_url(source.place)})" if source.place else ""
            self._messages.append(
                f"{display_url(place)} holds the media of source {source.name}{was}: the same "
                "card, not added again"
            )

    def _add(self) -> int:
        names = [each.name for each in self._sources]
        place = self._footage.own_place
        name = source_name(place, names, self._camera_id)
        copy = self._footage.place if self._footage.origin else None
        self._sources.append(Source(name, place, copy))
        if names:
            self._messages.append(
                f"added source {name} ({len(self._sources)} sources); to take it out again: "
                f"munin sources remove {self._camera_id} {name}"
            )
        return len(self._sources) - 1

    def _open_other(self, number: int, source: Source, quiet: bool = False) -> OpenedSource:
        """Open a source that the run does not name, if its media are in its place."""
        footage = self._footage
        place = place_to_open(source, footage.place, footage.origin, footage.uses_copies)
        opened = self._open_at(number, source, place)
        if opened.store is None and footage.uses_copies and source.copy not in {None, place}:
            opened = self._open_at(number, source, source.copy)
        if opened.store is None and not quiet:
            media = self._count(number)
            self._messages.append(
                f"source {source.name} is not available ({opened.reason}): its {media} media and "
                "their visits stay as they are"
            )
        return opened

    def _open_at(self, number: int, source: Source, place: str | None) -> OpenedSource:
        opened = open_source(source, place, self._open_place)
        if opened.store is None:
            return opened
        reason = self._why_missing(number, opened.store)
        return opened if reason is None else OpenedSource(source, None, reason)

    def _why_missing(self, number: int, store: ObjectStore) -> str | None:
        """Return why a source is not in its place; None if it is."""
        place = display_url(store.url)
        try:
            if not holds_media(store):
                return f"{place} holds no pictures or videos"
            if self._is_unchanged(number, store):
                return None
            same = self._is_same_card(number, _Files(store))
            return None if same else f"{place} holds other media"
        except StoreError as error:
            return str(error)


class _Shared(NamedTuple):
    """How many contents of a source a place holds, of how many."""

    found: int
    total: int


class _Files:
    """The media files in a place."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._hashes: dict[str, str | None] = {}
        listed = store.list("", on_error=lambda key, reason: None)
        self.media = [found for found in listed if is_medium(found.key)]

    def shared(self, rows: Iterable[Row]) -> _Shared:
        """Estimate how many files of a source, by its rows, are here, under whatever name.

        Every file with the size of one of them is a candidate; a sample of the candidates is read.
        """
        hashes = {row["content_hash"]: row["bytes"] for row in rows if row["content_hash"]}
        sizes = Counter(hashes.values())
        same_size = [found for found in self.media if found.size in sizes]
        candidates = (Counter(found.size for found in same_size) & sizes).total()
        sample = _spread(sorted(same_size, key=lambda found: found.size))
        equal = {self._hash(found) for found in sample} & hashes.keys()
        if not sample:
            return _Shared(0, len(hashes))
        if len(sample) == len(same_size):
            return _Shared(len(equal), len(hashes))
        return _Shared(candidates * len(equal) // len(sample), len(hashes))

    def _hash(self, found: StoredObject) -> str | None:
        if found.key not in self._hashes:
            try:
                with self._store.reading(found.key) as path, path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                    self._hashes[found.key] = digest
            except (StoreError, OSError):
                self._hashes[found.key] = None
        return self._hashes[found.key]

    def time_of(self, found: StoredObject, read_time: ReadTime) -> datetime | None:
        try:
            with self._store.reading_edges(found.key) as path:
                return read_time(path)
        except (MediaError, StoreError, OSError):
            return None


def _found_again(rows: Iterable[Row], store: ObjectStore, wanted: int) -> bool:
    """Return True if a store holds so many of the files of these rows, unchanged.

    Args:
        rows: in `key_order`, as the store's listing is.
    """
    if not wanted:
        return True
    found = 0
    listed = store.list("", on_error=lambda key, reason: None)
    file = next(listed, None)
    for row in rows:
        order = key_order(row["path"])
        while file is not None and key_order(path_in_table(file.key)) < order:
            file = next(listed, None)
        if file is None:
            return False
        same = (row["path"], row["bytes"], row["modified_ns"])
        found += (path_in_table(file.key), file.size, file.modified_ns) == same
        if found >= wanted:
            return True
    return False


def _spread(files: Sequence[StoredObject]) -> list[StoredObject]:
    """Return a sample of files, evenly spread."""
    if len(files) <= SAMPLE:
        return list(files)
    return [files[number * len(files) // SAMPLE] for number in range(SAMPLE)]


def holds_media(store: ObjectStore) -> bool:
    """Return True if a store holds media, or what cannot be listed, which may hold some."""
    unlisted: list[str] = []
    listed = store.list("", on_error=lambda key, reason: unlisted.append(key))
    return any(is_medium(found.key) for found in listed) or bool(unlisted)


def no_media(store: ObjectStore) -> StoreError:
    """Return the error for footage without media, with what is there instead.

    It is a card that is not mounted, for instance, or one with a recycle bin alone.
    """
    others = OtherFiles()
    for found in islice(store.list("", on_error=lambda key, reason: None), MAX_OTHERS):
        others.add(found.key, "hidden file" if is_hidden(found.key) else None)
    there = describe_other_files(others.rows())
    instead = f", but {there}" if there else ""
    return StoreError(
        f"{display_url(store.url)}: holds no pictures or videos{instead}; "
        "name the folder with the footage, and see that its card or disk is mounted"
    )
