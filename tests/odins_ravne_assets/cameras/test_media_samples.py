"""Media with the same content in two cameras of a study: a card that was copied twice."""

import hashlib
from pathlib import Path

import polars as pl
import pytest

from odins_ravne_assets.cameras import media_samples
from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cameras.media_samples import MediaSamples
from odins_ravne_assets.munin.media.shared_media import (
    SharedMedia,
    describe_shared_media,
    load_shared_media,
    save_shared_media,
)
from odins_ravne_assets.munin.tables.schemas import MEDIA
from resources.errors import StoreError
from resources.storage.layout import MEDIA_TABLE, SHARED_MEDIA_JSON
from resources.storage.local_store import LocalStore, local_path


class Study:
    """Cameras with media tables, whose media have numbers as content."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.catalog = CameraCatalog(root / "catalog")
        self.opened: list[str] = []

    def put(self, name: str, media: range, study: str = "results") -> Camera:
        camera = Camera(name, f"file:///cards/{name}", (self._root / study / name).as_uri())
        self.catalog.put(camera)
        table = local_path(camera.output_url) / MEDIA_TABLE
        table.parent.mkdir(parents=True, exist_ok=True)
        rows = [
            dict.fromkeys(MEDIA.names())
            | {
                "camera_id": name,
                "path": f"{each}.jpg",
                "status": "ok",
                "content_hash": hashlib.sha256(str(each).encode()).hexdigest(),
            }
            for each in media
        ]
        pl.DataFrame(rows, schema=MEDIA, orient="row").write_parquet(table)
        return camera

    def samples(self) -> MediaSamples:
        return MediaSamples(LocalStore(self._root / "samples"), self.catalog, self._open)

    def _open(self, url: str) -> LocalStore:
        self.opened.append(url.rpartition("/")[2])
        return LocalStore(local_path(url))


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)


def test_a_card_that_was_copied_twice_is_found_by_the_run_of_either_camera(study: Study) -> None:
    north = study.put("north", range(10))
    study.put("lake", range(100, 110))
    assert study.samples().update(north) == []
    south = study.put("south", range(4, 12))
    assert study.samples().update(south) == [SharedMedia("north", 6)]
    assert study.samples().update(north) == [SharedMedia("south", 6)]


def test_cameras_of_other_studies_and_the_camera_itself_are_not_compared(study: Study) -> None:
    study.put("north", range(10), study="earlier")
    south = study.put("south", range(10))
    assert study.samples().update(south) == []
    assert study.samples().update(south) == []


def test_tables_of_others_are_read_once_unless_they_share_media(study: Study) -> None:
    for number in range(5):
        study.put(f"cam-{number}", range(10 * number, 10 * number + 10))
    own = study.put("own", range(200, 205))
    study.samples().update(own)
    study.opened.clear()
    assert study.samples().update(own) == []
    assert study.opened == ["own"]


def test_large_cameras_are_compared_by_a_sample(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_samples, "SAMPLE", 16)
    study.samples().update(study.put("north", range(1000)))
    south = study.put("south", range(500, 1500))
    assert study.samples().update(south) == [SharedMedia("north", 500)]


def test_results_that_are_gone_or_damaged_or_elsewhere_are_left_out(study: Study) -> None:
    north, west = study.put("north", range(10)), study.put("west", range(10))
    for camera in (north, west):
        study.samples().update(camera)
    (local_path(north.output_url) / MEDIA_TABLE).unlink()
    (local_path(west.output_url) / MEDIA_TABLE).write_bytes(b"PAR1")
    south = study.put("south", range(10))
    assert study.samples().update(south) == []
    study.put("north", range(50, 60), study="moved")
    assert study.samples().update(south) == []


def test_a_damaged_sample_is_made_again(study: Study, tmp_path: Path) -> None:
    north = study.put("north", range(10))
    study.samples().update(north)
    (tmp_path / "samples" / "north.json").write_text("{")
    assert study.samples().update(study.put("south", range(3))) == [SharedMedia("north", 3)]


def test_what_is_shared_is_stored_with_the_results(tmp_path: Path) -> None:
    results = LocalStore(tmp_path)
    assert load_shared_media(results) == ()
    save_shared_media(results, [SharedMedia("north", 1), SharedMedia("lake", 1200)])
    loaded = load_shared_media(results)
    assert [describe_shared_media(each).partition(":")[0] for each in loaded] == [
        "1 medium has the same content as media of camera north",
        "1,200 media have the same content as media of camera lake",
    ]
    results.write_bytes(SHARED_MEDIA_JSON, b'[{"camera_id": "north"}]')
    with pytest.raises(StoreError, match=r"shared_media.json: is damaged; delete it"):
        load_shared_media(results)
    save_shared_media(results, [])
    assert not results.exists(SHARED_MEDIA_JSON)
