"""A rehearsal of macOS and of ARM machines: the local road without what only Linux on x86 has.

See `other_system`. The names on disk are in the Unicode form that macOS writes.
"""

import re
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from command_line import Munin, make_demo_footage, results
from other_system import LOG_VARIABLE
from paths import ROOT

SUPPORT = ROOT / "tests" / "support"
SITECUSTOMIZE = f"""
import sys
sys.path.insert(0, {str(SUPPORT)!r})
import other_system
other_system.hide()
sys.path.remove({str(SUPPORT)!r})
"""
X86 = re.compile(r"x86|amd64|i[3-6]86|\bAVX|\bSSE\d", re.IGNORECASE)


@pytest.fixture(scope="module")
def other_system(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process on another system."""
    folder = tmp_path_factory.mktemp("other-system")
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    return {"PYTHONPATH": str(folder), LOG_VARIABLE: str(folder / "modules.txt")}


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures and a clip."""
    demo = make_demo_footage(tmp_path_factory.mktemp("demo"))
    files = sorted(path for path in demo.rglob("*") if path.is_file())
    card = tmp_path_factory.mktemp("card")
    (card / "Forêt é").mkdir()
    videos = [path for path in files if path.suffix.lower() in {".mp4", ".avi", ".mov"}]
    pictures = [path for path in files if path.suffix.lower() in {".jpg", ".jpeg"}]
    for number, path in enumerate([*pictures[:2], videos[0]]):
        shutil.copy2(path, card / "Forêt é" / f"été {number}{path.suffix}")
    return card


def copy_decomposed(source: Path, target: Path) -> Path:
    """Copy files under names in the Unicode form NFD."""
    for path in source.rglob("*"):
        if path.is_file():
            below = unicodedata.normalize("NFD", path.relative_to(source).as_posix())
            (target / below).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target / below)
    return target


def test_another_system_has_the_same_results(
    footage: Path, other_system: dict[str, str], tmp_path: Path
) -> None:
    plain = Munin(tmp_path / "plain")
    rehearsed = Munin(tmp_path / "rehearsed", environment=other_system)
    found = {}
    for munin in (plain, rehearsed):
        card = munin.folder / "card"
        copy_decomposed(footage, card) if munin is rehearsed else shutil.copytree(footage, card)
        ended = munin("batch", card, munin.folder / "results", "--camera", "north")
        assert (ended.code, ended.errors) == (0, []), ended.err
        found[munin.folder.name] = results(munin.folder / "results")
        assert not X86.search(ended.out + ended.err)
    assert found["rehearsed"] == found["plain"]
    assert len(found["plain"]) > 5
    assert rehearsed.processes() == []
    names = Path(other_system[LOG_VARIABLE]).read_text().split()
    assert {"odins_ravne_assets.munin.detection.decode_process", "resources.errors"} <= set(names)
    paths = [(ROOT / name.replace(".", "/")).with_suffix(".py") for name in set(names)]
    # Others are packages; survey.py names the machines on AWS that the worker's image runs on.
    loaded = [path for path in paths if path.is_file() and path.name != "survey.py"]
    assert [path for path in loaded if X86.search(path.read_text("utf-8"))] == []


PROBE = """
import builtins, ctypes, os
from pathlib import Path

def fails(work, error):
    try:
        work()
    except error:
        return True
    return False

print([
    fails(lambda: __import__("fcntl"), ImportError),
    fails(lambda: __import__("resource"), ImportError),
    fails(lambda: open("/proc/self/stat"), OSError),
    fails(lambda: Path("/proc/self/stat").read_text(), OSError),
    fails(lambda: os.listdir("/proc"), OSError),
    not Path("/proc").exists(),
    not hasattr(ctypes.CDLL(None), "prctl"),
    not hasattr(os, "memfd_create"),
    not hasattr(os, "sched_getaffinity"),
])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="hides what Linux has")
@pytest.mark.parametrize(("module", "hidden"), [("resources.example", 9), ("psutil.example", 3)])
def test_the_rehearsal_hides_what_it_says(
    module: str, hidden: int, other_system: dict[str, str]
) -> None:
    code = f"exec({PROBE!r}, {{'__name__': {module!r}}})"
    run = subprocess.run(
        [sys.executable, "-c", code], env=other_system, check=True, capture_output=True, text=True
    )
    assert run.stdout.count("True") == hidden
