"""Stage 1 while a card is away: finished work stays, new media wait, an update is refused."""

from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import polars as pl
import pytest
from media_files import write_picture

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.munin.detection.decode_pool import Medium
from odins_ravne_assets.munin.media.source_store import locate
from odins_ravne_assets.munin.media.sources import Source, save_sources
from odins_ravne_assets.munin.progress import StageProgress
from odins_ravne_assets.munin.tables.schemas import PROCESSED
from odins_ravne_assets.worker.context import StepContext
from odins_ravne_assets.worker.missing_sources import missing_prefixes
from resources.errors import StoreError
from resources.settings.loader import load_profile
from resources.storage.local_store import LocalStore


@dataclass
class Log:
    """A reporter that records warnings."""

    warnings: list[str] = field(default_factory=list)

    def info(self, message: str) -> None:
        pass

    def warning(self, message: str) -> None:
        self.warnings.append(message)

    def progress(self, progress: StageProgress) -> None:
        pass


class Ridge:
    """Camera `ridge` with cards `a` and `b`, of which all media are done."""

    def __init__(self, root: Path) -> None:
        self.root, self.log = root, Log()
        self.results = LocalStore(root / "results")
        self.media = [
            self.medium("a/1.jpg", 1),
            self.medium("a/2.jpg", 2),
            self.medium("b/3.jpg", 3),
        ]
        self.sources = [Source(name, (root / name).as_uri()) for name in "ab"]
        save_sources(self.results, "ridge", self.sources)
        rows = [{"path": each.path, "status": "done"} | hash_of(each) for each in self.media]
        with self.results.writing("tables/processed.parquet") as path:
            pl.DataFrame(rows, schema=PROCESSED).write_parquet(path)

    def medium(self, path: str, shift: int) -> Medium:
        file = write_picture(self.root / path, shift=shift)
        stat = file.stat()
        return Medium(
            path=path,
            content_hash=f"{shift:064x}",
            kind="image",
            format="jpeg",
            width=64,
            height=48,
            bytes=stat.st_size,
            modified_ns=stat.st_mtime_ns,
        )

    def context(self, update: bool = False) -> StepContext:
        camera = Camera("ridge", (self.root / "b").as_uri(), self.results.url)
        return StepContext(camera, load_profile("local", {}, {}), self.log, Event(), update=update)

    def missing(self, finished: set[str], update: bool = False) -> tuple[str, ...]:
        return missing_prefixes(self.context(update), self.media, finished)


def hash_of(medium: Medium) -> dict[str, str]:
    return {"content_hash": medium.content_hash}


@pytest.fixture
def ridge(tmp_path: Path) -> Ridge:
    return Ridge(tmp_path)


ALL = {f"{shift:064x}" for shift in (1, 2, 3)}


def test_finished_media_of_a_card_that_is_away_need_nothing(ridge: Ridge) -> None:
    (ridge.root / "a").rename(ridge.root / "away")
    assert ridge.missing(ALL) == ()
    assert ridge.log.warnings == []


def test_media_that_are_not_finished_wait_for_their_card(ridge: Ridge) -> None:
    new = ridge.medium("a/4.jpg", 4)
    ridge.media.append(new)
    assert ridge.missing(ALL) == ()
    (ridge.root / "a").rename(ridge.root / "away")
    assert ridge.missing(ALL) == ("a/",)
    [warning] = ridge.log.warnings
    assert warning.startswith("source a is not available: 1 of its media are not analysed yet")


def test_another_card_in_its_place_does_not_count(ridge: Ridge) -> None:
    ridge.media.append(ridge.medium("a/4.jpg", 4))
    write_picture(ridge.root / "a" / "4.jpg", (320, 240), shift=9)
    assert ridge.missing(ALL) == ("a/",)


@pytest.mark.parametrize(
    ("update", "remedy"), [(True, "run without --update"), (False, "munin sources remove")]
)
def test_results_of_other_settings_are_not_lost(ridge: Ridge, update: bool, remedy: str) -> None:
    (ridge.root / "a").rename(ridge.root / "away")
    with pytest.raises(StoreError, match="2 of its media were analysed with other") as caught:
        ridge.missing(set(), update)
    assert remedy in str(caught.value)


def test_a_file_is_opened_by_its_path_in_the_tables(ridge: Ridge) -> None:
    footage = ridge.context().footage
    for medium in ridge.media:
        store, key = locate(footage, medium.path)
        assert (store.url, key) == ((ridge.root / medium.path).parent.as_uri(), medium.path[2:])
    (ridge.root / "a").rename(ridge.root / "away")
    with pytest.raises(StoreError, match="no such file"), footage.reading("a/1.jpg"):
        pass
