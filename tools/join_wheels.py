"""Join the parts that `carry_wheels.py` has written, and install the wheels without a network.

    python3 join_wheels.py WHEELS                  # joins the parts that are here into WHEELS
    python3 join_wheels.py WHEELS --install VENV   # and then makes the environment

Parts may come one after the other: each call takes the intact ones that are beside this file, and
lists those that are still missing. Every part and every wheel is checked against the SHA-256 in
`manifest.json`. Needs the standard library alone. The exit code is 1 as long as parts are missing.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any, BinaryIO

HERE = Path(__file__).parent
MANIFEST = "manifest.json"
TAKEN = ".parts"  # below WHEELS: parts that have been checked
CHUNK = 2**20


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_intact(path: Path, entry: dict[str, Any]) -> bool:
    """Return True if a file is that of an entry of the manifest."""
    if not path.is_file() or path.stat().st_size != entry["bytes"]:
        return False
    return digest(path) == entry["sha256"]


def take_parts(source: Path, taken: Path, parts: list[dict[str, Any]]) -> list[str]:
    """Copy the intact parts that are not taken yet; return what is wrong with the others."""
    taken.mkdir(parents=True, exist_ok=True)
    wrong = []
    for part in parts:
        name, target = part["name"], taken / part["name"]
        if is_intact(target, part):
            continue
        found = source / name
        if not found.is_file():
            wrong.append(f"{name} is missing")
        elif not is_intact(found, part):
            wrong.append(f"{name} is damaged")
        else:
            partial = target.with_suffix(".partial")
            partial.write_bytes(found.read_bytes())
            partial.replace(target)
    return wrong


class PartReader:
    """The parts as one stream."""

    def __init__(self, paths: list[Path]) -> None:
        self._waiting = list(paths)
        self._file: BinaryIO | None = None

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes; none at the end."""
        while self._file or self._waiting:
            if self._file is None:
                self._file = self._waiting.pop(0).open("rb")
            if content := self._file.read(count):
                return content
            self._file.close()
            self._file = None
        return b""


def join(reader: PartReader, wheels: Path, entries: list[dict[str, Any]]) -> None:
    """Write the wheels of the parts.

    Raises:
        SystemExit: one is not that of the manifest.
    """
    for entry in entries:
        if Path(entry["name"]).name != entry["name"]:
            sys.exit(f"error: {MANIFEST}: {entry['name']!r} is not a file name")
        target = wheels / entry["name"]
        partial = target.with_suffix(".partial")
        left = entry["bytes"]
        with partial.open("wb") as file:
            while left and (content := reader.read(min(left, CHUNK))):
                file.write(content)
                left -= len(content)
        if not is_intact(partial, entry):
            sys.exit(f"error: {entry['name']}: the parts do not contain the wheel of {MANIFEST}")
        partial.replace(target)


def install(wheels: Path, manifest: dict[str, Any], target: Path) -> None:
    """Make an environment with the wheels.

    Raises:
        SystemExit: this Python is not the one of the wheels, or pip fails.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if version != manifest["python"]:
        sys.exit(
            f"error: the wheels are for Python {manifest['python']}, this is {version}; run this "
            f"file with python{manifest['python']}, or write parts with --python {version}"
        )
    venv.create(target, with_pip=True)
    names = [str(wheels / each["name"]) for each in manifest["wheels"]]
    pip = [str(target / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    done = subprocess.run([*pip, "--no-index", "--no-deps", "--disable-pip-version-check", *names])
    if done.returncode:
        sys.exit("error: pip cannot install the wheels; its message is above")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheels", type=Path, help="folder for the wheels")
    parser.add_argument("--install", type=Path, metavar="VENV", help="make this environment")
    options = parser.parse_args()
    manifest = json.loads((HERE / MANIFEST).read_text(encoding="utf-8"))
    taken = options.wheels / TAKEN
    if not all(is_intact(options.wheels / each["name"], each) for each in manifest["wheels"]):
        if wrong := take_parts(HERE, taken, manifest["parts"]):
            print("\n".join([*wrong, "bring these parts here, and run this again"]))
            return 1
        paths = [taken / part["name"] for part in manifest["parts"]]
        join(PartReader(paths), options.wheels, manifest["wheels"])
        for path in paths:
            path.unlink()
        taken.rmdir()
    print(f"{len(manifest['wheels'])} wheels are complete in {options.wheels}")
    if options.install:
        install(options.wheels, manifest, options.install)
        print(f"installed into {options.install}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
