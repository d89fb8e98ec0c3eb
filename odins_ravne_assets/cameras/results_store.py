"""Open the results of cameras, local or on S3."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from odins_ravne_assets.cameras.catalog import Camera
from resources.aws.clients import AwsClients
from resources.settings.profile import Profile
from resources.storage.layout import OBSERVATIONS_PARQUET, REPORT_JSON_FILE, STAGE3_FOLDER
from resources.storage.local_store import local_path
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import open_store
from resources.storage.temporary_folder import temporary_folder

# Opens a store by its URL.
OpenStore = Callable[[str], ObjectStore]

DISPLAYED_FILES = (OBSERVATIONS_PARQUET, REPORT_JSON_FILE)


def store_opener(profile: Profile) -> OpenStore:
    """Return a function that opens stores by URL, local or on S3.

    The stores share AWS clients: each takes a quarter of a second to create.
    """
    clients = AwsClients(profile.cloud.aws) if profile.cloud else None
    return lambda url: open_store(url, clients)


def store_of(url: str, profile: Profile) -> ObjectStore:
    """Open the store of a URL with the credentials of a profile."""
    return store_opener(profile)(url)


@contextmanager
def stage3_folder(camera: Camera, profile: Profile) -> Iterator[Path]:
    """Provide a local folder with the files of Stage 3 that the terminal shows."""
    if not camera.output_url.startswith("s3://"):
        yield local_path(camera.output_url) / STAGE3_FOLDER
        return
    store = store_of(f"{camera.output_url}/{STAGE3_FOLDER}", profile)
    with temporary_folder("results") as folder:
        for name in DISPLAYED_FILES:
            store.download_to(name, folder / name)
        yield folder
