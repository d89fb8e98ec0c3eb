"""Route an uploaded file to its camera: read the camera id from its key.

`camera_of_key` is the one rule for events, listings and comparisons with a camera's table. What it
returns as a medium is a medium for the camera's run too (`media_files.is_medium`).
"""

import re
from dataclasses import dataclass

from odins_ravne_assets.munin.media.media_files import looks_like_medium
from resources.errors import UsageError
from resources.settings.camera_ids import parse_camera_id
from resources.storage.object_store import unusable_name

# Characters of a path in quarantine.
MAX_PATH = 200
DCIM = "dcim"
CARD_WITHOUT_CAMERA = (
    "is the folder that cameras make on their cards; move it into a folder with its camera's name"
)
UNUSABLE = "has an empty name, . or .. in its key, which no file can have; rename the object"


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


def camera_of_key(key: str, pattern: str, size: int = 1) -> CameraMedium | QuarantinedUpload | None:
    """Return the camera of a media file's key; None if the key is not that of a media file.

    Args:
        key: below `uploads.url`.
        pattern: `uploads.camera_pattern`, which holds a group `camera`.
        size: bytes. An empty object whose key ends with a slash is a folder made in a console.
    """
    if key.endswith("/"):
        is_file = size > 0 and looks_like_medium(key.rstrip("/"))
        return QuarantinedUpload(key[:MAX_PATH], UNUSABLE) if is_file else None
    if not looks_like_medium(key):
        return None
    unusable = unusable_name(key)
    if unusable is not None:
        names = key.split("/")
        above = names[: names.index(unusable)]
        return QuarantinedUpload("/".join([*above, unusable, ""])[:MAX_PATH], UNUSABLE)
    found = re.match(pattern, key)
    if found is None or found["camera"] is None:
        return QuarantinedUpload(
            _folder(key), "is in no camera's folder; move it into one (uploads.camera_pattern)"
        )
    if not key.startswith("/", found.end("camera")):
        return QuarantinedUpload(
            _folder(key),
            f"the camera id {found['camera']!r} ends inside of a folder's name; the group camera "
            "of uploads.camera_pattern must end where the name of a folder ends",
        )
    if found["camera"].lower() == DCIM:
        return QuarantinedUpload(key[: found.end("camera")][:MAX_PATH], CARD_WITHOUT_CAMERA)
    try:
        return CameraMedium(parse_camera_id(found["camera"]), key[: found.end("camera")])
    except UsageError as error:
        return QuarantinedUpload(key[: found.end("camera")][:MAX_PATH], str(error))


def _folder(key: str) -> str:
    return (key.rpartition("/")[0] or key)[:MAX_PATH]
