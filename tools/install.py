"""Install the project into the environment of this Python, for the Makefile.

    .venv/bin/python tools/install.py [EXTRA ...]

Runs pip, and shows its progress in one line of a terminal; elsewhere prints a line at the beginning
and at the end. Installs opencv-python-headless in place of opencv-python where the latter lacks
libraries of the system, and keeps it in later calls. Needs the standard library alone.
"""

import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT, OPENCV, HEADLESS = "odins-ravne", "opencv-python", "opencv-python-headless"
# Download, disk and time of an empty environment; measured on Linux x86_64, Python 3.11, two cores.
ESTIMATES = {
    (): "265 MB to download, 950 MB on disk, about one minute",
    ("sandbox",): "310 MB to download, 1.2 GB on disk, about one minute",
    ("test",): "600 MB to download, 2.1 GB on disk, about three minutes",
}
SECONDS_BETWEEN_UPDATES = 0.5


class InstallError(Exception):
    """pip has failed; the text is the end of its output."""


def requirements(extras: Iterable[str], headless: bool) -> list[str]:
    """Return the dependencies of the project and of its extras.

    Args:
        extras: names of pyproject.toml; those that an extra includes are resolved.
        headless: replace opencv-python by opencv-python-headless.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: list[str] = list(project["dependencies"])
    waiting = list(extras)
    while waiting:
        for line in project["optional-dependencies"][waiting.pop()]:
            included = re.fullmatch(rf"{PROJECT}\[(.+)\]", line)
            if included:
                waiting += included[1].split(",")
            else:
                found.append(line)
    if headless:
        found = [line.replace(f"{OPENCV}==", f"{HEADLESS}==") for line in found]
    return list(dict.fromkeys(found))


def installed_version(name: str) -> str | None:
    """Return the version of a package of this environment, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


class StatusLine:
    """A line of a terminal that is overwritten; nothing elsewhere."""

    def __init__(self) -> None:
        self._began_at = time.monotonic()
        self._shown = sys.stdout.isatty()

    @property
    def seconds(self) -> int:
        return round(time.monotonic() - self._began_at)

    def show(self, text: str) -> None:
        if self._shown:
            line = f"{self.seconds:>4} s  {text}"[: shutil.get_terminal_size().columns - 1]
            print(f"\r{line}\x1b[K", end="", flush=True)

    def clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", flush=True)


def package_folders() -> list[Path]:
    """Return the metadata folder of each installed package."""
    return list(Path(sys.prefix).glob("lib/python*/site-packages/*.dist-info"))


def pip(status: StatusLine, *words: str) -> None:
    """Run pip and show what it does.

    Raises:
        InstallError: pip fails.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    output: list[str] = []
    doing, before, total = "running pip", len(package_folders()), 0
    for line in _lines(process):
        if line:
            output.append(line)
            doing = _download(line) or doing
        if line.startswith("Installing collected packages: "):
            total = line.count(",") + 1
        if total:
            doing = f"installing {min(len(package_folders()) - before, total)} of {total}"
        status.show(doing)
    if process.wait():
        errors = [line for line in output if line.lower().startswith("error")]
        raise InstallError("\n".join(errors or output[-20:]))


def _lines(process: "subprocess.Popen[str]") -> Iterator[str]:
    """Yield the output of a process line by line, and an empty line while there is none."""
    lines: queue.Queue[str | None] = queue.Queue()
    assert process.stdout is not None
    stream = process.stdout

    def read() -> None:
        for line in stream:
            lines.put(line.rstrip())
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=SECONDS_BETWEEN_UPDATES)
        except queue.Empty:
            line = ""
        if line is None:
            return
        yield line


def _download(line: str) -> str | None:
    """Return the file that pip downloads, by a line of its output."""
    found = re.match(r"\s+Downloading (\S+) (\(.+\))", line)
    return (
        f"downloading {found[1].rpartition('/')[2].partition('-')[0]} {found[2]}" if found else None
    )


def repair_opencv(status: StatusLine) -> None:
    """Replace opencv-python by its form without windows, if system libraries are missing."""
    done = subprocess.run(
        [sys.executable, "-c", "import cv2"], capture_output=True, encoding="utf-8"
    )
    missing = re.search(r"(\S+): cannot open shared object file", done.stderr)
    found = installed_version(OPENCV)
    if done.returncode == 0 or missing is None or found is None:
        return
    status.show(f"replacing {OPENCV}")
    pip(status, "uninstall", "--yes", OPENCV)
    pip(status, "install", "--no-deps", f"{HEADLESS}=={found}")
    status.clear()
    print(
        f"This machine lacks {missing[1]}, which {OPENCV} needs: {HEADLESS} {found} is installed "
        "in its place."
    )


def megabytes(folder: Path) -> int:
    """Return the size of a folder on disk."""
    files = (os.path.join(above, name) for above, _, names in os.walk(folder) for name in names)  # noqa: PTH118
    return round(sum(os.lstat(path).st_blocks * 512 for path in files) / 2**20)


def main(extras: tuple[str, ...]) -> int:
    """Install the project; return the exit code."""
    prefix = os.path.relpath(sys.prefix)
    if installed_version(PROJECT):
        print(f"Updating the packages in {prefix}.", flush=True)
    else:
        print(f"Installing into {prefix}: {ESTIMATES[extras]}.", flush=True)
    status = StatusLine()
    headless = installed_version(HEADLESS) is not None
    try:
        wanted = requirements(extras, headless)
        pip(status, "install", "--constraint", "constraints.txt", *wanted)
        pip(status, "install", "--no-deps", "--editable", ".")
        repair_opencv(status)
    except (InstallError, KeyboardInterrupt) as error:
        status.clear()
        print(f"error: pip: {error}" if str(error) else "Stopped.", file=sys.stderr)
        return 1
    status.clear()
    size = megabytes(Path(sys.prefix))
    print(f"Installed: {len(package_folders())} packages, {size} MB, in {status.seconds} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:])))
