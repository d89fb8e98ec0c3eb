"""Find the cameras in a folder of camera folders, local or on S3."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from odins_ravne_assets.cameras.card_folders import (
    CARD_FOLDER,
    are_of_one_card,
    has_camera_files,
    is_dcim,
)
from odins_ravne_assets.cameras.folder_tree import FolderTree
from odins_ravne_assets.cameras.one_camera import find_several_cameras, is_part_of_camera
from resources.errors import UsageError
from resources.settings.camera_ids import suggest_camera_id

# Media outside of camera folders that are counted.
MAX_LOOSE = 1000
MAX_NAMED = 20  # folders without media in a message


@dataclass(frozen=True)
class CameraFolder:
    """A folder that holds the footage of one camera."""

    camera_id: str
    footage_url: str


def cameras_in(
    tree: FolderTree, one_camera: bool = False, log: Callable[[str], None] = lambda line: None
) -> list[CameraFolder]:
    """Return the cameras of a folder: each folder in it with media below it.

    Args:
        one_camera: take each of them as one camera, also if folders in it look like cameras.
        log: prints the names of the folders without media.

    Returns:
        Cameras, sorted by folder name.

    Raises:
        UsageError: there are none, media are outside of camera folders, two folders have the same
            camera id, the folder is a card, or it holds folders of camera folders.
        StoreError: S3 cannot be listed.
    """
    found: dict[str, tuple[str, CameraFolder]] = {}  # by id, case-folded
    for folder in _camera_folders(tree, one_camera, log):
        shown = f"{tree.shown}/{folder}"
        camera = CameraFolder(_camera_id(shown, folder), tree.url_of(folder))
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


def _camera_id(shown: str, folder: str) -> str:
    """The id of a camera's folder; another cannot be named where there are several cameras."""
    found = suggest_camera_id(folder)
    if not found:
        raise UsageError(
            f"{shown}: no camera id can be derived from the folder name {folder!r}; rename it, or "
            "run it alone with --camera NAME"
        )
    return found


def _camera_folders(
    tree: FolderTree, one_camera: bool, log: Callable[[str], None]
) -> Iterator[str]:
    loose = list(islice(tree.media(), MAX_LOOSE))
    if loose:
        raise UsageError(
            f"{tree.shown}: {len(loose)} media files (such as {loose[0]}) are outside of camera "
            f"folders; move them into one, or run {tree.shown} as one camera"
        )
    names = tree.folders()
    folders = [name for name in names if tree.holds_media(name)]
    _refuse_card(tree, folders)
    if without := [name for name in names if name not in folders]:
        log(f"{tree.shown}: left out, without pictures and videos: {_named(without)}")
    for folder in folders:
        # A date is not the name of a camera, so folders in it that may be cameras are.
        by_name = not is_part_of_camera(folder)
        several = None if one_camera else find_several_cameras(tree, folder, by_name=by_name)
        if several:
            raise UsageError(
                f"{tree.shown}/{several.parent}: its folders {several.named} look like cameras, "
                f"and --cameras takes {folder} as one; run {tree.shown}/{several.parent} with "
                "--cameras, or add --one-camera"
            )
        yield folder


def _named(folders: Sequence[str]) -> str:
    """The first folders, for a message."""
    more = len(folders) - MAX_NAMED
    shown = ", ".join(folders[:MAX_NAMED])
    return f"{shown} and {more} more" if more > 0 else shown


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
