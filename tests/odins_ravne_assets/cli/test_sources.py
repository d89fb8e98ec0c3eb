"""`munin sources`: a camera's cards in the terminal."""

from pathlib import Path

import polars as pl
import pytest
from in_process import MuninInProcess
from media_files import write_picture

from odins_ravne_assets.munin.media.sources import Source, save_sources
from odins_ravne_assets.munin.tables.schemas import MEDIA
from resources.storage.local_store import LocalStore


@pytest.fixture
def munin(tmp_path: Path) -> MuninInProcess:
    """A machine with results of camera `ridge`: card `a`, which is here, and `b`, which is not."""
    write_picture(tmp_path / "cards" / "a" / "1.jpg")
    results = LocalStore(tmp_path / "results" / "ridge")
    places = [Source(name, (tmp_path / "cards" / name).as_uri()) for name in "ab"]
    save_sources(results, "ridge", places)
    rows = [
        dict.fromkeys(MEDIA) | {"camera_id": "ridge", "path": f"{name}/{n}.jpg", "source": name}
        for name, media in (("a", 1), ("b", 2))
        for n in range(media)
    ]
    with results.writing("tables/media.parquet") as path:
        pl.DataFrame(rows, schema=MEDIA).write_parquet(path)
    return MuninInProcess(tmp_path / "machine")


def test_sources_are_listed_by_results_and_by_the_id_that_is_then_known(
    munin: MuninInProcess, tmp_path: Path
) -> None:
    for words in (["sources", tmp_path / "results" / "ridge"], ["sources", "list", "ridge"]):
        ended = munin(*words)
        assert ended.code == 0
        cells = [
            [each.strip() for each in line.split("│")[1:-1]] for line in ended.out.splitlines()
        ]
        assert [row for row in cells if len(row) == 4] == [
            ["a", "1", "yes", str(tmp_path / "cards" / "a")],
            ["b", "2", "no", str(tmp_path / "cards" / "b")],
        ]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["nowhere"], "nowhere: is no known camera, and no folder of results"),
        (["remove", "ridge", "c"], "c: is no source of "),
    ],
)
def test_what_is_unknown_is_refused(
    munin: MuninInProcess, tmp_path: Path, words: list[str], error: str
) -> None:
    munin("sources", tmp_path / "results" / "ridge")
    ended = munin("sources", *words)
    assert ended.code == 2
    assert ended.errors[-1].startswith(f"error: {error}")
