"""Folders that a camera makes on its memory card, which are no cameras of their own.

DCF 2.0 (CIPA DC-009-2010, 3.2 and 3.3) gives a card the folder DCIM; in it folders of three digits
from 100, each number once, and five free characters (100RECNX, 101_BTCF); in these, files of four
free characters and four digits (IMG_0001.JPG). Cards are often copied without their DCIM, and sites
and dates have names of the same form (101NORTH, 20260501). So such a folder counts as a card's if
DCIM is above it, or if its media are named by DCF and no folder next to it contradicts: a camera
keeps the five free characters, which contain a letter.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import PurePosixPath

from odins_ravne_assets.cameras.folder_tree import FolderTree
from resources.errors import StoreError, UsageError
from resources.settings.camera_ids import suggest_camera_id

DCIM = "dcim"
CARD_FOLDER = re.compile(r"([1-9]\d\d)([A-Z0-9_]{5})", re.IGNORECASE)
# The name of a file by DCF, also behind a prefix: 20210531082538-RCNX0031.JPG.
CARD_FILE = re.compile(r"(?:.*[^A-Z0-9_])?[A-Z0-9_]{4}\d{4}", re.IGNORECASE)

# Media of a folder whose names are read.
SAMPLE = 20


def is_dcim(name: str) -> bool:
    return name.lower() == DCIM


def is_card_folder(tree: FolderTree, name: str, in_dcim: bool) -> bool:
    """Return True if a folder in `tree` is one that a camera made on its card.

    Args:
        in_dcim: True if the tree itself is a folder DCIM.
    """
    if is_dcim(name):
        return True
    if CARD_FOLDER.fullmatch(name) is None:
        return False
    if in_dcim:
        return True
    if not is_named_by_camera(name) or not has_camera_files(tree.media(name)):
        return False
    others = [other for other in _folders_beside(tree) if other != name]
    contradicting = (
        other
        for other in others
        if CARD_FOLDER.fullmatch(other) and not are_of_one_card([name, other])
    )
    return not any(tree.holds_media(other) for other in islice(contradicting, SAMPLE))


def _folders_beside(tree: FolderTree) -> list[str]:
    """Return the folders of a tree; none if it cannot be listed: only INPUT below it must be."""
    with suppress(UsageError, StoreError):
        return tree.folders()
    return []


def is_named_by_camera(name: str) -> bool:
    """Return True if a folder may have its name from a camera: the free characters have a letter.

    20260501 and 10050028 are dates and numbers of sites.
    """
    found = CARD_FOLDER.fullmatch(name)
    return found is not None and any(letter.isalpha() for letter in found[2])


def are_of_one_card(names: Collection[str]) -> bool:
    """Return True if folders may be those of one card: other numbers, the same free characters."""
    found = [CARD_FOLDER.fullmatch(name) for name in names]
    if not all(found) or not all(map(is_named_by_camera, names)):
        return False
    return len({each[2].casefold() for each in found if each}) == 1


def has_camera_files(media: Iterable[str]) -> bool:
    """Return True if most of a folder's media have the names that cameras give."""
    named = [CARD_FILE.fullmatch(name.rpartition(".")[0]) for name in islice(media, SAMPLE)]
    return bool(named) and 2 * sum(map(bool, named)) > len(named)


def camera_folder(
    path: PurePosixPath, tree_of: Callable[[PurePosixPath], FolderTree]
) -> PurePosixPath:
    """Return the folder of the camera that a folder belongs to: above DCIM and folders of a card.

    Args:
        path: absolute.
        tree_of: opens a folder above it.
    """
    folder = path
    while folder.name:
        parent = folder.parent
        if not is_dcim(folder.name) and not (
            CARD_FOLDER.fullmatch(folder.name)
            and is_card_folder(tree_of(parent), folder.name, is_dcim(parent.name))
        ):
            break
        folder = parent
    return folder


def with_folders_above(path: PurePosixPath) -> Iterator[PurePosixPath]:
    """Yield a folder and those above it that a camera may have its name from."""
    yield path
    while is_dcim(path.name) or CARD_FOLDER.fullmatch(path.name):
        path = path.parent
        yield path


def camera_id_of(folder: PurePosixPath) -> str:
    """Derive a camera id from a folder's name.

    Accents are dropped, and characters that an id cannot contain become hyphens: `Taï cam192` is
    `Tai-cam192`.

    Raises:
        UsageError: no character of the name can be part of an id.
    """
    repaired = suggest_camera_id(folder.name)
    if not repaired:
        raise UsageError(
            f"{folder}: no camera id can be derived from the folder name {folder.name!r}; set one "
            "with --camera"
        )
    return repaired
