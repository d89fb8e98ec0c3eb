"""A wheel of the checkout, in an empty folder: it has all files, and runs the demo and the UI."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from command_line import Munin, processed
from dagster_ui import DagsterUI
from paths import ROOT

PACKAGES = ("odins_ravne_assets", "resources", "gpu_kernels", "profiles")
METADATA = ("pyproject.toml", "README.md", "LICENSE", "NOTICE")
# As in .gitignore.
NOT_IN_GIT = shutil.ignore_patterns("__pycache__", "built", "cubins")


def pip(*words: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, words)]
    subprocess.run([*command, "--quiet"], check=True, timeout=120)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages: a build writes into its folder."""
    folder = tmp_path_factory.mktemp("source")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=NOT_IN_GIT)
    for name in METADATA:
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # Without build isolation: the test needs no network.
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    (built,) = folder.glob("*.whl")
    return built


def files_of(source: Path) -> set[str]:
    """Return all files of the packages, relative to the source."""
    return {
        path.relative_to(source).as_posix()
        for name in PACKAGES
        for path in (source / name).rglob("*")
        if path.is_file()
    }


def test_a_wheel_has_every_file_of_the_packages(source: Path, wheel: Path) -> None:
    expected = files_of(source)
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
        licences = {Path(name).name for name in archive.namelist() if "/licenses/" in name}
    assert found == expected
    assert licences == {"LICENSE", "NOTICE"}
    suffixes = {Path(name).suffix for name in found}
    assert {".yaml", ".html", ".onnx", ".toml", ".tsv", ".js", ".jpg"} <= suffixes


def test_the_demo_and_the_ui_run_from_a_wheel(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, folder = tmp_path / "site", tmp_path / "empty"
    pip("install", "--no-deps", "--target", site, wheel)
    monkeypatch.setenv("PYTHONPATH", str(site))
    munin = Munin(folder)
    monkeypatch.chdir(folder)
    where = "import odins_ravne_assets as assets; print(assets.__file__)"
    imported = subprocess.check_output([sys.executable, "-c", where], encoding="utf-8")
    assert imported.strip() == str(site / "odins_ravne_assets" / "__init__.py")

    ended = munin("demo")
    assert ended.code == 0, ended.err
    assert "3 visits" in ended.out
    assert ended.out.count("domestic cat") == 2 and ended.out.count("person") == 1
    results = folder / "munin-demo" / "results" / "demo-camera"
    assert {status for status, _ in processed(results).values()} == {"done"}

    again = munin("demo")
    assert again.code == 0 and "detecting" not in again.err

    with DagsterUI(munin.home, tmp_path / "ui.log") as ui:
        assert ui.graphql("{version}")["version"]
