"""Find the cameras in a folder of camera folders, local or on S3."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath

from odins_ravne_assets.cameras.card_folders import (
    CARD_FOLDER,
    are_of_one_card,
    camera_id_of,
    has_camera_files,
    is_dcim,
)
from odins_ravne_assets.cameras.folder_tree import FolderTree
from odins_ravne_assets.cameras.one_camera import find_several_cameras
from resources.errors import UsageError

# Media outside of camera folders that are counted.
MAX_LOOSE = 1000


@dataclass(frozen=True)
class CameraFolder:
    """A folder that holds the footage of one camera."""

    camera_id: str
    footage_url: str


def cameras_in(tree: FolderTree, one_camera: bool = False) -> list[CameraFolder]:
    """Return the cameras of a folder: each folder in it with media below it.

    Args:
        one_camera: take each of them as one camera, also if folders in it look like cameras.

    Returns:
        Cameras, sorted by folder name.

    Raises:
        UsageError: there are none, media are outside of camera folders, two folders have the same
            camera id, the folder is a card, or it holds folders of camera folders.
        StoreError: S3 cannot be listed.
    """
    found: dict[str, tuple[str, CameraFolder]] = {}  # by id, case-folded
    for folder in _camera_folders(tree, one_camera):
        shown = f"{tree.shown}/{folder}"
        camera = CameraFolder(camera_id_of(PurePosixPath("/", folder)), tree.url_of(folder))
        # File systems may be case-insensitive.
        other, _ = found.setdefault(camera.camera_id.casefold(), (shown, camera))
        if other != shown:
            raise UsageError(
                f"{other} and {shown} have the same camera id {camera.camera_id}; rename one of "
                "them"
            )
    if not found:
        raise UsageError(f"{tree.shown}: no folder in it holds pictures or videos")
    return [camera for _, camera in found.values()]


def _camera_folders(tree: FolderTree, one_camera: bool) -> Iterator[str]:
    loose = list(islice(tree.media(), MAX_LOOSE))
    if loose:
        raise UsageError(
            f"{tree.shown}: {len(loose)} media files (such as {loose[0]}) are outside of camera "
            f"folders; move them into one, or run {tree.shown} as one camera"
        )
    folders = [name for name in tree.folders() if tree.holds_media(name)]
    _refuse_card(tree, folders)
    for folder in folders:
        several = None if one_camera else find_several_cameras(tree, folder, by_name=True)
        if several:
            raise UsageError(
                f"{tree.shown}/{several.parent}: its folders {several.named} look like cameras, "
                f"and --cameras takes {folder} as one; run {tree.shown}/{several.parent} with "
                "--cameras, or add --one-camera"
            )
        yield folder


def _refuse_card(tree: FolderTree, folders: list[str]) -> None:
    """Refuse a memory card, or its folder DCIM: its folders are of one camera."""
    on_card = [
        name
        for name in folders
        if is_dcim(name) or (is_dcim(tree.name) and CARD_FOLDER.fullmatch(name))
    ]
    if not on_card and are_of_one_card(folders):
        on_card = [name for name in folders if has_camera_files(tree.media(name))]
        if len(on_card) < len(folders):
            return
    if on_card:
        raise UsageError(
            f"{tree.shown}/{on_card[0]}: is a folder of a memory card, so {tree.shown} is one "
            "camera, not a folder of cameras; run it without --cameras, or, if it is a camera, "
            "run it alone with --camera NAME"
        )
