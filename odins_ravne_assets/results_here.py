"""Stage 3's results as files of this machine, wherever the camera's output lies."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from odins_ravne_assets.cameras import Camera
from resources.aws_clients import AwsClients
from resources.object_store import LocalStore, ObjectStore, local_path, open_store
from resources.profile import Profile

FOLDER = "stage3"


def store_of(url: str, profile: Profile) -> ObjectStore:
    """A store of the profile's, here or on S3."""
    return open_store(url, AwsClients(profile.cloud.aws) if profile.cloud else None)


@contextmanager
def stage3_folder(camera: Camera, profile: Profile) -> Iterator[Path]:
    """A folder with the camera's Stage 3 files, for as long as the context lasts."""
    if not camera.output_url.startswith("s3://"):
        yield local_path(camera.output_url) / FOLDER
        return
    with tempfile.TemporaryDirectory(prefix="munin-results-") as folder:
        copy_stage3(camera, profile, Path(folder))
        yield Path(folder)


def copy_stage3(camera: Camera, profile: Profile, target: Path) -> None:
    """Copy the camera's Stage 3 files into a folder; each is put in place whole."""
    source, here = store_of(camera.output_url, profile), LocalStore(target)
    for stored in list(source.list(FOLDER)):
        name = stored.key.removeprefix(f"{FOLDER}/")
        with source.reading(stored.key) as path, here.writing(name) as copy:
            shutil.copyfile(path, copy)
