"""The benchmark of folder scans on its smallest input."""

from pathlib import Path

from folder_scans import make_tree, measure


def test_a_scan_of_an_unchanged_tree_is_measured(tmp_path: Path) -> None:
    assert make_tree(tmp_path / "cards", files=40, per_folder=10) == 4
    first, unchanged, cursor = measure(tmp_path / "cards", tmp_path / "index.sqlite")
    assert first > 0
    assert unchanged > 0
    assert 0 < cursor < 600
