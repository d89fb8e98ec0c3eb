"""`munin doctor`: check the installation, one line per check, and say how to repair it.

Uses the standard library alone until a check needs more: it must run where a dependency does not.
Native modules are imported in a process each, since a broken one may crash its process.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from resources.printable import printable
from resources.user_path import user_path

DISTRIBUTION = "odins-ravne"
SUPPORTED_PYTHONS = ((3, 11), (3, 14))
NATIVE_MODULES = ("av", "numpy", "onnxruntime", "PIL", "polars", "matplotlib", "pydantic_core")
IMPORT_TIMEOUT_SECONDS = 120
# Codecs of camera traps: H.264, H.265 and Motion JPEG.
CODECS = ("h264", "hevc", "mjpeg")
UI_PORT = 3000
GIB = 2**30
MIN_FREE_DISK, MIN_FREE_MEMORY = 5 * GIB, 2 * GIB

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Args:
        level: a problem makes the command fail; a warning does not.
        text: what was found, and what to do about it.
    """

    level: Level
    subject: str
    text: str


def run_in_process(code: str) -> tuple[bool, str]:
    """Run Python code in a process; return True and its output, or False and its last error."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=IMPORT_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return False, f"no answer within {IMPORT_TIMEOUT_SECONDS} s"
    if done.returncode < 0:
        return False, f"ended by signal {-done.returncode}"
    if done.returncode:
        return False, (done.stderr.strip().splitlines() or ["failed"])[-1]
    return True, done.stdout.strip()


def check_python() -> Iterator[Finding]:
    """Check the version of Python."""
    running = ".".join(map(str, sys.version_info[:3]))
    oldest, newest = (".".join(map(str, each)) for each in SUPPORTED_PYTHONS)
    if SUPPORTED_PYTHONS[0] <= sys.version_info[:2] <= SUPPORTED_PYTHONS[1]:
        yield Finding("ok", "Python", f"{running} at {sys.executable}")
    else:
        yield Finding(
            "problem", "Python", f"{running} is not supported; install Python {oldest} to {newest}"
        )


def _requirement_names() -> Iterator[tuple[str, str]]:
    """Yield name and pinned version of each direct dependency, without extras."""
    for line in requires(DISTRIBUTION) or ():
        pin, _, marker = line.partition(";")
        name, _, wanted = pin.strip().partition("==")
        if "extra" not in marker:
            yield name.partition("[")[0].strip(), wanted.strip()


def _installed_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def check_packages() -> Iterator[Finding]:
    """Check that every dependency is installed in the pinned version."""
    try:
        wanted = dict(_requirement_names())
    except PackageNotFoundError:
        yield Finding("problem", "packages", f"{DISTRIBUTION} is not installed; pip install .")
        return
    opencv = wanted.pop("opencv-python", "")
    found = {name: _installed_version(name) for name in wanted}
    wrong = [f"{name}=={pin}" for name, pin in wanted.items() if pin and found[name] != pin]
    if wrong:
        command = f"{sys.executable} -m pip install {' '.join(wrong)}"
        yield Finding("problem", "packages", f"missing or of another version; run: {command}")
    else:
        yield Finding("ok", "packages", f"{len(wanted) + bool(opencv)} in their pinned versions")


def check_imports() -> Iterator[Finding]:
    """Check that each native module can be imported."""
    broken = []
    for module in NATIVE_MODULES:
        works, said = run_in_process(f"import {module}")
        if not works:
            broken.append(module)
            yield Finding("problem", module, f"cannot be imported: {said}; reinstall it with pip")
    if not broken:
        yield Finding("ok", "imports", ", ".join(NATIVE_MODULES))


def check_opencv() -> Iterator[Finding]:
    """Check that OpenCV can be imported, and name its form."""
    forms = {name: _installed_version(name) for name in ("opencv-python", "opencv-python-headless")}
    installed = [f"{name} {found}" for name, found in forms.items() if found]
    works, said = run_in_process("import cv2; print(cv2.__version__)")
    if works:
        yield Finding("ok", "OpenCV", ", ".join(installed) or said)
    else:
        yield Finding("problem", "OpenCV", f"{said}; {opencv_repair(said, forms)}")


def opencv_repair(error: str, forms: dict[str, str | None]) -> str:
    """Return how to repair an OpenCV that cannot be imported.

    Args:
        error: of the import.
        forms: version of each installed form of OpenCV.
    """
    pinned = forms["opencv-python"] or dict(_requirement_names()).get("opencv-python", "")
    pip = f"{sys.executable} -m pip"
    if ".so" in error:  # a library of a desktop, which servers lack
        return (
            "this machine has no display libraries, install the form without windows: "
            f"{pip} uninstall --yes opencv-python && "
            f"{pip} install --no-deps opencv-python-headless=={pinned}"
        )
    return f"reinstall it: {pip} install --force-reinstall --no-deps opencv-python=={pinned}"


def check_ffmpeg() -> Iterator[Finding]:
    """Check that FFmpeg, which comes with PyAV, decodes the codecs of camera traps."""
    code = (
        "import json, av\n"
        "def has(name):\n"
        "    try: return bool(av.codec.Codec(name, 'r'))\n"
        "    except Exception: return False\n"
        f"print(json.dumps([av.ffmpeg_version_info, [n for n in {CODECS!r} if not has(n)]]))"
    )
    works, said = run_in_process(code)
    if not works:
        yield Finding("problem", "FFmpeg", f"{said}; reinstall av with pip")
        return
    number, missing = json.loads(said)
    if missing:
        yield Finding(
            "problem", "FFmpeg", f"{number} cannot decode {', '.join(missing)}; reinstall av"
        )
    else:
        yield Finding("ok", "FFmpeg", f"{number}, decodes {', '.join(CODECS)}")


def check_profile(name: str) -> Iterator[Finding]:
    """Check that the profile loads, its models are complete, and its cloud has credentials."""
    from odins_ravne_assets.model_library.used_models import used_models
    from resources.errors import RavneError
    from resources.settings.loader import load_profile

    try:
        profile = load_profile(name)
    except RavneError as error:
        yield Finding("problem", "profile", str(error))
        return
    yield Finding("ok", "profile", name)
    named = used_models(profile.models).values()
    names = [each for each in named if not each.endswith(".json")]
    yield from check_models(names, profile.models.folder)
    yield from check_disk("results", user_path(profile.output.root))
    if profile.cloud is not None:
        yield from check_credentials(name)


def check_models(names: Sequence[str], folder: str | None = None) -> Iterator[Finding]:
    """Check every file of models against the hash in its manifest; of ensembles, every model."""
    from gpu_kernels.models.ensemble import load_all_manifests
    from gpu_kernels.models.manifest import verify
    from resources.errors import RavneError

    for name in names:
        try:
            for manifest in load_all_manifests(name, folder):
                verify(manifest)
        except RavneError as error:
            yield Finding("problem", "models", str(error))
            return
    yield Finding("ok", "models", f"{', '.join(names)}: hashes match")


def check_credentials(name: str) -> Iterator[Finding]:
    """Check that the credentials of a cloud profile can be found, and its sandbox is running."""
    from odins_ravne_assets.cli.cloud_profile import load_cloud_profile
    from resources.aws.clients import AwsClients
    from resources.errors import RavneError

    try:
        found = AwsClients(load_cloud_profile(name, "doctor").aws).credentials_found
    except RavneError as error:
        yield Finding("problem", "AWS", str(error))
        return
    if found:
        yield Finding("ok", "AWS", "credentials found (not tried: munin cost status uses them)")
    else:
        yield Finding(
            "problem", "AWS", "no credentials; run aws configure, or set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        )  # fmt: skip


def check_disk(subject: str, folder: Path) -> Iterator[Finding]:
    """Check the free space of the file system that holds, or will hold, a folder."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    text = f"{free / GIB:.1f} GiB free in {folder}"
    if free < MIN_FREE_DISK:
        yield Finding("warning", subject, f"{text}; delete files, or name a folder elsewhere")
    else:
        yield Finding("ok", subject, text)


def check_memory() -> Iterator[Finding]:
    """Check the available memory."""
    import psutil

    memory = psutil.virtual_memory()
    text = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB available"
    if memory.available < MIN_FREE_MEMORY:
        yield Finding("warning", "memory", f"{text}; close other programs: a run needs about 1 GiB")
    else:
        yield Finding("ok", "memory", text)


def check_gpu() -> Iterator[Finding]:
    """Check the GPU and its driver; none is fine."""
    from gpu_kernels.device.gpu import find_gpu, usable_gpu
    from resources.errors import RavneError

    gpu = find_gpu()
    if gpu is None:
        yield Finding("ok", "GPU", "none found; models run on the CPU")
        return
    try:
        usable_gpu()
    except RavneError as error:
        yield Finding("warning", "GPU", str(error))
    else:
        yield Finding("ok", "GPU", f"{gpu.name}, CUDA {gpu.cuda_version}")


def check_home() -> Iterator[Finding]:
    """Check that the Dagster instance of this machine can be opened and written."""
    from odins_ravne_assets.instance_home import home, prepare_home
    from resources.errors import RavneError

    try:
        with tempfile.TemporaryFile(dir=prepare_home()):
            pass
    except (RavneError, OSError) as error:
        yield Finding("problem", "DAGSTER_HOME", str(error))
        return
    yield Finding("ok", "DAGSTER_HOME", f"{home()} is writable")
    yield from check_disk("temporary", Path(tempfile.gettempdir()))


def check_port() -> Iterator[Finding]:
    """Check that the port of the Dagster UI is free."""
    with socket.socket() as tried:
        if os.name == "posix":  # as web servers do: a port in TIME_WAIT is free
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", UI_PORT))
        except OSError:
            yield Finding(
                "warning", "port", f"{UI_PORT} is in use; start the UI with munin ui --port NUMBER"
            )
            return
    yield Finding("ok", "port", f"{UI_PORT} is free for munin ui")


def examine(profile: str) -> Iterator[Finding]:
    """Run all checks; one that cannot run is a problem, and the others go on."""
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("Python", check_python),
        ("packages", check_packages),
        ("imports", check_imports),
        ("OpenCV", check_opencv),
        ("FFmpeg", check_ffmpeg),
        ("profile", lambda: check_profile(profile)),
        ("memory", check_memory),
        ("GPU", check_gpu),
        ("DAGSTER_HOME", check_home),
        ("port", check_port),
    ]
    for subject, check in checks:
        try:
            yield from check()
        except ImportError as error:
            yield Finding("problem", subject, f"cannot be checked: {error}; see the lines above")


def print_findings(profile: str) -> int:
    """Print a line for each finding.

    Returns:
        The exit code: 1 if there is a problem, otherwise 0.
    """
    failed = False
    for finding in examine(profile):
        failed = failed or finding.level == "problem"
        line = f"{finding.level:<9}{finding.subject:<14}{finding.text}"
        print(printable(line, lines=True), flush=True)
    return 1 if failed else 0


def main(arguments: Sequence[str]) -> int:
    """Run the command where the command line itself cannot be imported."""
    parser = argparse.ArgumentParser(prog="munin")
    parser.add_argument("--profile", default=os.environ.get("MUNIN_PROFILE", "local"))
    parser.add_argument("command", choices=["doctor"])
    return print_findings(parser.parse_args(arguments).profile)
