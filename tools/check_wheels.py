"""Check that every pinned dependency has a wheel for each system and Python version.

    python tools/check_wheels.py
    python tools/check_wheels.py --system linux-aarch64 --python 3.14

Asks the package index that pip is configured with; downloads metadata only. pip evaluates
environment markers for the machine it runs on, so this program collects the dependencies of each
target itself, and has pip look for their wheels alone. The exit code is 1 if a wheel is missing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
GLIBC = ("2_5", "2_12", "2_17", "2_24", "2_26", "2_27", "2_28", "2_31", "2_34")


def manylinux(machine: str) -> list[str]:
    """Return the platform tags of glibc 2.34 and older, the oldest that Debian 12 exceeds."""
    tags = [f"manylinux_{each}_{machine}" for each in GLIBC]
    return [*tags, f"manylinux2014_{machine}", f"manylinux2010_{machine}", f"manylinux1_{machine}"]


def macos(machine: str) -> list[str]:
    """Return the platform tags of macOS 14 and older."""
    versions = ("11_0", "12_0", "13_0", "14_0")
    return [f"macosx_{each}_{kind}" for each in versions for kind in (machine, "universal2")] + [
        "macosx_10_9_universal2",
        "macosx_10_13_universal2",
        "macosx_10_15_universal2",
    ]


# System -> pip's platform tags, and the marker variables that differ.
SYSTEMS: Mapping[str, tuple[list[str], Mapping[str, str]]] = {
    "linux-x86_64": (
        manylinux("x86_64"),
        {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"},
    ),
    "linux-aarch64": (
        manylinux("aarch64"),
        {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64"},
    ),
    "macos-arm64": (
        macos("arm64"),
        {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
    ),
    "windows-amd64": (
        ["win_amd64"],
        {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"}
        | {"platform_machine": "AMD64"},
    ),
}


def direct_dependencies() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(line) for line in project["dependencies"]]


def pip(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", *words]
    return subprocess.run(command, capture_output=True, encoding="utf-8")


def installed_metadata(
    requirements: Iterable[Requirement], *options: str
) -> dict[str, dict[str, Any]]:
    """Return the metadata of all packages of an installation on this machine, by name.

    Args:
        options: further options of pip.

    Raises:
        SystemExit: pip cannot resolve the dependencies.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        constraints = ["--constraint", str(ROOT / "constraints.txt")]
        wanted = [str(each) for each in requirements]
        done = pip("--ignore-installed", *constraints, "--report", str(report), *options, *wanted)
        if done.returncode:
            sys.exit(f"error: pip cannot resolve the dependencies:\n{done.stderr}")
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {canonicalize_name(each["metadata"]["name"]): each["metadata"] for each in found}


def pins_for(
    requirements: Iterable[Requirement],
    metadata: Mapping[str, Mapping[str, Any]],
    environment: Mapping[str, str],
) -> dict[str, str]:
    """Return name -> version of all packages that a target installs.

    Packages that only other systems need are absent from `metadata`: their versions are those of
    constraints.txt, or any.
    """
    constraints = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line and not line.startswith("#")
    )
    pins: dict[str, str] = {}
    waiting: list[tuple[Requirement, frozenset[str]]] = [
        (each, frozenset(each.extras)) for each in requirements
    ]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement, extras = waiting.pop()
        name = canonicalize_name(requirement.name)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        facts = metadata.get(name, {})
        pins[name] = facts.get("version") or constraints.get(requirement.name, "")
        for line in facts.get("requires_dist", ()):
            needed = Requirement(line)
            if applies(needed, environment, extras):
                waiting.append((needed, frozenset(needed.extras)))
    return pins


def python_variables(python: str) -> dict[str, str]:
    """Return the marker variables of a Python, as 3.11."""
    return {"python_version": python, "python_full_version": f"{python}.0"}


def applies(needed: Requirement, environment: Mapping[str, str], extras: Iterable[str]) -> bool:
    """Return True if a dependency is installed in the environment with any of the extras."""
    marker = needed.marker
    return marker is None or any(
        marker.evaluate({**environment, "extra": extra}) for extra in ("", *extras)
    )


def target_options(platforms: Iterable[str], python: str) -> list[str]:
    """Return pip's options for the wheels of another system, without their dependencies."""
    target = [word for tag in platforms for word in ("--platform", tag)]
    target += ["--python-version", python, "--implementation", "cp", "--only-binary=:all:"]
    return [*target, "--no-deps"]


def missing_wheels(pins: Mapping[str, str], platforms: Iterable[str], python: str) -> Iterator[str]:
    """Yield the pins that have no wheel for a target."""
    target = [*target_options(platforms, python), "--ignore-installed", "--target", "unused"]
    wanted = [f"{name}=={version}" if version else name for name, version in sorted(pins.items())]
    if pip(*target, *wanted).returncode == 0:
        return
    for each in wanted:
        if pip(*target, each).returncode:
            yield each


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", choices=SYSTEMS, action="append", help="default: all")
    parser.add_argument("--python", choices=PYTHONS, action="append", help="default: all")
    options = parser.parse_args()
    requirements = direct_dependencies()
    metadata = installed_metadata(requirements)
    complete = True
    print(f"{'system':<16}{'Python':<8}{'packages':<10}without a wheel")
    for system in options.system or SYSTEMS:
        platforms, variables = SYSTEMS[system]
        for python in options.python or PYTHONS:
            pins = pins_for(requirements, metadata, {**variables, **python_variables(python)})
            missing = list(missing_wheels(pins, platforms, python))
            complete = complete and not missing
            print(f"{system:<16}{python:<8}{len(pins):<10}{', '.join(missing) or 'none'}")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
