"""Parquet files are read by their exact path."""

import ast
from pathlib import Path

import polars as pl

from resources.storage.parquet_files import read_parquet, read_schema, scan_parquet

ROOT = Path(__file__).parents[3]
TABLE = pl.DataFrame({"a": [1]})


def test_a_path_with_wildcards_is_the_path_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "site [3]" / "a*?.parquet"
    path.parent.mkdir()
    TABLE.write_parquet(path)
    pl.DataFrame({"a": [2]}).write_parquet(path.with_name("a-other.parquet"))
    assert read_parquet(path).equals(TABLE)
    assert scan_parquet(path).collect().equals(TABLE)
    assert scan_parquet([path, path]).collect().height == 2
    assert read_schema(path) == TABLE.schema


def readers_of_patterns(source: str) -> list[int]:
    """Return the lines that call a reader of polars without glob=False."""
    return [
        call.lineno
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and ast.unparse(call.func).startswith(("pl.read_", "pl.scan_", "polars.read_"))
        and ast.unparse(call.func) != "pl.read_parquet_metadata"  # takes no patterns
        and "glob=False" not in {f"{each.arg}={ast.unparse(each.value)}" for each in call.keywords}
    ]


def test_the_walk_finds_a_reader_that_expands_patterns() -> None:
    assert readers_of_patterns("pl.scan_csv(path)\npl.read_parquet(path, glob=False)") == [1]


def test_no_reader_expands_patterns() -> None:
    packages = (ROOT / name for name in ("odins_ravne_assets", "resources", "gpu_kernels"))
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for package in packages
        for path in package.rglob("*.py")
        for line in readers_of_patterns(path.read_text(encoding="utf-8"))
    }
    assert found == set()
