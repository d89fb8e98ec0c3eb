"""Write the wheels for a machine with a GPU and no network, in parts of a limited size.

    python tools/carry_wheels.py OUT --part-mb 60
    python tools/carry_wheels.py OUT --python 3.12 --tensorrt-index URL

Downloads the project's pinned dependencies and those of its extra `gpu`, with which
`benchmarks/gpu_checks.py` runs from a checkout, and cuts them into OUT/part-001 and so on, beside
`manifest.json` (names, sizes and SHA-256 of parts and wheels) and `join_wheels.py`, which joins and
installs them. opencv-python-headless replaces opencv-python: it needs no libraries of a desktop.
`--tensorrt-index` adds the full TensorRT from a package index that has it.

A call that was interrupted is repeated: wheels and parts that are complete stay. OUT/wheels, the
downloads, need not be carried.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

sys.path.insert(0, str(Path(__file__).parent.parent))
from tools import check_wheels, install, join_wheels

DOWNLOADS = "wheels"
DEFAULT_SYSTEM = "linux-x86_64"
# With the versions whose bindings the tests check; the same as in the Dockerfile.
TENSORRT = ("tensorrt-cu13-bindings==11.4.0.106", "tensorrt-cu13-libs==11.4.0.106")
CHUNK = 2**20
Entry = dict[str, Any]
Slice = tuple[Path, int, int]  # file, start, length


def target_pins(
    lines: Sequence[str], system: str, python: str, options: Sequence[str]
) -> dict[str, str]:
    """Return name -> version of all packages that a target needs.

    Args:
        lines: requirements.
        system: of `check_wheels.SYSTEMS`.
        options: further options of pip, as --no-index.
    """
    requirements = [Requirement(line) for line in lines]
    variables = check_wheels.SYSTEMS[system][1] | check_wheels.python_variables(python)
    metadata = check_wheels.installed_metadata(requirements, *options)
    return check_wheels.pins_for(requirements, metadata, variables)


def download(
    pins: Mapping[str, str], target: Path, system: str, python: str, options: Sequence[str]
) -> None:
    """Download the wheels of the pins that are not in a folder yet.

    Raises:
        SystemExit: pip fails; its message is printed.
    """
    wanted = [f"{name}=={version}" if version else name for name, version in sorted(pins.items())]
    platforms = check_wheels.SYSTEMS[system][0]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(target)]
    command += [*check_wheels.target_options(platforms, python), *options, *wanted]
    if subprocess.run(command).returncode:
        sys.exit("error: pip cannot download all wheels; its message is above")


def wheels_of(folder: Path, pins: Mapping[str, str]) -> list[Path]:
    """Return the wheels of the pins, and delete others, which an earlier call downloaded."""
    from packaging.utils import parse_wheel_filename

    found = []
    for path in sorted(folder.glob("*.whl")):
        name, version, _, _ = parse_wheel_filename(path.name)
        if name in pins and pins[name] in {"", str(version)}:
            found.append(path)
        else:
            path.unlink()
    return found


def cut(paths: Sequence[Path], part_bytes: int) -> Iterator[list[Slice]]:
    """Yield the slices of files that make up each part."""
    part: list[Slice] = []
    left = part_bytes
    for path in paths:
        start, size = 0, path.stat().st_size
        while start < size:
            length = min(left, size - start)
            part.append((path, start, length))
            start, left = start + length, left - length
            if not left:
                yield part
                part, left = [], part_bytes
    if part:
        yield part


def read_slices(slices: Sequence[Slice]) -> Iterator[bytes]:
    """Yield the content of a part, in pieces."""
    for path, start, length in slices:
        with path.open("rb") as wheel:
            wheel.seek(start)
            while length and (content := wheel.read(min(CHUNK, length))):
                yield content
                length -= len(content)


def write_part(target: Path, slices: Sequence[Slice]) -> Entry:
    """Write a part unless it exists, and return its entry of the manifest."""
    digest = hashlib.sha256()
    for content in read_slices(slices):
        digest.update(content)
    size = sum(length for _, _, length in slices)
    entry = {"name": target.name, "bytes": size, "sha256": digest.hexdigest()}
    if not join_wheels.is_intact(target, entry):
        partial = target.with_suffix(".partial")
        with partial.open("wb") as file:
            file.writelines(read_slices(slices))
        partial.replace(target)
    return entry


def entry_of(path: Path) -> Entry:
    """Return a file's entry of the manifest."""
    size = path.stat().st_size
    return {"name": path.name, "bytes": size, "sha256": join_wheels.digest(path)}


def write_parts(out: Path, wheels: Sequence[Path], part_bytes: int, python: str) -> list[Entry]:
    """Write the parts, the program that joins them, and last the manifest.

    Returns:
        The entries of the parts.
    """
    cuts = enumerate(cut(wheels, part_bytes), start=1)
    parts = [write_part(out / f"part-{number:03}", slices) for number, slices in cuts]
    for path in out.glob("part-*"):  # of an earlier call with smaller parts or more wheels
        if path.name not in {part["name"] for part in parts}:
            path.unlink()
    shutil.copyfile(Path(join_wheels.__file__), out / "join_wheels.py")
    manifest = {"python": python, "wheels": [entry_of(each) for each in wheels], "parts": parts}
    write_text(out / join_wheels.MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return parts


def write_text(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def main(arguments: Sequence[str] | None = None, requirements: Sequence[str] = ()) -> int:
    """Run the command.

    Args:
        arguments: of the command line.
        requirements: to carry in place of the project's.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--part-mb", type=float, default=60.0, help="size of a part, in 10^6 bytes")
    parser.add_argument("--system", choices=check_wheels.SYSTEMS, default=DEFAULT_SYSTEM)
    parser.add_argument("--python", choices=check_wheels.PYTHONS, default="3.11")
    parser.add_argument("--find-links", help="take the wheels from this folder alone")
    parser.add_argument("--tensorrt-index", help="package index with the full TensorRT")
    options = parser.parse_args(arguments)
    if (part_bytes := int(options.part_mb * 1e6)) <= 0:
        parser.error(f"--part-mb {options.part_mb}: at least 0.000001")
    source = ["--no-index", "--find-links", options.find_links] if options.find_links else []
    folder = options.out / DOWNLOADS / f"{options.system}-{options.python}"
    folder.mkdir(parents=True, exist_ok=True)
    lines = requirements or install.requirements(["gpu"], headless=True)
    pins = target_pins(lines, options.system, options.python, source)
    download(pins, folder, options.system, options.python, source)
    if options.tensorrt_index:
        full = dict(line.split("==") for line in TENSORRT)
        index = ["--index-url", options.tensorrt_index]
        download(full, folder, options.system, options.python, index)
        pins |= full
    wheels = wheels_of(folder, pins)
    parts = write_parts(options.out, wheels, part_bytes, options.python)
    total = sum(part["bytes"] for part in parts)
    print(f"{len(wheels)} wheels, {total / 1e6:.0f} MB in {len(parts)} parts in {options.out}")
    print(f"carry {options.out}/part-*, manifest.json and join_wheels.py, then on the machine:")
    print(f"  python{options.python} join_wheels.py WHEELS --install VENV")
    print("  VENV/bin/python benchmarks/gpu_checks.py")
    return 0


if __name__ == "__main__":
    sys.exit(main())
