"""Cameras: their ids, and where the footage and the results of each live."""

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from odins_ravne_assets.munin.media_files import is_hidden, kind_by_name
from resources.errors import UsageError
from resources.object_store import LocalStore, StoredObject

CAMERA_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
ALLOWED = "a letter or digit, then letters, digits, - and _, 63 characters at most"

# Letters of the Latin alphabet that are no accented form of another (NFKD leaves them whole).
LETTERS = str.maketrans(
    {"ø": "o", "Ø": "O", "æ": "ae", "Æ": "Ae", "ß": "ss", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D"}
    | {"þ": "th", "Þ": "Th", "ł": "l", "Ł": "L", "œ": "oe", "Œ": "Oe", "ı": "i"}
)
# Folders that a camera makes on its card, a new one for every 999 or 10,000 pictures: "DCIM", and
# below it three digits from 100 and five free characters (DCF 2.0, 3.2.2), as 100RECNX, 101_BTCF.
CARD_FOLDER = re.compile(r"DCIM|[1-9]\d\d[A-Z0-9_]{5}", re.IGNORECASE)


@dataclass(frozen=True)
class Camera:
    """One camera. Its results are kept apart from those of every other."""

    camera_id: str
    footage_url: str
    output_url: str


@dataclass(frozen=True)
class CameraFolder:
    """A folder that holds the footage of one camera."""

    camera_id: str
    path: Path


def camera_id(text: str) -> str:
    """The text, when it is a camera id.

    Raises:
        UsageError: it is not; names what is allowed, and an id that is close.
    """
    if CAMERA_ID.fullmatch(text):
        return text
    repaired = _repaired(text)
    hint = f"; {repaired} would do" if repaired else ""
    raise UsageError(f"camera id {text!r} is not allowed: {ALLOWED}{hint}")


def camera_id_for_folder(path: Path) -> str:
    """A camera id from a folder's name: of the camera's folder, not of one on its card.

    Accents are dropped, and what an id may not hold becomes a hyphen: `Taï cam192/DCIM/100RECNX`
    is `Tai-cam192`.

    Raises:
        UsageError: nothing of the name can be part of an id.
    """
    folder = path.absolute()
    while CARD_FOLDER.fullmatch(folder.name):
        folder = folder.parent
    repaired = _repaired(folder.name)
    if not repaired:
        raise UsageError(
            f"{path}: no camera id can be made of the name {folder.name!r}; name one with --camera"
        )
    return repaired


def _repaired(text: str) -> str:
    """The nearest id; empty when nothing is left of the text."""
    plain = unicodedata.normalize("NFKD", text.translate(LETTERS))
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    return re.sub(r"[^A-Za-z0-9_]+", "-", plain).strip("-_")[:63].rstrip("-_")


def find_cameras(root: Path) -> list[CameraFolder]:
    """The cameras in a folder of camera folders: each direct sub-folder with media below it.

    Returns:
        Cameras in the order of their folders' names.

    Raises:
        UsageError: there is none, media lie outside of camera folders, or two folders would be
            the same camera.
    """
    cameras: list[CameraFolder] = []
    for folder in _camera_folders(root):
        camera = CameraFolder(camera_id_for_folder(folder), folder)
        for other in cameras:
            # File systems and results on them may not tell case apart.
            if other.camera_id.casefold() == camera.camera_id.casefold():
                raise UsageError(
                    f"{other.path} and {folder} would both be camera {camera.camera_id}; "
                    "rename one of them"
                )
        cameras.append(camera)
    if not cameras:
        raise UsageError(f"{root}: no folder in it holds pictures or videos")
    return cameras


def _camera_folders(root: Path) -> Iterator[Path]:
    folders, loose = _entries(root)
    if loose:
        raise UsageError(
            f"{root}: {len(loose)} media files (as {loose[0].name}) lie outside of camera folders; "
            f"move them into one, or run {root} as one camera"
        )
    for folder in folders:
        if not _holds_media(folder):
            continue
        if CARD_FOLDER.fullmatch(folder.name):
            raise UsageError(
                f"{folder}: is a folder of a camera's card, so {root} is one camera, not a folder "
                "of cameras; run it as one"
            )
        yield folder


def _entries(root: Path) -> tuple[list[Path], list[Path]]:
    """The folders and the media that lie in a folder, in the order of their names."""
    try:
        entries = sorted(entry for entry in root.iterdir() if not is_hidden(entry.name))
        folders = [entry for entry in entries if entry.is_dir()]
        media = [entry for entry in entries if kind_by_name(entry.name) and entry.is_file()]
    except OSError as error:
        raise UsageError(f"{root}: cannot be listed: {error.strerror or error}") from None
    return folders, media


def _holds_media(folder: Path) -> bool:
    unlisted: list[str] = []

    def note(key: str, reason: str) -> None:
        unlisted.append(f"{folder / key}: cannot be listed: {reason}")

    objects: Iterator[StoredObject] = LocalStore(folder).list("", on_error=note)
    if any(kind_by_name(found.key) and not is_hidden(found.key) for found in objects):
        return True
    if unlisted:
        raise UsageError(unlisted[0])
    return False


class CameraCatalog:
    """The cameras that are known: one JSON file each, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._store = LocalStore(folder)

    def put(self, camera: Camera) -> None:
        """Add a camera, or replace what is known of it.

        Raises:
            UsageError: its id is not allowed.
            StoreError: the folder cannot be written.
        """
        key = f"{camera_id(camera.camera_id)}.json"
        self._store.write_bytes(key, json.dumps(asdict(camera), indent=2).encode() + b"\n")

    def get(self, identifier: str) -> Camera:
        """The camera of an id.

        Raises:
            UsageError: it is not known, or its file is damaged.
        """
        key = f"{camera_id(identifier)}.json"
        if not self._store.exists(key):
            raise UsageError(
                f"camera {identifier}: not known; add it with "
                f"`munin batch INPUT OUTPUT --camera {identifier}`"
            )
        return self._read(key)

    def list(self) -> tuple[Camera, ...]:
        """All cameras, by id.

        Raises:
            UsageError: the file of one is damaged.
        """
        keys = [found.key for found in self._store.list() if found.key.endswith(".json")]
        return tuple(sorted((self._read(key) for key in keys), key=lambda one: one.camera_id))

    def _read(self, key: str) -> Camera:
        path = self._store.root / key
        try:
            camera = Camera(**json.loads(self._store.read_bytes(key)))
        except (TypeError, ValueError):
            raise UsageError(f"{path}: is no camera's file; delete it and add it anew") from None
        if path.stem != camera.camera_id:
            raise UsageError(f"{path}: is the file of camera {camera.camera_id}; rename it")
        return camera
