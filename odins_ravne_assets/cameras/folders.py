"""Find the cameras in a folder of camera folders, local or on S3."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from odins_ravne_assets.cameras.catalog import CARD_FOLDER, camera_id_for_folder
from odins_ravne_assets.munin.media.media_files import is_hidden, kind_by_name
from resources.errors import UsageError
from resources.storage.local_store import LocalStore
from resources.storage.object_store import ObjectStore

if TYPE_CHECKING:
    from resources.storage.s3.store import S3Store


@dataclass(frozen=True)
class CameraFolder:
    """A folder that holds the footage of one camera."""

    camera_id: str
    footage_url: str


@dataclass(frozen=True)
class _Root:
    """The folder of camera folders.

    Args:
        shown: its name in messages.
        folders, files: the names in it.
        url_of: returns the URL of one of its folders.
        store_of: opens one of its folders.
    """

    shown: str
    folders: Sequence[str]
    files: Sequence[str]
    url_of: Callable[[str], str]
    store_of: Callable[[str], ObjectStore]


def cameras_in_folder(root: Path) -> list[CameraFolder]:
    """Return the cameras of a local folder: each direct sub-folder with media below it.

    Returns:
        Cameras, sorted by folder name.

    Raises:
        UsageError: there are none, media are outside of camera folders, or two folders have the
            same camera id.
    """
    try:
        entries = sorted(root.iterdir())
        folders = [entry.name for entry in entries if entry.is_dir()]
        files = [entry.name for entry in entries if kind_by_name(entry.name) and entry.is_file()]
    except OSError as error:
        raise UsageError(f"{root}: cannot be listed: {error.strerror or error}") from None
    return _cameras(
        _Root(
            str(root),
            folders,
            files,
            lambda name: (root / name).as_uri(),
            lambda name: LocalStore(root / name),
        )
    )


def cameras_in_bucket(
    store: "S3Store", open_store: Callable[[str], ObjectStore]
) -> list[CameraFolder]:
    """Return the cameras of a prefix on S3: each first-level prefix with media below it.

    Args:
        open_store: opens the store of an s3:// URL.

    Raises:
        UsageError: as `cameras_in_folder`.
        StoreError: S3 cannot be listed.
    """
    folders, files = list(store.folders()), list(store.files())

    def url_of(name: str) -> str:
        return f"{store.url}/{name}"

    root = _Root(store.url, folders, files, url_of, lambda name: open_store(url_of(name)))
    return _cameras(root)


def _cameras(root: _Root) -> list[CameraFolder]:
    found: dict[str, tuple[str, CameraFolder]] = {}  # by id, case-folded
    for folder in _camera_folders(root):
        shown = f"{root.shown}/{folder}"
        camera = CameraFolder(camera_id_for_folder(Path("/", folder)), root.url_of(folder))
        # File systems may be case-insensitive.
        other, _ = found.setdefault(camera.camera_id.casefold(), (shown, camera))
        if other != shown:
            raise UsageError(
                f"{other} and {shown} have the same camera id {camera.camera_id}; rename one of "
                "them"
            )
    if not found:
        raise UsageError(f"{root.shown}: no folder in it holds pictures or videos")
    return [camera for _, camera in found.values()]


def _camera_folders(root: _Root) -> Iterator[str]:
    loose = [name for name in root.files if kind_by_name(name) and not is_hidden(name)]
    if loose:
        raise UsageError(
            f"{root.shown}: {len(loose)} media files (such as {loose[0]}) are outside of camera "
            f"folders; move them into one, or run {root.shown} as one camera"
        )
    for folder in root.folders:
        if is_hidden(folder) or not _holds_media(root.store_of(folder), f"{root.shown}/{folder}"):
            continue
        if CARD_FOLDER.fullmatch(folder):
            raise UsageError(
                f"{root.shown}/{folder}: is a folder of a memory card, so {root.shown} is one "
                "camera, not a folder of cameras; run it without --cameras"
            )
        yield folder


def _holds_media(store: ObjectStore, shown: str) -> bool:
    unlisted: list[str] = []
    links: list[str] = []  # and others with the name of a medium: they become rows

    def note(key: str, reason: str) -> None:
        if key.endswith(("/", ".")):
            unlisted.append(f"{shown}/{key.rstrip('/')}: cannot be listed: {reason}")
        elif kind_by_name(key) and not is_hidden(key):
            links.append(key)

    if any(kind_by_name(found.key) and not is_hidden(found.key) for found in store.list("", note)):
        return True
    if links:
        return True
    if unlisted:
        raise UsageError(unlisted[0])
    return False
