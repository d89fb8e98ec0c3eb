"""Select cameras from INPUT, OUTPUT and their options, and validate them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from odins_ravne_assets.cameras.card_folders import (
    camera_folder,
    camera_id_of,
    is_dcim,
    with_folders_above,
)
from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cameras.folder_tree import FolderTree, LocalTree, S3Tree
from odins_ravne_assets.cameras.folders import cameras_in
from odins_ravne_assets.cameras.next_card import camera_of_next_card, with_place
from odins_ravne_assets.cameras.one_camera import (
    SeveralCameras,
    find_several_cameras,
    folders_beside_media,
)
from odins_ravne_assets.cameras.results_store import store_of
from resources.errors import UsageError
from resources.settings.camera_ids import parse_camera_id, suggest_camera_id
from resources.settings.profile import Profile
from resources.storage.layout import MEDIA_TABLE
from resources.storage.local_store import local_path
from resources.storage.open_store import display_url

if TYPE_CHECKING:
    from resources.aws.clients import AwsClients

S3 = "s3://"


@dataclass(frozen=True)
class CameraOptions:
    """The options of a command that choose cameras.

    Args:
        camera: the id of the only camera; None: derived from its folder.
        several: INPUT is a folder of camera folders.
        one_camera: a folder is one camera, also if folders in it look like cameras.
    """

    camera: str | None = None
    several: bool = False
    one_camera: bool = False


@dataclass(frozen=True)
class CameraFootage:
    """A camera's footage, before an output is chosen."""

    camera_id: str
    url: str


@dataclass(frozen=True)
class CameraSelection:
    """Selects cameras from INPUT and OUTPUT.

    Args:
        log: prints what was decided about a folder, in one line.
    """

    options: CameraOptions
    profile: Profile
    catalog: CameraCatalog
    log: Callable[[str], None]

    def footage(self, input: str, output: str | None = None) -> list[CameraFootage]:
        """Return the footage of the cameras in INPUT.

        Args:
            output: OUTPUT, whose results may be those of one camera already.

        Raises:
            UsageError: INPUT, OUTPUT or an option is not valid.
            StoreError: INPUT cannot be listed.
        """
        options = self.options
        if options.several and options.camera is not None:
            raise UsageError("--camera names one camera, --cameras selects many; use one of them")
        url = _footage(input, self.profile)
        if options.several:
            found = cameras_in(self.tree(url), options.one_camera, self.log)
            return [self._renamed(each.camera_id, each.footage_url) for each in found]
        name = parse_camera_id(options.camera) if options.camera is not None else self._id_of(url)
        if options.camera is None and output:
            target = self._target(output, name)
            name = camera_of_next_card(name, url, target, self.catalog, self.profile)
        if options.camera is None:
            name = self._renamed(name, url).camera_id
        if not options.one_camera and not self._is_one_camera(name, url, output):
            self._check_one_camera(name, url)
        return [CameraFootage(name, url)]

    def _renamed(self, name: str, url: str) -> CameraFootage:
        """Return the footage of a camera whose folder has an earlier id of it."""
        camera = self.catalog.current(name, url)
        return CameraFootage(camera.camera_id if camera else name, url)

    def cameras(self, input: str, output: str | None) -> list[Camera]:
        """Return the cameras in INPUT with the URLs of their results.

        Raises:
            UsageError, StoreError: see `footage`.
        """
        found = [
            _camera(each.camera_id, each.url, self._target(output, each.camera_id))
            for each in self.footage(input, output)
        ]
        for camera in found:
            self._refuse_footage_as_output(camera.output_url)
        return found

    def _refuse_footage_as_output(self, url: str) -> None:
        """Refuse a folder of footage as OUTPUT: a second INPUT, where only one can be named.

        On S3 the requests for many cameras take too long.
        """
        if url.startswith(S3) or not local_path(url).is_dir():
            return
        tree = self.tree(url)
        is_card = any(map(is_dcim, tree.folders()))
        if (is_card or any(tree.media())) and not store_of(url, self.profile).exists(MEDIA_TABLE):
            raise UsageError(
                f"OUTPUT {tree.shown}: holds pictures or videos, and no results; name a folder of "
                "its own for the results. Further cards of a camera are added one by one: munin "
                "batch CARD RESULTS --camera NAME"
            )

    def tree(self, url: str) -> FolderTree:
        """Return the folder of a URL."""
        if not url.startswith(S3):
            return LocalTree(local_path(url))
        from resources.storage.s3.store import S3Store

        return S3Tree(S3Store(url, self._clients))

    @cached_property
    def _clients(self) -> "AwsClients":
        from resources.aws.clients import AwsClients

        assert self.profile.cloud is not None  # see `_footage`
        return AwsClients(self.profile.cloud.aws)

    def _target(self, output: str | None, name: str) -> str:
        if output and not self.options.several:
            return _url(output, self.profile)
        target = _below(output, name, self.profile)
        known = self.catalog.find(name)
        # Results on S3 stay in the folder of an earlier id.
        earlier = (
            [_below(output, each, self.profile) for each in known.earlier_ids] if known else []
        )
        return known.output_url if known and known.output_url in earlier else target

    def _id_of(self, url: str) -> str:
        path = _as_path(url)
        own = camera_folder(path, lambda folder: self.tree(_as_url(folder, url)))
        # A folder beside it may have changed what it looks like: a known camera keeps its id.
        known = {each.camera_id for each in self.catalog.list() if url in each.places}
        for folder in with_folders_above(path):
            if suggest_camera_id(folder.name) in known:
                return suggest_camera_id(folder.name)
        found = camera_id_of(own)
        if own != path:
            self.log(f"{display_url(url)}: is a folder of a memory card, of camera {found}")
        return found

    def _is_one_camera(self, name: str, url: str, output: str | None) -> bool:
        """Return True if earlier runs have made results of this footage, or OUTPUT, as one camera.

        What was decided once is not asked again.
        """
        if any(each.camera_id == name and url in each.places for each in self.catalog.list()):
            return True
        return bool(output) and store_of(self._target(output, name), self.profile).exists(
            MEDIA_TABLE
        )

    def _check_one_camera(self, name: str, url: str) -> None:
        """Refuse a folder that looks like several cameras; with --camera, only say so."""
        tree = self.tree(url)
        several = find_several_cameras(tree)
        if several is None:
            if beside := folders_beside_media(tree):
                self.log(
                    f"{tree.shown}: its folders {beside.named}, and the media beside them, are all "
                    f"of camera {name}; if the folders are cameras, move these media into one, and "
                    "add --cameras"
                )
            return
        shown = f"{tree.shown}/{several.parent}" if several.parent else tree.shown
        if self.options.camera:
            self.log(
                f"{shown}: its folders {several.named} look like cameras; their media are all of "
                f"camera {name}, as --camera says"
            )
            return
        raise UsageError(_several_message(shown, several))


def _several_message(shown: str, several: SeveralCameras) -> str:
    run = f"run {shown} with --cameras" if several.parent else "add --cameras"
    return (
        f"INPUT {shown}: its folders {several.named} look like cameras; {run} if each of them is "
        "one, or add --one-camera if all their media are of one camera"
    )


def check_output_collisions(cameras: list[Camera], catalog: CameraCatalog) -> None:
    """Refuse an OUTPUT that holds the results of another camera.

    Raises:
        UsageError: names both cameras.
    """
    for known in catalog.list():
        for camera in cameras:
            same_place = known.output_url.rstrip("/") == camera.output_url.rstrip("/")
            if same_place and known.camera_id != camera.camera_id:
                raise UsageError(
                    f"OUTPUT {display_url(camera.output_url)}: holds the results of camera "
                    f"{known.camera_id}; choose another for {camera.camera_id}, or name "
                    f"--camera {known.camera_id} if the footage is of that camera"
                )


def check_profile(cameras: Sequence[Camera], profile: Profile) -> None:
    """Refuse results that runs of a profile cannot reach, before any run starts.

    Raises:
        UsageError: names the first camera, and how many there are.
    """
    unreachable = [
        each for each in cameras if each.output_url.startswith(S3) == (profile.cloud is None)
    ]
    if not unreachable:
        return
    first = unreachable[0]
    more = f" (and {len(unreachable) - 1} more cameras)" if len(unreachable) > 1 else ""
    place = f"camera {first.camera_id}{more}: its results are in {display_url(first.output_url)}"
    if profile.cloud is None:
        raise UsageError(f"{place}, which needs a cloud profile; name one with --profile")
    raise UsageError(f"{place}, which jobs on AWS cannot reach; use a local profile")


def _footage(input: str, profile: Profile) -> str:
    if not input.startswith(S3):
        return _folder(input).as_uri()
    if profile.cloud is None:
        raise UsageError(
            f"INPUT {input}: is on S3, which needs a cloud profile; name one with --profile"
        )
    return input.rstrip("/")


def _folder(input: str) -> Path:
    source = local_path(input)
    if not source.is_dir():
        what = "is a file" if source.exists() else "does not exist"
        raise UsageError(f"INPUT {source}: {what}; name a folder of footage")
    return source


def _url(output: str, profile: Profile) -> str:
    if output.startswith(S3):
        if profile.cloud is None:
            raise UsageError(
                f"OUTPUT {output}: is on S3, which needs a cloud profile; name one with --profile"
            )
        return output.rstrip("/")
    if profile.cloud is not None:
        raise UsageError(
            f"OUTPUT {output}: jobs on AWS cannot reach it; name an s3:// URL, and --local-output "
            "for a local copy of the results"
        )
    path = local_path(output)
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"OUTPUT {path}: has a name that is not valid UTF-8, so tables cannot be written "
            "there; choose another"
        ) from None
    return path.as_uri()


def camera_for_upload(name: str, footage: str, profile: Profile, catalog: CameraCatalog) -> Camera:
    """Return the camera of an upload below `uploads.url`, with the URL of its results.

    Args:
        footage: the key of its footage's folder, below `uploads.url`.

    A camera that is known with footage elsewhere, such as a card that `munin batch` has read, gets
    the upload as a further source.

    Raises:
        UsageError: another folder of the uploads, or an id that differs by case, is of this camera;
            the folder looks like several cameras; or its results would be in another camera's
            place.
    """
    uploads = profile.uploads
    root = (uploads.url or "").rstrip("/")
    top = _footage(root, profile)
    url = _footage(f"{root}/{footage}" if footage else root, profile)
    if (renamed := catalog.current(name, url)) and renamed.camera_id != name:
        return renamed
    if catalog.is_forgotten(name):
        raise UsageError(
            f"camera {name}: was forgotten (munin forget, or its partition was deleted); to add it "
            f"again: munin batch {display_url(url)} OUTPUT --camera {name}"
        )
    for known in catalog.list():
        places = [place.rstrip("/") for place in known.places]
        uploads_of_it = [place for place in places if f"{place}/".startswith(f"{top}/")]
        if known.camera_id == name and (url in places or not uploads_of_it):
            if url not in places:
                _refuse_several_uploads(name, url, known.output_url, profile, catalog)
            return with_place(known, url)
        if known.camera_id.casefold() == name.casefold():
            other, results = (uploads_of_it or places)[-1], display_url(known.output_url)
            raise UsageError(
                f"camera {name}: {known.camera_id} is known with its footage in "
                f"{display_url(other)}; rename the folder {footage}, or add it as a further card: "
                f"munin batch {display_url(url)} {results} --camera {known.camera_id}"
            )
    camera = _camera(name, url, _below(uploads.output, name, profile))
    check_output_collisions([camera], catalog)
    _refuse_several_uploads(name, url, camera.output_url, profile, catalog)
    return camera


def _refuse_several_uploads(
    name: str, url: str, output: str, profile: Profile, catalog: CameraCatalog
) -> None:
    """Refuse an uploaded folder that looks like several cameras, unless a run has taken it as one.

    Raises:
        UsageError: names the folders, and what to do.
    """
    selection = CameraSelection(CameraOptions(), profile, catalog, lambda line: None)
    several = find_several_cameras(selection.tree(url))
    if several:
        raise UsageError(
            f"camera {name}: the folders {several.named} in {display_url(url)} look like cameras; "
            "move them, or set uploads.camera_pattern to find them; if all their media are of one "
            f"camera, run it once: munin batch {display_url(url)} {display_url(output)} --camera "
            f"{name} --one-camera"
        )


def _below(root: str | None, name: str, profile: Profile) -> str:
    url = _url(root or profile.output.root, profile)
    return f"{url.rstrip('/')}/{name}"


def _camera(name: str, footage: str, target: str) -> Camera:
    inside = f"{target}/".startswith(f"{footage}/") or f"{footage}/".startswith(f"{target}/")
    if inside:
        raise UsageError(
            f"OUTPUT {display_url(target)} and INPUT {display_url(footage)} contain one another; "
            "choose an OUTPUT outside of the footage"
        )
    return Camera(name, footage, target)


def _as_path(url: str) -> PurePosixPath:
    """Return a URL as an absolute path: of a bucket, `/bucket/prefix`."""
    if url.startswith(S3):
        return PurePosixPath("/", url.removeprefix(S3))
    return PurePosixPath(local_path(url).as_posix())


def _as_url(path: PurePosixPath, like: str) -> str:
    """Return the URL of a path that `_as_path` made of a URL, or of one above it."""
    return f"{S3}{str(path).strip('/')}" if like.startswith(S3) else Path(path).as_uri()
