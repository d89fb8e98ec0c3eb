"""The one way from the path of a medium to its file: the store of all sources of a camera."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from odins_ravne_assets.munin.media.sources import (
    OpenedSource,
    Source,
    load_sources,
    path_prefix,
)
from resources.errors import StoreError, UsageError
from resources.storage.local_store import LocalStore
from resources.storage.object_store import (
    S3_SCHEME,
    ObjectStore,
    OnListError,
    StoredObject,
)

# Opens a store by its URL.
OpenPlace = Callable[[str], ObjectStore]


class SourceFootage:
    """The footage of a camera with its sources, in the order in which they were added.

    Keys are the paths of the media table. Media of a source that is not available are not listed,
    and opening one raises StoreError.
    """

    def __init__(self, sources: Sequence[OpenedSource], url: str) -> None:
        """Args:
        url: of the place that the run names, for messages.
        """
        self.sources = tuple(sources)
        self.url = url
        self._listed = [each.source for each in sources]

    def prefix(self, source: Source) -> str:
        """Return what the paths of a source's media begin with."""
        return path_prefix(source, self._listed)

    def prefixes(self) -> dict[str, str]:
        """Return what paths begin with, by name of a source, the first one first."""
        return {each.name: self.prefix(each) for each in self._listed}

    def missing_prefixes(self) -> tuple[str, ...]:
        """Return what the paths of media begin with that cannot be opened now."""
        return tuple(self.prefix(each.source) for each in self.sources if each.store is None)

    def with_stores(self, wrap: Callable[[ObjectStore], ObjectStore]) -> "SourceFootage":
        """Return the same footage, whose stores are wrapped."""
        wrapped = [
            OpenedSource(each.source, each.store and wrap(each.store), each.reason)
            for each in self.sources
        ]
        return SourceFootage(wrapped, self.url)

    def locate(self, path: str) -> tuple[ObjectStore, str]:
        """Return the store of a medium's source, and the medium's key in it.

        Raises:
            StoreError: the source is not available, or there is none.
        """
        for each in self.sources:
            prefix = self.prefix(each.source)
            if path.startswith(prefix):
                if each.store is None:
                    raise StoreError(f"source {each.source.name} is not available: {each.reason}")
                return each.store, path[len(prefix) :]
        raise StoreError(f"{path}: is in no source of the camera")

    def list(self, prefix: str = "", on_error: OnListError | None = None) -> Iterator[StoredObject]:
        """Yield the media of all sources that are available, source by source."""
        for each in self.sources:
            if each.store is None:
                continue
            begin = self.prefix(each.source)

            def on_source_error(key: str, reason: str, begin: str = begin) -> None:
                assert on_error is not None
                on_error(key if key == "." else begin + key, reason)

            for found in each.store.list(prefix, on_source_error if on_error else None):
                yield found._replace(key=begin + found.key)

    def reading(self, path: str) -> AbstractContextManager[Path]:
        """See ObjectStore."""
        store, key = self.locate(path)
        return store.reading(key)

    def reading_edges(self, path: str) -> AbstractContextManager[Path]:
        """See ObjectStore."""
        store, key = self.locate(path)
        return store.reading_edges(key)


# The footage of a camera: with all its sources, or, where it has no list of them, one store.
Footage = ObjectStore | SourceFootage


def locate(footage: Footage, path: str) -> tuple[ObjectStore, str]:
    """Return the store that holds a medium, and its key there.

    Raises:
        StoreError: its source is not available.
    """
    return footage.locate(path) if isinstance(footage, SourceFootage) else (footage, path)


def open_footage(
    results: ObjectStore,
    place: str,
    open_place: OpenPlace,
    uses_copies: bool,
    origin: str | None = None,
) -> Footage:
    """Open the footage that the media table of results describes.

    Args:
        place: the URL that the run names; also the footage of results without a list of sources.
        uses_copies: read the copies on S3 where there are some, as jobs do.
        origin: the local folder that `place` is a copy of, if it is one.

    Raises:
        StoreError: the list of sources is damaged.
    """
    listed = load_sources(results)
    if listed is None:
        return open_place(place)
    opened = [
        open_source(each, place_to_open(each, place, origin, uses_copies), open_place)
        for each in listed.sources
    ]
    if len(opened) == 1 and opened[0].store is not None:
        return opened[0].store
    return SourceFootage(opened, place)


def place_to_open(source: Source, place: str, origin: str | None, uses_copies: bool) -> str | None:
    """Return the URL to read a source from; None if it is not known."""
    if place in {source.place, source.copy} or (origin is not None and origin == source.place):
        return place
    if uses_copies and source.copy:
        return source.copy
    return source.place


def open_source(source: Source, place: str | None, open_place: OpenPlace) -> OpenedSource:
    """Open a source, with the reason if its place cannot be opened; reads nothing."""
    if place is None:
        return OpenedSource(source, None, "its place is not known")
    try:
        store = open_place(place)
    except (StoreError, UsageError) as error:  # on S3, and the profile has no cloud section
        return OpenedSource(source, None, str(error))
    if isinstance(store, LocalStore) and not store.root.is_dir():
        return OpenedSource(source, None, f"{store.root} does not exist")
    return OpenedSource(source, store)


def is_remote(store: ObjectStore) -> bool:
    """Return True if a store is on S3, where files are copies with dates of their own."""
    return store.url.startswith(S3_SCHEME)
