"""Find the media that a table from outside names, as Timelapse does, by their paths.

A path is relative to the camera's folder, or to a folder above it: Timelapse opens the folder of a
camera or of a project. The camera's folder has its name on disk or the camera's id. Paths have
slashes or backslashes, and letters with accents are composed or decomposed (NFC, NFD; macOS writes
the latter).
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from resources.settings.camera_ids import suggest_camera_id

PATH, FOLDER, FILE, ROOT = "path", "RelativePath", "File", "RootFolder"


@dataclass(frozen=True)
class Place:
    """Where the medium of a row is.

    Attributes:
        path: of a medium of this camera, as in its tables.
        names_camera: the row names this camera, and not only a path that it has.
        other: the other known camera that the row is of.
        missing: the path, if this camera does not have it.
    """

    path: str | None = None
    names_camera: bool = False
    other: str | None = None
    missing: str = ""


class CameraNames:
    """The names of a camera: its id, and the paths of its folders on disk.

    Args:
        camera_id: the id.
        earlier_ids: the ids before it was renamed.
        places: the paths of its footage, where that is known.
    """

    def __init__(
        self, camera_id: str, places: Iterable[PurePath] = (), earlier_ids: Iterable[str] = ()
    ) -> None:
        self.camera_id = camera_id
        self.camera_ids = (camera_id, *earlier_ids)
        self._ids = {each.casefold() for each in self.camera_ids}
        self._places = [tuple(_folded(part) for part in place.parts) for place in places]
        # An id that is not derived from the folder, but set with --camera.
        self._folders = {
            parts[-1] for parts in self._places if parts and not any(map(self._is_id, parts))
        }

    def match(self, name: str) -> bool:
        """Return True for a name of this camera, also for one that its id can be derived from."""
        return self._is_id(name) or _folded(name) in self._folders

    def match_folders(self, folders: Sequence[str]) -> bool:
        """Return True if the folders in front of a medium's path are this camera's."""
        names = tuple(_folded(folder) for folder in folders)
        return self.match(folders[-1]) or any(
            parts[-len(names) :] == names for parts in self._places
        )

    def _is_id(self, name: str) -> bool:
        return name.casefold() in self._ids or suggest_camera_id(name).casefold() in self._ids


class MediaPaths:
    """The media of one camera, by path.

    Args:
        camera: the names of the camera.
        media: the path of each medium and the name of its source, with which the path begins;
            None: the camera has one source. Tables may have paths without the source, made when
            the camera had one.
        others: the names of other known cameras.
    """

    def __init__(
        self,
        camera: CameraNames,
        media: Iterable[tuple[str, str | None]],
        others: Iterable[CameraNames] = (),
    ) -> None:
        self._camera = camera
        self._others = tuple(others)
        media = list(media)
        self._paths = frozenset(path for path, _ in media)
        self._media = _without_source(media) | {_composed(path): path for path in self._paths}
        self._own: dict[str, bool] = {}
        self._other_of: dict[str, str | None] = {}

    def place(self, cells: Mapping[str, str]) -> Place:
        """Find the medium of a row with `path`, or with RelativePath and File of Timelapse."""
        root = cells.get(ROOT, "")
        given = cells.get(PATH) or f"{cells.get(FOLDER, '')}/{cells.get(FILE, '')}"
        if PATH in cells and given in self._paths:  # also with a backslash in a name
            return Place(given)
        parts = [part for part in _composed(given.replace("\\", "/")).split("/") if part.strip(".")]
        path = "/".join(parts)
        for level in range(1, len(parts)):
            inner = "/".join(parts[level:])
            if inner in self._media and self._camera.match_folders(parts[:level]):
                return Place(self._media[inner], names_camera=True)
        own_root = bool(root) and self._is_own(root)
        other_root = self.other(root) if root and not own_root else None
        if path in self._media and not other_root:
            return Place(self._media[path], names_camera=own_root)
        below_root = _composed(f"{root}/{path}")
        if below_root in self._media:  # Timelapse is opened on a folder of the card
            return Place(self._media[below_root])
        other = next(filter(None, map(self.other, parts[:-1])), other_root)
        own = own_root or any(map(self._is_own, parts[:-1]))
        return Place(names_camera=own, other=None if own else other, missing=path)

    def _is_own(self, name: str) -> bool:
        if name not in self._own:
            self._own[name] = self._camera.match(name)
        return self._own[name]

    def other(self, name: str) -> str | None:
        """Return the id of the other known camera that a folder is named after."""
        if name not in self._other_of:
            found = (each.camera_id for each in self._others if each.match(name))
            self._other_of[name] = next(found, None)
        return self._other_of[name]


def _without_source(media: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """Paths by their part below the source, if no other source has that part."""
    found: dict[str, list[str]] = defaultdict(list)
    for path, source in media:
        if source is not None:
            found[_composed(path.removeprefix(f"{source}/"))].append(path)
    return {inner: paths[0] for inner, paths in found.items() if len(paths) == 1}


def first_folder(path: str) -> str | None:
    """Return the outermost folder of a path; None of a bare file name."""
    folder, slash, _ = path.partition("/")
    return folder if slash else None


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _folded(text: str) -> str:
    return _composed(text).casefold()
