"""The dependencies of a plain install are enough; the extras of the tests are hidden here."""

import dataclasses
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from command_line import Munin
from media_files import write_picture
from packaging.requirements import Requirement
from paths import ROOT
from stub_libraries import gcc, make_stub

__all__ = ["gcc"]  # pytest finds fixtures by their names

PYPROJECT = ROOT / "pyproject.toml"
# Python runs this first in every process.
HIDE = """
import sys

HIDDEN = frozenset({hidden!r})


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in HIDDEN:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Absent())
"""


def normal(name: str) -> str:
    """Return a distribution's name as PEP 503 normalizes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def dependencies_of(wanted: Requirement, seen: set[tuple[str, str]]) -> Iterator[str]:
    """Yield a distribution and all of its dependencies."""
    yield normal(wanted.name)
    try:
        lines = requires(wanted.name) or []
    except PackageNotFoundError:  # for another platform
        return
    for extra in {"", *wanted.extras}:
        if (normal(wanted.name), extra) in seen:
            continue
        seen.add((normal(wanted.name), extra))
        for needed in map(Requirement, lines):
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                yield from dependencies_of(needed, seen)


def not_in_a_plain_install() -> set[str]:
    """Return modules of this environment that the project's dependencies do not include."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    seen: set[tuple[str, str]] = set()
    plain = {normal(project["name"]), "pip", "setuptools"}
    for line in project["dependencies"]:
        plain.update(dependencies_of(Requirement(line), seen))
    return {
        module
        for module, makers in packages_distributions().items()
        if not plain & {normal(maker) for maker in makers}
    }


@pytest.fixture(scope="module")
def munin(tmp_path_factory: pytest.TempPathFactory) -> Munin:
    hidden = not_in_a_plain_install()
    assert {"boto3", "botocore", "moto", "onnx", "warp"} <= hidden
    assert not {"dagster", "polars", "cv2", "av", "onnxruntime", "psutil", "filelock"} & hidden
    folder = tmp_path_factory.mktemp("plain")
    (folder / "sitecustomize.py").write_text(HIDE.format(hidden=sorted(hidden)))
    return Munin(folder / "munin", environment={"PYTHONPATH": str(folder)})


def test_a_run_on_this_machine_needs_no_extra(munin: Munin, tmp_path: Path) -> None:
    write_picture(tmp_path / "card" / "IMG_0001.JPG", (320, 240))
    ended = munin("batch", tmp_path / "card", tmp_path / "results", "--camera", "plain")
    assert (ended.code, ended.errors) == (0, [])
    assert (tmp_path / "results" / "stage3" / "report.html").exists()


def test_a_plan_needs_no_extra(munin: Munin, tmp_path: Path) -> None:
    write_picture(tmp_path / "card" / "IMG_0001.JPG", (320, 240))
    ended = munin("plan", tmp_path / "card")
    assert (ended.code, ended.errors) == (0, [])


@pytest.mark.parametrize(
    "words",
    [["status"], ["settings"], ["models", "list"], ["cost", "costs"], ["backfill", "--help"]],
)
def test_a_command_on_this_machine_needs_no_extra(munin: Munin, words: list[str]) -> None:
    ended = munin(*words)
    assert (ended.code, ended.errors) == (0, [])


def test_a_command_that_needs_an_extra_names_it(munin: Munin) -> None:
    """Shows also that extras are hidden here."""
    cloud = dataclasses.replace(munin, profile="cloud")
    ended = cloud("batch", "s3://a-bucket/footage", "s3://a-bucket/results")
    assert ended.code == 2
    assert len(ended.errors) == 1
    assert "odins-ravne[cloud]" in ended.errors[0]


def test_engines_for_a_gpu_need_an_extra_that_the_error_names(munin: Munin, tmp_path: Path) -> None:
    ended = munin("models", "engines", "--arch", "sm_75", "--to", tmp_path)
    (error,) = ended.errors
    assert ended.code == 1
    assert "tensorrt-rtx is not installed; pip install 'odins-ravne[gpu]'" in error


def test_a_gpu_without_the_extra_is_a_warning_and_the_cpu_is_used(
    munin: Munin, gcc: str, tmp_path: Path
) -> None:
    make_stub(gcc, "cuda_driver.c", tmp_path / "libcuda.so.1", "-DGPUS=1", "-DCUDA=13000")
    libraries = {"LD_LIBRARY_PATH": str(tmp_path)}
    with_gpu = dataclasses.replace(munin, environment={**munin.environment, **libraries})
    write_picture(tmp_path / "card" / "IMG_0001.JPG", (320, 240))
    ended = with_gpu("batch", tmp_path / "card", tmp_path / "results", "--camera", "with-gpu")
    assert ended.code == 0
    (warning,) = [line for line in ended.err.splitlines() if "the GPU is not used" in line]
    assert "pip install 'odins-ravne[gpu]'" in warning
