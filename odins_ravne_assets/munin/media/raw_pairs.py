"""Leave raw files out of a listing that are copies of a JPEG: cameras write both, by one name.

`IMG_0004.CR2` beside `IMG_0004.JPG` is the same picture. A raw file without such a JPEG is a
medium of its own.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import TypeVar

from odins_ravne_assets.munin.media.media_files import RAW_EXTENSIONS, extension_of

JPEG_EXTENSIONS = frozenset({".jpg", ".jpeg", ".jpe", ".jfif"})
# Files of one name that are held back until its JPEG is found.
MAX_HELD = 100

Item = TypeVar("Item")


def is_raw(key: str) -> bool:
    """Return True if a key names a camera's raw file."""
    return extension_of(key) in RAW_EXTENSIONS


def without_raw_copies(
    listed: Iterable[Item],
    key_of: Callable[[Item], str],
    on_copy: Callable[[str], None] = lambda key: None,
) -> Iterator[Item]:
    """Yield a listing in its order, without the raw files that are copies of a JPEG.

    Args:
        listed: files in `key_order`, or in the order of their keys: those of one name are
            neighbours.
        key_of: returns an item's key.
        on_copy: called with the key of each raw file that is left out.
    """
    group: list[Item] = []
    name = None
    for item in listed:
        key = key_of(item)
        if _name(key) != name or len(group) == MAX_HELD:
            yield from _resolved(group, key_of, on_copy)
            group, name = [], _name(key)
        group.append(item)
    yield from _resolved(group, key_of, on_copy)


def _resolved(
    group: list[Item], key_of: Callable[[Item], str], on_copy: Callable[[str], None]
) -> Iterator[Item]:
    has_jpeg = any(extension_of(key_of(item)) in JPEG_EXTENSIONS for item in group)
    for item in group:
        if has_jpeg and is_raw(key_of(item)):
            on_copy(key_of(item))
        else:
            yield item


def _name(key: str) -> str:
    """Return a key without its extension."""
    return key.removesuffix(PurePosixPath(key).suffix)


class Stretch(Iterator[Item]):
    """A part of a listing that ends when time is up, never between the files of one name.

    So a listing that continues after `after` leaves the same raw files out as one in one piece.

    Args:
        listed: see `without_raw_copies`.
        enough: returns True when time is up. The files of one name are taken in any case.
    """

    def __init__(
        self,
        listed: Iterable[Item],
        key_of: Callable[[Item], str],
        enough: Callable[[], bool],
    ) -> None:
        self._listed, self._key_of, self._enough = iter(listed), key_of, enough
        self._name: str | None = None
        self._of_name = 0
        # The key of the last file that was taken, and whether it is the last of the listing.
        self.after = ""
        self.is_complete = False

    def __next__(self) -> Item:
        try:
            item = next(self._listed)
        except StopIteration:
            self.is_complete = True
            raise
        key = self._key_of(item)
        if _name(key) != self._name or self._of_name == MAX_HELD:
            if self._name is not None and self._enough():
                self._listed = iter(())
                raise StopIteration
            self._name, self._of_name = _name(key), 0
        self._of_name += 1
        self.after = key
        return item
