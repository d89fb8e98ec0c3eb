"""A small campaign of mutated media, and what it would find."""

from pathlib import Path

import fuzz_media
import polars as pl
import pytest
from fuzz_media import Run, fuzz
from fuzz_mutations import ESCAPE, MARKUP, write_good

from resources.storage.layout import DETECTIONS_TABLE, MEDIA_TABLE, PROCESSED_TABLE


def test_mutated_media_harm_themselves_alone(tmp_path: Path) -> None:
    assert fuzz(tmp_path, seed=7, files=20) == []


def test_mutated_media_are_those_of_the_seed(tmp_path: Path) -> None:
    names = [
        [path.name for path in fuzz_media.write_mutated(tmp_path / folder, seed, 12)]
        for folder, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert names[0] == names[1] != names[2]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """The results of two runs, with one good and one mutated file."""
    rows = {
        "path": ["a.jpg", "good/good1.jpg"],
        "status": ["failed", "done"],
        "reason": ["damaged", None],
    }
    for name in ("results-with", "results-without"):
        for key in (MEDIA_TABLE, PROCESSED_TABLE, DETECTIONS_TABLE):
            (tmp_path / name / key).parent.mkdir(parents=True, exist_ok=True)
            pl.DataFrame(rows).write_parquet(tmp_path / name / key)
    return tmp_path


def test_a_file_without_a_row_is_a_problem(results: Path) -> None:
    footage = results / "with"
    paths = [footage / "a.jpg", footage / "lost.jpg"]
    problems = fuzz_media.problems_of_rows(results / "results-with", footage, paths)
    assert problems == ["lost.jpg: has no row"]


def test_a_changed_row_of_a_good_file_is_a_problem(results: Path) -> None:
    assert fuzz_media.problems_of_good_files(results) == []
    path = results / "results-with" / PROCESSED_TABLE
    table = pl.read_parquet(path, glob=False).with_columns(status=pl.lit("failed"))
    table.write_parquet(path)
    (problem,) = fuzz_media.problems_of_good_files(results)
    assert problem.startswith("tables/processed.parquet: 1 rows of good files differ")


def test_an_injected_text_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(f"<p>{MARKUP}</p>")
    (tmp_path / "table.csv").write_text(f"name\n{ESCAPE}\n")
    problems = fuzz_media.problems_of_run(Run(0, f"done {ESCAPE}", 1.0, 2**40), tmp_path)
    assert len(problems) == 4


def test_good_files_are_pictures_and_clips(tmp_path: Path) -> None:
    endings = [write_good(tmp_path, number).suffix for number in (0, 9)]
    assert endings == [".jpg", ".mp4"]
