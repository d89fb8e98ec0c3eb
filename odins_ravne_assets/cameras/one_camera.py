"""Is a folder the footage of one camera, or a folder of camera folders?

A wrong guess mixes the visits of several cameras, so a folder that looks like several is refused
until the user says which it is. Only names are read. Not several cameras are: folders of a card,
of dates, visits and checks, of kinds of media, and what tools sort media into.
"""

import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from itertools import islice

from odins_ravne_assets.cameras.card_folders import (
    CARD_FOLDER,
    are_of_one_card,
    is_dcim,
)
from odins_ravne_assets.cameras.folder_tree import FolderTree
from resources.errors import UsageError

# Folders below INPUT down to which camera folders are searched: INPUT/year/project/camera.
MAX_DEPTH = 3
# Folders named in a message, and folders of dates in which cameras are searched.
MAX_NAMED = 3
FEW_DATES = 3

# Words of folders within one camera's footage, in some languages of users, without accents: kinds
# of media, visits and times, parts and copies, and what tools and people sort media into.
_KINDS = """
photo photos picture pictures pic pics image images img foto fotos bild bilder bilde billeder
still stills jpg jpeg raw video videos vid vids film films filme filmer movie movies clip clips
klipp footage media data files mp avi mov timelapse motion day night dag natt nacht colour color
"""
_VISITS = """
check checks visit visits control kontroll kontrolle besok besuch visite visita session sessions
round rounds retrieval retrievals collection pull download downloads upload uploads service trip
period date week weeks wk vecka woche month months year season spring summer autumn fall
winter var sommar host vinter fruhling sommer herbst from to till until bis til of
and jan january januari januar feb february februari februar mar march mars marz apr april may
maj mai jun june juni jul july juli aug august augusti sep sept september oct okt october
oktober nov november dec dez december dezember desember
"""
_PARTS = """
part parts del teil batch batches set sets folder subfolder burst bursts sequence sequences old
new all rest more extra original originals orig backup copy kopia kopie selected selection best
favourites favorites misc other todo done renamed converted
"""
_SORTED = """
animal animals person people human humans vehicle vehicles empty blank blanks unknown nonanimals
misfire misfires
"""
PART_WORDS = frozenset((_KINDS + _VISITS + _PARTS + _SORTED).split())
# A date, and what may follow it: a time, a number, another date.
DATE = re.compile(
    r"((19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])?"  # 20260501, 202605
    r"|(0?[1-9]|[12]\d|3[01]) (0?[1-9]|[12]\d|3[01]) (19|20)\d\d"  # 01 05 2026
    r"|(19|20)\d\d (0?[1-9]|1[0-2])( (0?[1-9]|[12]\d|3[01]))?)"  # 2026 05 01, 2026 05
    r"( \d{1,8})*"
)
ORDINAL = re.compile(r"(?<=\d)(st|nd|rd|th)\b")  # 1st check
# Years with footage of digital cameras; later numbers and earlier ones are those of sites.
FIRST_YEAR = 2005
CAMERA_NAME = re.compile(
    r"(ct|cam|camera|kamera|trap|site|station|plot|loc|location)s?[ _-]?(\w*\d\w*|[a-z])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class SeveralCameras:
    """Folders that look like cameras.

    Args:
        parent: the path of the folder that they are in, below INPUT; "": INPUT itself.
        folders: the first of them.
        more: True if there are others.
    """

    parent: str
    folders: tuple[str, ...]
    more: bool

    @property
    def named(self) -> str:
        """The folders, for messages."""
        if self.more:
            return f"{', '.join(self.folders)} and others"
        return f"{', '.join(self.folders[:-1])} and {self.folders[-1]}"


def find_several_cameras(
    tree: FolderTree, path: str = "", depth: int = MAX_DEPTH, *, by_name: bool = False
) -> SeveralCameras | None:
    """Return the folders of a tree that look like cameras; None if it is that of one camera.

    Args:
        path: the folder of the tree in which they are searched.
        depth: levels of folders that are searched.
        by_name: find only folders with names such as cam2 or site-7.

    Raises:
        UsageError, StoreError: the folder cannot be listed.
    """
    folders = tree.folders(path)
    if any(map(is_dcim, (*folders, path.rpartition("/")[2] or tree.name))):
        return None
    loose = any(tree.media(path))
    candidates = (
        name
        for name in _candidates(folders)
        if (not by_name or CAMERA_NAME.fullmatch(name))
        and (not loose or _is_strong(tree, path, name))
        and _holds_media(tree, _join(path, name))
    )
    found = tuple(islice(candidates, MAX_NAMED + 1))
    if len(found) > 1:
        return SeveralCameras(path, found[:MAX_NAMED], len(found) > MAX_NAMED)
    if loose or not depth:
        return None
    inner = (
        find_several_cameras(tree, _join(path, name), depth - 1, by_name=by_name)
        for name in _worth_searching(tree, path, folders)
    )
    return next((each for each in inner if each), None)


def folders_beside_media(tree: FolderTree) -> SeveralCameras | None:
    """Return folders that may be cameras, or what people sort a camera's media into.

    Media beside them, and their names, leave it open; `find_several_cameras` finds none.
    """
    if not any(tree.media()):
        return None
    folders = tree.folders()
    found = [name for name in _candidates(folders) if _holds_media(tree, name)]
    if any(map(is_dcim, folders)) or len(found) < 2:
        return None
    return SeveralCameras("", tuple(found[:MAX_NAMED]), len(found) > MAX_NAMED)


def _candidates(folders: list[str]) -> list[str]:
    """Return the folders that are not by their names parts of one camera's footage."""
    found = [name for name in folders if not is_part_of_camera(name)]
    card = [name for name in found if CARD_FOLDER.fullmatch(name)]
    return [name for name in found if name not in card] if are_of_one_card(card) else found


def is_part_of_camera(name: str) -> bool:
    """Return True if a folder's name is a date, or a word of PART_WORDS with or without numbers."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    plain = ORDINAL.sub("", plain.encode("ascii", "ignore").decode())
    tokens = re.findall(r"[a-z]+|\d+", plain)
    words = [token for token in tokens if not token.isdigit()]
    if words:
        return all(word in PART_WORDS for word in words)
    return is_date(tokens)


def is_date(numbers: list[str]) -> bool:
    """Return True if numbers are a year, or a date with or without a time: 20260501 1030."""
    text = " ".join(numbers)
    is_year = text.isdigit() and FIRST_YEAR <= int(text) <= date.today().year
    return is_year or DATE.fullmatch(text) is not None


def _is_strong(tree: FolderTree, path: str, name: str) -> bool:
    """Return True if a folder is a camera's even beside loose media, such as a map of the sites."""
    if CAMERA_NAME.fullmatch(name):
        return True
    with suppress(UsageError):
        inner = tree.folders(_join(path, name))
        return any(is_dcim(each) or CARD_FOLDER.fullmatch(each) for each in inner)
    return False


def _holds_media(tree: FolderTree, path: str) -> bool:
    """Return True if there are media in a folder; False if it cannot be listed.

    The run reports a folder of its camera that cannot be listed, and goes on.
    """
    with suppress(UsageError):
        return tree.holds_media(path)
    return False


def _worth_searching(tree: FolderTree, path: str, folders: list[str]) -> Iterator[str]:
    """Yield the only folder with media, or the first folders of dates: cameras may be in them."""
    with_media = tuple(
        islice((name for name in folders if _holds_media(tree, _join(path, name))), FEW_DATES)
    )
    yield from with_media if len(with_media) == 1 else filter(is_part_of_camera, with_media)


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
