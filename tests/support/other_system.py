"""A rehearsal of systems other than Linux, imported by `sitecustomize` in every process.

Hidden from all code: system calls and C functions that only Linux has. Hidden from the project's
own code, which is not to depend on them: modules of Unix, and the folders /proc, /sys and /dev/shm.
Libraries may use these where they have another way on other systems, as psutil does.
"""

import builtins
import ctypes
import io
import os
import platform
import select
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

PACKAGES = ("odins_ravne_assets", "resources", "gpu_kernels", "profiles")
HIDDEN_MODULES = frozenset({"fcntl", "resource", "termios", "tty", "pwd", "grp"})
HIDDEN_FOLDERS = ("/proc", "/sys", "/dev/shm")
LINUX_C_FUNCTIONS = frozenset({"prctl", "malloc_trim"})
LINUX_CALLS = {
    os: [
        "memfd_create",
        "sched_getaffinity",
        "sched_setaffinity",
        "pidfd_open",
        "eventfd",
        "copy_file_range",
        "splice",
        "posix_fadvise",
        "posix_fallocate",
    ],
    select: ["epoll"],
}
# Modules through which a file is opened; the caller is the next one.
FILE_MODULES = frozenset(
    {"pathlib", "pathlib._local", "pathlib._abc", "os", "io", "posixpath", "genericpath", "shutil"}
    | {"tempfile", "contextlib", "glob", "codecs", __name__}
)
# The environment variable that names a file, to which each imported module of ours is appended.
LOG_VARIABLE = "REHEARSAL_LOG"


def module_of(frame: FrameType) -> str:
    """Return the name of a frame's module, also if it was started with `python -m`."""
    spec = frame.f_globals.get("__spec__")
    return str(spec.name if spec else frame.f_globals.get("__name__"))


def is_called_by_us() -> bool:
    """Return True if the function that calls this one was called by the project's code."""
    frame: FrameType | None = sys._getframe(2)
    while frame and module_of(frame) in FILE_MODULES:
        frame = frame.f_back
    return frame is not None and module_of(frame).partition(".")[0] in PACKAGES


def hide_folders(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function of a path, as if HIDDEN_FOLDERS did not exist."""

    def call(path: Any = ".", *args: Any, **more: Any) -> Any:
        text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        if text.startswith(HIDDEN_FOLDERS) and is_called_by_us():
            raise FileNotFoundError(2, "No such file or directory", text)
        return function(path, *args, **more)

    return call


def hide_modules(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `__import__`, as if HIDDEN_MODULES did not exist."""

    def call(name: str, *args: Any, **more: Any) -> Any:
        if name in HIDDEN_MODULES and is_called_by_us():
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return function(name, *args, **more)

    return call


class Library(ctypes.CDLL):
    """A C library without LINUX_C_FUNCTIONS."""

    def __getattr__(self, name: str) -> Any:
        if name in LINUX_C_FUNCTIONS:
            raise AttributeError(f"{name}: symbol not found")
        return super().__getattr__(name)


class ImportLog:
    """A finder that finds nothing, and logs the modules of ours that are searched for."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in PACKAGES:
            with open(os.environ[LOG_VARIABLE], "a", encoding="utf-8") as log:  # noqa: PTH123
                log.write(f"{name}\n")


def hide() -> None:
    """Make this process one of another system."""
    for module, names in LINUX_CALLS.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    if hasattr(os, "process_cpu_count"):
        os.process_cpu_count = os.cpu_count  # as on macOS; Linux's calls sched_getaffinity
    for name in ("open", "stat", "lstat", "listdir", "scandir", "readlink", "access"):
        setattr(os, name, hide_folders(getattr(os, name)))
    builtins.open = io.open = hide_folders(builtins.open)  # type: ignore[assignment]
    builtins.__import__ = hide_modules(builtins.__import__)
    ctypes.CDLL = Library  # type: ignore[misc]
    machine = platform.machine
    platform.machine = lambda: "arm64" if is_called_by_us() else machine()
    if LOG_VARIABLE in os.environ:
        sys.meta_path.insert(0, ImportLog())  # type: ignore[arg-type]
