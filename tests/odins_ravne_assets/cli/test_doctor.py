"""`munin doctor`: it finds what is wrong with an installation, and says how to repair it."""

import shutil
import socket
from pathlib import Path

import pytest
from command_line import CompletedCommand, Munin
from media_files import write_picture

from gpu_kernels.models.manifest import SHIPPED_MODELS, load_manifest
from odins_ravne_assets.cli import doctor
from odins_ravne_assets.cli.doctor import GIB, check_disk, check_models, check_port, check_python

SUBJECTS = ("Python", "packages", "imports", "OpenCV", "FFmpeg", "profile", "models", "results")
SUBJECTS += ("memory", "GPU", "DAGSTER_HOME", "temporary", "port")
HIDE_MODULE = """
import sys


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Absent())
"""


def levels(ended: CompletedCommand) -> dict[str, str]:
    """The level of each subject in the output."""
    return {line[9:23].strip(): line[:9].strip() for line in ended.out.splitlines()}


@pytest.fixture
def without_display(tmp_path: Path) -> Munin:
    """A machine whose OpenCV lacks a library of the system."""
    folder = tmp_path / "path"
    (folder / "cv2").mkdir(parents=True)
    message = "libxcb.so.1: cannot open shared object file: No such file or directory"
    (folder / "cv2" / "__init__.py").write_text(f"raise ImportError({message!r})\n")
    return Munin(tmp_path / "munin", environment={"PYTHONPATH": str(folder)})


def test_a_complete_installation_passes_every_check(tmp_path: Path) -> None:
    ended = Munin(tmp_path / "munin")("doctor")
    assert ended.code == 0, ended.out
    found = levels(ended)
    assert tuple(found) == SUBJECTS
    assert {found[subject] for subject in SUBJECTS[:8]} == {"ok"}


def test_opencv_without_its_system_libraries_is_repaired_with_the_headless_form(
    without_display: Munin,
) -> None:
    ended = without_display("doctor")
    assert ended.code == 1
    assert levels(ended)["OpenCV"] == "problem"
    (line,) = [line for line in ended.out.splitlines() if "OpenCV" in line]
    assert "libxcb.so.1" in line
    assert "pip uninstall --yes opencv-python && " in line
    assert "install --no-deps opencv-python-headless==" in line


def test_a_run_that_cannot_import_names_the_doctor_and_shows_no_traceback(
    without_display: Munin, tmp_path: Path
) -> None:
    card = write_picture(tmp_path / "card" / "IMG_0001.JPG", (320, 240)).parent
    ended = without_display("batch", card, tmp_path / "results", "--camera", "one")
    assert ended.code == 1
    assert any("libxcb.so.1" in line and "run munin doctor" in line for line in ended.errors)


def test_the_doctor_runs_where_the_command_line_itself_cannot_be_imported(tmp_path: Path) -> None:
    folder = tmp_path / "path"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HIDE_MODULE.format(hidden="rich.console"))
    munin = Munin(tmp_path / "munin", environment={"PYTHONPATH": str(folder)})
    ended = munin("status")
    assert (ended.code, ended.errors) == (
        1,
        ["error: No module named 'rich.console'; run munin doctor"],
    )
    assert levels(munin("doctor"))["Python"] == "ok"


def test_an_unknown_profile_is_a_problem_and_the_other_checks_go_on(tmp_path: Path) -> None:
    ended = Munin(tmp_path / "munin", profile="nowhere")("doctor")
    assert ended.code == 1
    found = levels(ended)
    assert (found["profile"], found["port"] in {"ok", "warning"}) == ("problem", True)


def test_a_cloud_profile_without_credentials_is_a_problem(tmp_path: Path) -> None:
    alone = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    ended = Munin(tmp_path / "munin", profile="cloud", environment=alone)("doctor")
    assert ended.code == 1
    assert levels(ended)["AWS"] == "problem"


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    shipped = load_manifest("megadetector-lite")
    for path in shipped.files:
        shutil.copy(path, tmp_path / path.name)
    manifest = shutil.copy(SHIPPED_MODELS / "megadetector-lite.toml", tmp_path)
    (damaged := next(tmp_path.glob("*.onnx"))).write_bytes(b"damaged")
    (finding,) = check_models([manifest])
    assert finding.level == "problem"
    assert damaged.name in finding.text


def test_little_disk_space_is_a_warning_also_for_a_folder_that_does_not_exist_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (finding,) = check_disk("results", tmp_path / "not" / "yet")
    assert finding.level == "ok"
    monkeypatch.setattr(doctor, "MIN_FREE_DISK", 2**30 * GIB)
    (finding,) = check_disk("results", tmp_path / "not" / "yet")
    assert finding.level == "warning"


def test_a_port_in_use_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(doctor, "UI_PORT", taken.getsockname()[1])
        (finding,) = check_port()
    assert finding.level == "warning"
    assert "--port" in finding.text


def test_an_unsupported_python_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SUPPORTED_PYTHONS", ((3, 98), (3, 99)))
    (finding,) = check_python()
    assert finding.level == "problem"
    assert "install Python 3.98 to 3.99" in finding.text
