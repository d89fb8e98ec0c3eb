"""Route an uploaded file to its camera: read the camera id from its key."""

import re
from dataclasses import dataclass

from odins_ravne_assets.munin.media.media_files import is_medium
from resources.errors import UsageError
from resources.settings.camera_ids import parse_camera_id


@dataclass(frozen=True)
class CameraMedium:
    """A media file of a known camera id.

    Args:
        footage: the part of the key that holds the camera's footage, without a slash at its end.
    """

    camera_id: str
    footage: str


@dataclass(frozen=True)
class QuarantinedUpload:
    """A media file that belongs to no camera.

    Args:
        path: the part of its key that all media refused for the same reason share.
    """

    path: str
    reason: str


def camera_of_key(key: str, pattern: str) -> CameraMedium | QuarantinedUpload | None:
    """Return the camera of a media file's key; None if the key is not that of a media file.

    Args:
        key: below `uploads.url`.
        pattern: `uploads.camera_pattern`, which holds a group `camera`.
    """
    if not is_medium(key):
        return None
    found = re.match(pattern, key)
    if found is None:
        return QuarantinedUpload(
            _folder(key), "is in no camera's folder; move it into one (uploads.camera_pattern)"
        )
    try:
        return CameraMedium(parse_camera_id(found["camera"]), key[: found.end("camera")])
    except UsageError as error:
        return QuarantinedUpload(key[: found.end("camera")][:200], str(error))


def _folder(key: str) -> str:
    return (key.rpartition("/")[0] or key)[:200]
