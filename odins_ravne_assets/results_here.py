"""Stage 3's results as files of this machine, wherever the camera's output lies."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from odins_ravne_assets.cameras import Camera
from resources.aws_clients import AwsClients
from resources.object_store import ObjectStore, local_path, open_store
from resources.profile import Profile

FOLDER = "stage3"
SHOWN = ("observations.parquet", "report.json")


def store_of(url: str, profile: Profile) -> ObjectStore:
    """A store of the profile's, here or on S3."""
    return open_store(url, AwsClients(profile.cloud.aws) if profile.cloud else None)


@contextmanager
def stage3_folder(camera: Camera, profile: Profile) -> Iterator[Path]:
    """A folder with what the terminal shows of Stage 3, for as long as the context lasts."""
    if not camera.output_url.startswith("s3://"):
        yield local_path(camera.output_url) / FOLDER
        return
    store = store_of(f"{camera.output_url}/{FOLDER}", profile)
    with tempfile.TemporaryDirectory(prefix="munin-results-") as folder:
        for name in SHOWN:
            store.bring(name, Path(folder, name))
        yield Path(folder)
