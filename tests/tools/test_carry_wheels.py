"""Wheels for a machine without a network: downloaded, cut into parts, joined and installed there.

With an index of a few tiny wheels in a folder; pip, the parts and the environment are real.
"""

import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import carry_wheels, install, join_wheels

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
REQUIREMENTS = ["zebra==1.0", "fox[night]==2.0"]
PART_MB = 0.01
Carry = Callable[..., dict[str, object]]


def write_wheel(folder: Path, name: str, version: str, *needs: str, size: int = 100) -> None:
    info, payload = f"{name}-{version}.dist-info", random.Random(name).randbytes(size)
    lines = [f"Name: {name}", f"Version: {version}", "Provides-Extra: night"]
    metadata = "\n".join(["Metadata-Version: 2.1", *lines, *(f"Requires-Dist: {n}" for n in needs)])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", f"NAME = {name!r}\n")
        archive.writestr(f"{name}.bin", payload)
        archive.writestr(f"{info}/METADATA", metadata + "\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package index; beaver is larger than a part."""
    folder = tmp_path_factory.mktemp("index")
    write_wheel(folder, "zebra", "1.0", "beaver>=1", 'bat; sys_platform == "win32"')
    write_wheel(folder, "fox", "2.0", 'owl==3.0; extra == "night"', 'bat; extra == "day"')
    write_wheel(folder, "fox", "2.1")
    write_wheel(folder, "owl", "3.0")
    write_wheel(folder, "beaver", "1.5", size=25_000)
    return folder


@pytest.fixture
def carry(index: Path, tmp_path: Path) -> Carry:
    def run(*arguments: str, requirements: list[str] = REQUIREMENTS) -> dict[str, object]:
        given = [str(tmp_path / "out"), "--part-mb", str(PART_MB), "--python", PYTHON]
        given += ["--find-links", str(index), *arguments]
        assert carry_wheels.main(given, requirements) == 0
        loaded: dict[str, object] = json.loads((tmp_path / "out" / "manifest.json").read_text())
        return loaded

    return run


def join(source: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program as on the other machine: isolated from this checkout."""
    command = [sys.executable, "-I", str(source / "join_wheels.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def names(manifest: dict[str, object], key: str) -> list[str]:
    entries: list[dict[str, str]] = manifest[key]  # type: ignore[assignment]
    return [entry["name"] for entry in entries]


def test_pinned_wheels_with_their_dependencies_are_cut_into_parts_of_the_given_size(
    carry: Carry, tmp_path: Path
) -> None:
    manifest = carry()
    wheels = ["beaver-1.5", "fox-2.0", "owl-3.0", "zebra-1.0"]
    assert names(manifest, "wheels") == [f"{each}-py3-none-any.whl" for each in wheels]
    sizes = [(tmp_path / "out" / name).stat().st_size for name in names(manifest, "parts")]
    assert len(sizes) == 3 and sizes[:2] == [10_000, 10_000] and 0 < sizes[2] <= 10_000


def test_the_other_machine_installs_what_was_carried_part_by_part(
    carry: Carry, tmp_path: Path
) -> None:
    manifest, here, wheels = carry(), tmp_path / "there", tmp_path / "there-wheels"
    here.mkdir()
    for name in ("manifest.json", "join_wheels.py"):
        (here / name).write_bytes((tmp_path / "out" / name).read_bytes())
    *first, last = names(manifest, "parts")
    for name in first:
        (here / name).write_bytes((tmp_path / "out" / name).read_bytes())
        ended = join(here, str(wheels))
        assert ended.returncode == 1 and f"{last} is missing" in ended.stdout
        (here / name).unlink()  # the machine has it
        assert f"{name} " not in join(here, str(wheels)).stdout
    (here / last).write_bytes((tmp_path / "out" / last).read_bytes())
    environment = tmp_path / "venv"
    ended = join(here, str(wheels), "--install", str(environment))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "4 wheels are complete" in ended.stdout
    code = "import beaver, fox, owl, zebra; print(beaver.NAME, fox.NAME, owl.NAME, zebra.NAME)"
    done = subprocess.run(
        [environment / "bin" / "python", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["beaver", "fox", "owl", "zebra"]
    assert sorted(p.name for p in wheels.iterdir()) == names(manifest, "wheels")


def test_a_damaged_part_is_named_and_not_used(carry: Carry, tmp_path: Path) -> None:
    part = tmp_path / "out" / names(carry(), "parts")[1]
    content = part.read_bytes()
    part.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    ended = join(tmp_path / "out", str(tmp_path / "wheels"))
    assert ended.returncode == 1
    assert ended.stdout.splitlines()[0] == f"{part.name} is damaged"
    part.write_bytes(content)
    assert join(tmp_path / "out", str(tmp_path / "wheels")).returncode == 0


def test_a_wheel_that_was_damaged_later_is_joined_again(carry: Carry, tmp_path: Path) -> None:
    manifest, wheels = carry(), tmp_path / "wheels"
    join(tmp_path / "out", str(wheels))
    (wheels / names(manifest, "wheels")[1]).write_bytes(b"")
    assert join(tmp_path / "out", str(wheels)).returncode == 0
    assert join_wheels.is_intact(wheels / names(manifest, "wheels")[1], manifest["wheels"][1])  # type: ignore[index]


def test_a_repeated_call_leaves_complete_parts_and_repairs_others(
    carry: Carry, tmp_path: Path
) -> None:
    first = carry()
    parts = [tmp_path / "out" / name for name in names(first, "parts")]
    parts[1].write_bytes(b"half")
    parts[2].unlink()
    (tmp_path / "out" / "manifest.json").unlink()  # written last
    before = parts[0].stat().st_mtime_ns
    assert carry() == first
    assert parts[0].stat().st_mtime_ns == before
    assert join(tmp_path / "out", str(tmp_path / "wheels")).returncode == 0


def test_other_requirements_leave_no_wheels_or_parts_behind(carry: Carry, tmp_path: Path) -> None:
    carry()
    manifest = carry(requirements=["owl==3.0"])
    assert names(manifest, "wheels") == ["owl-3.0-py3-none-any.whl"]
    assert [each.name for each in (tmp_path / "out").glob("part-*")] == ["part-001"]


def test_a_wheel_that_the_index_lacks_is_an_error_of_one_line(
    carry: Carry, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="pip cannot resolve the dependencies"):
        carry(requirements=["lynx==1.0"])


def test_another_python_is_refused_before_anything_is_installed(
    carry: Carry, tmp_path: Path
) -> None:
    carry("--python", "3.11" if PYTHON == "3.12" else "3.12")
    ended = join(tmp_path / "out", str(tmp_path / "wheels"), "--install", str(tmp_path / "venv"))
    assert ended.returncode == 1
    assert f"this is {PYTHON}; run this file with python3.1" in ended.stderr
    assert not (tmp_path / "venv").exists()


def test_a_name_in_the_manifest_that_leaves_the_folder_is_refused(
    carry: Carry, tmp_path: Path
) -> None:
    manifest = carry()
    manifest["wheels"][0]["name"] = "../evil.whl"  # type: ignore[index]
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(manifest))
    ended = join(tmp_path / "out", str(tmp_path / "wheels"))
    assert ended.returncode == 1 and "is not a file name" in ended.stderr
    assert not (tmp_path / "evil.whl").exists()


def test_the_projects_requirements_are_those_of_the_gpu_without_a_desktop() -> None:
    carried = {line.partition("==")[0] for line in install.requirements(["gpu"], headless=True)}
    needed = {"warp-lang", "tensorrt-rtx-cu13-libs", "onnxruntime", "opencv-python-headless"}
    assert needed <= carried and "opencv-python" not in carried


def test_the_full_tensorrt_has_the_version_of_the_workers_image() -> None:
    text = (Path(install.__file__).parent.parent / "Dockerfile").read_text("utf-8")
    versions = {line.partition("==")[2] for line in carry_wheels.TENSORRT}
    assert [f"ARG TENSORRT_VERSION={each}\n" in text for each in versions] == [True]
