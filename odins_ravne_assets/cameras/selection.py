"""Select cameras from INPUT, OUTPUT and their options, and validate them."""

from dataclasses import dataclass
from pathlib import Path

from odins_ravne_assets.cameras.catalog import (
    Camera,
    CameraCatalog,
    camera_id_for_folder,
)
from odins_ravne_assets.cameras.folders import CameraFolder, cameras_in_bucket, cameras_in_folder
from resources.errors import UsageError
from resources.settings.camera_ids import parse_camera_id
from resources.settings.profile import Profile
from resources.storage.local_store import local_path
from resources.storage.open_store import display_url

S3 = "s3://"


@dataclass(frozen=True)
class CameraFootage:
    """A camera's footage, before an output is chosen."""

    camera_id: str
    url: str


def select_footage(
    input: str, camera: str | None, many: bool, profile: Profile
) -> list[CameraFootage]:
    """Return the footage of the cameras in INPUT.

    Raises:
        UsageError: INPUT, OUTPUT or an option is not valid.
    """
    if many and camera is not None:
        raise UsageError("--camera names one camera, --cameras selects many; use one of them")
    if many:
        found = _camera_folders(_footage(input, profile), profile)
        return [CameraFootage(each.camera_id, each.footage_url) for each in found]
    url = _footage(input, profile)
    name = parse_camera_id(camera) if camera is not None else camera_id_for_folder(_as_path(url))
    return [CameraFootage(name, url)]


def select_cameras(
    input: str, output: str | None, camera: str | None, many: bool, profile: Profile
) -> list[Camera]:
    """Return the cameras in INPUT with the URLs of their results.

    Raises:
        UsageError: INPUT, OUTPUT or an option is not valid.
    """
    named = select_footage(input, camera, many, profile)

    def target(name: str) -> str:
        return _url(output, profile) if output and not many else _below(output, name, profile)

    return [_camera(each.camera_id, each.url, target(each.camera_id)) for each in named]


def camera_of_results(output: str, catalog: CameraCatalog) -> Camera:
    """Return the camera whose results are at OUTPUT.

    Raises:
        UsageError: the catalog has none.
    """
    url = output.rstrip("/") if output.startswith(S3) else local_path(output).as_uri()
    for camera in catalog.list():
        if camera.output_url.rstrip("/") == url:
            return camera
    raise UsageError(
        f"OUTPUT {output}: is not the results folder of a known camera; `munin status` lists them"
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
                    f"OUTPUT {camera.output_url}: holds the results of camera {known.camera_id}; "
                    f"choose another for {camera.camera_id}"
                )


def _footage(input: str, profile: Profile) -> str:
    if not input.startswith(S3):
        return _folder(input).as_uri()
    if profile.cloud is None:
        raise UsageError(
            f"INPUT {input}: is on S3, which needs a cloud profile; name one with --profile"
        )
    return input.rstrip("/")


def _camera_folders(footage: str, profile: Profile) -> list[CameraFolder]:
    if not footage.startswith(S3):
        return cameras_in_folder(local_path(footage))
    from resources.aws.clients import AwsClients
    from resources.storage.s3.store import S3Store

    assert profile.cloud is not None
    clients = AwsClients(profile.cloud.aws)
    return cameras_in_bucket(S3Store(footage, clients), lambda url: S3Store(url, clients))


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

    Raises:
        UsageError: a camera of this id is known with other footage, or its results would be in
            another camera's place.
    """
    uploads = profile.uploads
    root = (uploads.url or "").rstrip("/")
    url = _footage(f"{root}/{footage}" if footage else root, profile)
    for known in catalog.list():
        if known.camera_id == name and known.footage_url.rstrip("/") == url:
            return known
        if known.camera_id.casefold() == name.casefold():
            raise UsageError(
                f"camera {name}: {known.camera_id} is known with its footage in "
                f"{display_url(known.footage_url)}; rename the folder {footage}"
            )
    camera = _camera(name, url, _below(uploads.output, name, profile))
    check_output_collisions([camera], catalog)
    return camera


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


def _as_path(url: str) -> Path:
    return Path("/", url.removeprefix(S3)) if url.startswith(S3) else local_path(url)
