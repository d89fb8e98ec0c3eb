"""Find the media that a table from outside names, as Timelapse does, by their paths.

A path is relative to the camera's folder, or to a folder above it: Timelapse opens the folder of a
camera or of a project. The camera's folder has its name on disk or the camera's id. Paths have
slashes or backslashes, and letters with accents are composed or decomposed (NFC, NFD; macOS writes
the latter).
"""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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
    """The names of a camera: its id, and the names of its folders."""

    def __init__(self, camera_id: str, folders: Iterable[str] = ()) -> None:
        self.camera_id = camera_id
        self._id = camera_id.casefold()
        self._names = {self._id, *(_folded(folder) for folder in folders if folder)}

    def match(self, name: str) -> bool:
        """Return True for a name of this camera, also for one that its id can be derived from."""
        return _folded(name) in self._names or suggest_camera_id(name).casefold() == self._id


class MediaPaths:
    """The media of one camera, by path.

    Args:
        camera: the names of the camera.
        media: the paths of its media.
        others: the names of other known cameras.
    """

    def __init__(
        self, camera: CameraNames, media: Iterable[str], others: Iterable[CameraNames] = ()
    ) -> None:
        self._camera = camera
        self._others = tuple(others)
        self._media = {_composed(path): path for path in media}
        self._paths = frozenset(self._media.values())
        self._other_of: dict[str, str | None] = {}

    def place(self, cells: Mapping[str, str]) -> Place:
        """Find the medium of a row with `path`, or with RelativePath and File of Timelapse."""
        root = cells.get(ROOT, "")
        given = cells.get(PATH) or f"{cells.get(FOLDER, '')}/{cells.get(FILE, '')}"
        if PATH in cells and given in self._paths:  # also with a backslash in a name
            return Place(given)
        path = _composed(given.replace("\\", "/")).removeprefix("./").strip("/")
        folders = path.split("/")[:-1]
        own = [level for level, folder in enumerate(folders) if self._camera.match(folder)]
        for level in own:
            inner = "/".join(path.split("/")[level + 1 :])
            if inner in self._media:
                return Place(self._media[inner], names_camera=True)
        root_is_own = bool(root) and self._camera.match(root)
        root_is_other = None if root_is_own or not root else self.other(root)
        if path in self._media and not root_is_other:
            return Place(self._media[path], names_camera=root_is_own)
        below_root = _composed(f"{root}/{path}")
        if below_root in self._media:
            return Place(self._media[below_root])
        if own or root_is_own:
            return Place(missing=path, names_camera=True)
        other = next(filter(None, map(self.other, folders)), root_is_other)
        return Place(other=other, missing=path)

    def other(self, name: str) -> str | None:
        """Return the id of the other known camera that a folder is named after."""
        if name not in self._other_of:
            found = (each.camera_id for each in self._others if each.match(name))
            self._other_of[name] = next(found, None)
        return self._other_of[name]


def first_folder(path: str) -> str | None:
    """Return the outermost folder of a path; None of a bare file name."""
    folder, slash, _ = path.partition("/")
    return folder if slash else None


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _folded(text: str) -> str:
    return _composed(text).casefold()
