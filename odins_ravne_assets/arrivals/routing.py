"""Whose footage an uploaded file is: the camera's id out of its key."""

import re
from dataclasses import dataclass

from odins_ravne_assets.munin.media.media_files import is_medium
from resources.errors import UsageError
from resources.settings.camera_ids import camera_id


@dataclass(frozen=True)
class CameraMedium:
    """A medium of a camera.

    Args:
        footage: the part of the key that holds the camera's footage, without a slash at its end.
    """

    camera_id: str
    footage: str


@dataclass(frozen=True)
class QuarantinedUpload:
    """A medium that is nobody's.

    Args:
        of: what of its key is told: all media below it are refused alike.
    """

    of: str
    reason: str


def camera_of_key(key: str, pattern: str) -> CameraMedium | QuarantinedUpload | None:
    """Whose medium a key is; None: it is no medium.

    Args:
        key: below `uploads.url`.
        pattern: `uploads.camera_pattern`, which holds a group `camera`.
    """
    if not is_medium(key):
        return None
    found = re.match(pattern, key)
    if found is None:
        return QuarantinedUpload(
            _folder(key), "lies in no camera's folder; move it into one (uploads.camera_pattern)"
        )
    try:
        return CameraMedium(camera_id(found["camera"]), key[: found.end("camera")])
    except UsageError as error:
        return QuarantinedUpload(key[: found.end("camera")][:200], str(error))


def _folder(key: str) -> str:
    return (key.rpartition("/")[0] or key)[:200]
