"""Media of a camera whose content another camera of the study has too: a card was copied twice.

The run that reads the headers finds them (cameras/media_samples.py); reports and exports show them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from resources.errors import StoreError
from resources.storage.layout import SHARED_MEDIA_JSON
from resources.storage.object_store import ObjectStore


@dataclass(frozen=True)
class SharedMedia:
    """Media that two cameras have.

    Args:
        camera_id: the other camera.
        media: how many media of this camera have the content of one of the other.
    """

    camera_id: str
    media: int


def save_shared_media(results: ObjectStore, shared: Sequence[SharedMedia]) -> None:
    """Store what a camera shares, in its results; nothing is stored if it shares none."""
    if shared:
        content = json.dumps([asdict(each) for each in shared], indent=1)
        results.write_bytes(SHARED_MEDIA_JSON, content.encode() + b"\n")
    else:
        results.delete(SHARED_MEDIA_JSON)


def load_shared_media(results: ObjectStore) -> tuple[SharedMedia, ...]:
    """Return what a camera shared in its last run.

    Raises:
        StoreError: the file is damaged.
    """
    if not results.exists(SHARED_MEDIA_JSON):
        return ()
    try:
        rows = json.loads(results.read_bytes(SHARED_MEDIA_JSON))
        return tuple(SharedMedia(str(row["camera_id"]), int(row["media"])) for row in rows)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise StoreError(
            f"{results.url}/{SHARED_MEDIA_JSON}: is damaged; delete it, and run the camera again"
        ) from None


def describe_shared_media(shared: SharedMedia) -> str:
    """Describe it in one line, which begins with the number of media."""
    have = "medium has" if shared.media == 1 else "media have"
    return (
        f"{shared.media:,} {have} the same content as media of camera {shared.camera_id}: a card "
        "may have been copied twice, and one of the two cameras has the other's visits"
    )


def shared_media_lines(of_cameras: Mapping[str, Sequence[SharedMedia]]) -> Iterator[str]:
    """Yield a line for each pair of cameras, which begins with the id of the first one.

    Args:
        of_cameras: what each camera shares, in the order of the report or the export. Both cameras
            of a pair may have stored it.
    """
    pairs = set()
    for camera_id, all_shared in of_cameras.items():
        for shared in all_shared:
            pair = frozenset((camera_id, shared.camera_id))
            if pair not in pairs:
                yield f"{camera_id}: {describe_shared_media(shared)}"
            pairs.add(pair)
