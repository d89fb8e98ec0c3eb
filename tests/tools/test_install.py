"""The installation by make: its requirements, its Python, and OpenCV without system libraries."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from paths import ROOT

from tools import install

MISSING = "ImportError: libxcb.so.1: cannot open shared object file: No such file or directory"


def names(lines: list[str]) -> set[str]:
    return {line.partition("==")[0] for line in lines}


def test_requirements_include_the_extras_of_an_extra() -> None:
    plain, test = (install.requirements(extras, headless=False) for extras in ((), ("test",)))
    assert "opencv-python==" in "".join(plain) and "boto3" not in names(plain)
    assert set(plain) <= set(test) and "ruff" in names(test)
    assert {"boto3", "moto[server,s3,sqs,ec2,iam,logs,ce,budgets,sts]", "onnx"} <= names(test)
    assert not [line for line in test if line.startswith("odins-ravne")]


def test_headless_opencv_has_the_pinned_version() -> None:
    usual, headless = (install.requirements((), headless=each) for each in (False, True))
    (pin,) = set(usual) - set(headless)
    assert set(headless) - set(usual) == {pin.replace("opencv-python", "opencv-python-headless")}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The calls of pip, which does nothing, where opencv-python 5.0 is installed."""
    made: list[tuple[str, ...]] = []
    monkeypatch.setattr(install, "pip", lambda _status, *words: made.append(words))
    monkeypatch.setattr(install, "installed_version", {"opencv-python": "5.0"}.get)
    return made


@pytest.mark.parametrize(
    ("code", "error", "replaced"),
    [(0, "", False), (1, MISSING, True), (1, "ImportError: numpy is missing", False)],
)
def test_opencv_is_replaced_only_where_libraries_are_missing(
    code: int,
    error: str,
    replaced: bool,
    calls: list[tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ended = SimpleNamespace(returncode=code, stderr=error)
    monkeypatch.setattr(install.subprocess, "run", lambda *_, **__: ended)
    install.repair_opencv(install.StatusLine())
    if not replaced:
        assert calls == [] and capsys.readouterr().out == ""
        return
    assert calls == [
        ("uninstall", "--yes", "opencv-python"),
        ("install", "--no-deps", "opencv-python-headless==5.0"),
    ]
    assert "libxcb.so.1" in capsys.readouterr().out


def test_an_error_of_pip_is_reported() -> None:
    with pytest.raises(install.InstallError, match="no-such-option"):
        install.pip(install.StatusLine(), "--no-such-option")


def make(tmp_path: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make up to the virtual environment."""
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text("utf-8"), encoding="utf-8")
    return subprocess.run(
        ["make", ".venv/bin/python", *words],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )


def fake_python(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def test_make_takes_the_first_python_that_works(tmp_path: Path) -> None:
    """A shim of pyenv exists for each version, also where that version is not active."""
    programs = tmp_path / "programs"
    for name in install_pythons():
        fake_python(programs, name, "exit 127")
    working = 'case "$1" in -c) exec {python} "$@";; *) echo {name} "$@" > made;; esac'
    for name in ("python3.13", "python3"):
        fake_python(programs, name, working.format(python=sys.executable, name=name))
    done = make(tmp_path, PATH=f"{programs}:/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "made").read_text() == "python3.13 -m venv --clear .venv\n"


def install_pythons() -> list[str]:
    text = (ROOT / "Makefile").read_text("utf-8")
    (line,) = (each for each in text.splitlines() if each.startswith("PYTHONS := "))
    return line.split()[2:]


@pytest.mark.parametrize("words", [(), ("PYTHON=python3.9",)], ids=["none", "unsupported"])
def test_make_without_a_supported_python_fails_in_one_line(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    programs = tmp_path / "programs"
    for name in [*install_pythons(), "python3.9"]:
        fake_python(programs, name, "exit 1")
    done = make(tmp_path, *words, PATH=f"{programs}:/usr/bin:/bin")
    errors = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert done.returncode == 2 and len(errors) == 1
    assert errors[0].startswith("error: ") and "make PYTHON=" in errors[0]
    assert not (tmp_path / ".venv").exists()
