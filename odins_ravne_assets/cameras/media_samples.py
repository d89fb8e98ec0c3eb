"""Find the cameras of a study that have media with the same content: a card that was copied twice.

A sample of each camera's content hashes is kept on this machine, so that a run compares its camera
with a thousand others without reading their tables. The sample is of the smallest hashes, so that
two cameras have those of equal files in common, however many files each has. A copied card is
always found; a few files that cameras with more than SAMPLE media share may not be.
"""

import json
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.munin.media.shared_media import SharedMedia
from resources.errors import StoreError
from resources.storage.layout import MEDIA_TABLE
from resources.storage.local_store import LocalStore
from resources.storage.object_store import ObjectStore
from resources.storage.parquet_files import scan_parquet

# Hashes in a sample, of 8 bytes each.
SAMPLE = 1024
HASH_BYTES = 8
# Samples that a run makes of cameras whose last run made none, as those of earlier versions did.
MAX_NEW_SAMPLES = 50

Hashes = npt.NDArray[np.uint64]


class MediaSamples:
    """The samples of the cameras that this machine knows.

    Args:
        folder: where the samples are kept.
        open_store: opens the results of a camera.
    """

    def __init__(
        self, folder: LocalStore, catalog: CameraCatalog, open_store: Callable[[str], ObjectStore]
    ) -> None:
        self._folder = folder
        self._catalog = catalog
        self._open_store = open_store
        self._new = 0

    def update(self, camera: Camera) -> list[SharedMedia]:
        """Keep the sample of a camera, and return what it shares with others of its study.

        Cameras of a study have their results in the same folder. Results that cannot be read are
        left out: their own runs report that.

        Raises:
            StoreError: the camera's results cannot be read.
        """
        own = _content_hashes(self._open_store(camera.output_url))
        # Before the others' are read: of two cameras that run at once, one finds the other.
        self._keep(camera, own)
        return list(self._shared_with(camera, own))

    def _shared_with(self, camera: Camera, own: Hashes) -> Iterator[SharedMedia]:
        study = _study(camera)
        for other in self._catalog.list():
            if other.camera_id == camera.camera_id or _study(other) != study:
                continue
            try:
                if np.isin(self._sample_of(other), own).any():
                    theirs = _content_hashes(self._open_store(other.output_url))
                    count = int(np.isin(own, theirs).sum())
                    if count:
                        yield SharedMedia(other.camera_id, count)
            except StoreError:
                continue  # see `update`

    def _sample_of(self, camera: Camera) -> Hashes:
        key = _key(camera)
        if self._folder.exists(key):
            try:
                kept = json.loads(self._folder.read_bytes(key))
                if kept["output_url"] == camera.output_url:
                    return _from_hex(kept["hashes"])
            except (ValueError, TypeError, KeyError):
                pass  # is made again
        if self._new >= MAX_NEW_SAMPLES:
            return _from_hex("")
        self._new += 1
        hashes = _content_hashes(self._open_store(camera.output_url))
        self._keep(camera, hashes)
        return hashes

    def _keep(self, camera: Camera, hashes: Hashes) -> None:
        sample = np.sort(hashes)[:SAMPLE].astype(">u8").tobytes().hex()
        content = json.dumps({"output_url": camera.output_url, "hashes": sample})
        self._folder.write_bytes(_key(camera), content.encode())


def _content_hashes(results: ObjectStore) -> Hashes:
    """Return the first bytes of the hash of each medium; none if there is no table."""
    if not results.exists(MEDIA_TABLE):
        return _from_hex("")
    with results.reading(MEDIA_TABLE) as path:
        media = scan_parquet(path).filter(pl.col("status") == "ok").select("content_hash")
        hashes = media.collect()["content_hash"].drop_nulls().unique()
    return _from_hex("".join(each[: 2 * HASH_BYTES] for each in hashes))


def _from_hex(text: str) -> Hashes:
    return np.frombuffer(bytes.fromhex(text), dtype=">u8").astype(np.uint64)


def _study(camera: Camera) -> str:
    return camera.output_url.rstrip("/").rpartition("/")[0]


def _key(camera: Camera) -> str:
    return f"{camera.camera_id}.json"
