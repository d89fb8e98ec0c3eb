"""The catalog of cameras: the id of each, and the URLs of its footage and its results."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from resources.errors import UsageError
from resources.settings.camera_ids import parse_camera_id
from resources.storage.local_store import LocalStore
from resources.storage.object_store import S3_SCHEME


@dataclass(frozen=True)
class Camera:
    """One camera, with an output of its own.

    Args:
        footage_url: the place of footage that the next run reads, or reads again. The results list
            all sources of the camera: see munin/media/sources.py.
        earlier_footage: the places that were `footage_url` before, the first one first.
        earlier_ids: the ids before it was renamed, the first one first.
    """

    camera_id: str
    footage_url: str
    output_url: str
    earlier_footage: tuple[str, ...] = ()
    earlier_ids: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[str, ...]:
        """All places of its footage that are known here."""
        return (*self.earlier_footage, self.footage_url)


REQUIRED_KEYS = ("camera_id", "footage_url", "output_url")


# The files of cameras that were forgotten: a sensor of uploads does not add them again.
FORGOTTEN_SUFFIX = ".forgotten"


class CameraCatalog:
    """The cameras that this machine knows: a folder with one JSON file for each."""

    def __init__(self, folder: Path) -> None:
        self._store = LocalStore(folder)

    def put(self, camera: Camera) -> None:
        """Add a camera, or replace its entry.

        Raises:
            UsageError: its id is not allowed.
            StoreError: the folder cannot be written.
        """
        key = f"{parse_camera_id(camera.camera_id)}.json"
        self._store.write_bytes(key, json.dumps(asdict(camera), indent=2).encode() + b"\n")
        self._store.delete(f"{camera.camera_id}{FORGOTTEN_SUFFIX}")

    def forget(self, camera_id: str) -> None:
        """Remove a camera, and note that it was: see `is_forgotten`.

        Raises:
            StoreError: the folder cannot be written.
        """
        name = parse_camera_id(camera_id)
        self._store.write_bytes(f"{name}{FORGOTTEN_SUFFIX}", b"")
        self._store.delete(f"{name}.json")

    def is_forgotten(self, camera_id: str) -> bool:
        """Return True if a camera was removed by a person, and not added again since."""
        return self._store.exists(f"{parse_camera_id(camera_id)}{FORGOTTEN_SUFFIX}")

    def remove(self, camera_id: str) -> None:
        """Remove the entry of a camera that was renamed."""
        self._store.delete(f"{parse_camera_id(camera_id)}.json")

    def current(self, identifier: str, footage_url: str) -> Camera | None:
        """Return the camera that footage is of, by an id of it: also by one before a rename.

        Args:
            footage_url: a place of its footage; an earlier id alone may be another camera's today.

        Raises:
            UsageError: the file of a camera is damaged.
        """
        for camera in self.list():
            if camera.camera_id == identifier:
                return camera
            places = {place.rstrip("/") for place in camera.places}
            if identifier in camera.earlier_ids and footage_url.rstrip("/") in places:
                return camera
        return None

    def get(self, identifier: str) -> Camera:
        """Return the camera of an id.

        Raises:
            UsageError: the catalog has no such camera, or its file is damaged.
        """
        key = f"{parse_camera_id(identifier)}.json"
        if not self._store.exists(key):
            raise UsageError(
                f"camera {identifier}: not in the catalog; add it with "
                f"`munin batch INPUT OUTPUT --camera {identifier}`"
            )
        return self._read(key)

    def find(self, identifier: str) -> Camera | None:
        """Return the camera of an id; None if the catalog has no such camera.

        Raises:
            UsageError: the id is not allowed, or the camera's file is damaged.
        """
        key = f"{parse_camera_id(identifier)}.json"
        return self._read(key) if self._store.exists(key) else None

    def list(self) -> tuple[Camera, ...]:
        """Return all cameras, in the order of their ids.

        Raises:
            UsageError: the file of a camera is damaged.
        """
        keys = [found.key for found in self._store.list() if found.key.endswith(".json")]
        return tuple(sorted((self._read(key) for key in keys), key=lambda one: one.camera_id))

    def _read(self, key: str) -> Camera:
        path = self._store.root / key
        try:
            tree = json.loads(self._store.read_bytes(key))
            earlier = tuple(str(place) for place in tree.get("earlier_footage", ()))
            ids = tuple(str(each) for each in tree.get("earlier_ids", ()))
            known = {name: str(tree[name]) for name in REQUIRED_KEYS}  # newer keys are ignored
            camera = Camera(**known, earlier_footage=earlier, earlier_ids=ids)
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
            raise UsageError(
                f"{path}: is not a camera's file; delete it and add the camera again"
            ) from None
        if path.stem != camera.camera_id:
            raise UsageError(f"{path}: is the file of camera {camera.camera_id}; rename it")
        return camera

    def on_s3(self) -> tuple[tuple[str, str], ...]:
        """Return the id and the output URL of each camera whose results are on S3.

        Raises:
            UsageError: the file of a camera is damaged.
        """
        known = self.list()
        return tuple(
            (one.camera_id, one.output_url) for one in known if one.output_url.startswith(S3_SCHEME)
        )
