"""Shared libraries of NVIDIA that are stood in for by stubs, compiled from `stubs/`."""

import shutil
import subprocess
from pathlib import Path

import pytest

STUBS = Path(__file__).parent / "stubs"


@pytest.fixture(scope="module")
def gcc() -> str:
    """What compiles them."""
    found = shutil.which("gcc")
    if found is None:
        pytest.skip("gcc is needed to make the stubs")
    return found


def make_stub(gcc: str, source: str, target: Path, *options: str) -> Path:
    """Compile a source of `stubs/` into a library."""
    command = [gcc, "-shared", "-fPIC", *options, "-o", target, STUBS / source]
    subprocess.run([str(part) for part in command], check=True)
    return target
