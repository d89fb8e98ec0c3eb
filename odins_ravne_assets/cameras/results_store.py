"""Stage 3's results as files of this machine, wherever the camera's output lies."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from odins_ravne_assets.cameras.catalog import Camera
from resources.aws.clients import AwsClients
from resources.settings.profile import Profile
from resources.storage.layout import STAGE3_FOLDER
from resources.storage.local_store import local_path
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import open_store

# Opens a store by its URL.
OpenStore = Callable[[str], ObjectStore]

DISPLAYED_FILES = ("observations.parquet", "report.json")


def store_opener(profile: Profile) -> OpenStore:
    """What opens stores of the profile's by their URLs, here or on S3.

    They share AWS's clients, each of which takes a quarter of a second to make.
    """
    clients = AwsClients(profile.cloud.aws) if profile.cloud else None
    return lambda url: open_store(url, clients)


def store_of(url: str, profile: Profile) -> ObjectStore:
    """One store of the profile's."""
    return store_opener(profile)(url)


@contextmanager
def stage3_folder(camera: Camera, profile: Profile) -> Iterator[Path]:
    """A folder with what the terminal shows of Stage 3, for as long as the context lasts."""
    if not camera.output_url.startswith("s3://"):
        yield local_path(camera.output_url) / STAGE3_FOLDER
        return
    store = store_of(f"{camera.output_url}/{STAGE3_FOLDER}", profile)
    with tempfile.TemporaryDirectory(prefix="munin-results-") as folder:
        for name in DISPLAYED_FILES:
            store.bring(name, Path(folder, name))
        yield Path(folder)
