"""Find the installed TensorRT (10.12 or newer, or 11) and TensorRT-RTX, which share one API.

Networks are always strongly typed: the flag is required before 11 and ignored since. The code uses
nothing that 11 removed (precision flags, calibrators, `device_memory_size`).
"""

import importlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from resources.errors import EngineError

# tensorrt: the full one, for every NVIDIA GPU. tensorrt-rtx: documented for GeForce and RTX boards.
TensorRtKind = Literal["tensorrt", "tensorrt-rtx"]
# By preference, with the names of its modules: of NVIDIA's metapackage, of the wheel of bindings.
# Both kinds can be loaded by one process, as long as neither's libraries are made global
# (RTLD_GLOBAL): they export the same symbols.
TENSORRT_MODULES: Mapping[TensorRtKind, tuple[str, ...]] = {
    "tensorrt": ("tensorrt", "tensorrt_bindings"),
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
MIN_VERSION = (10, 12)
# Error lines that the logger retains.
MAX_LOG_LINES = 20

# A GPU architecture: its compute capability.
ARCH_PATTERN = re.compile(r"sm_(\d{2,3})")


class NotInstalledError(EngineError):
    """A kind of TensorRT is not installed."""


@dataclass(frozen=True)
class TensorRt:
    """An installed TensorRT."""

    api: Any  # its module
    rtx: bool  # TensorRT-RTX, which builds for GPUs of other machines

    @property
    def kind(self) -> TensorRtKind:
        return "tensorrt-rtx" if self.rtx else "tensorrt"

    @property
    def version(self) -> str:
        """Kind and version, as "tensorrt-rtx 1.7.1.116"; others cannot load its engines."""
        return f"{self.kind} {self.api.__version__}"

    def error_logger(self) -> Any:
        """Return a logger that prints nothing and retains the last errors, as `lines`."""
        return _logger_class(self.api)()

    def compute_capability(self, arch: str) -> Any:
        """Return TensorRT-RTX's enum member of an architecture such as sm_75.

        Raises:
            EngineError: it does not support the architecture.
        """
        known = self.api.ComputeCapability.__members__
        number = ARCH_PATTERN.fullmatch(arch)
        name = f"SM{number[1]}" if number else ""
        if name not in known:
            names = ", ".join(f"sm_{each[2:]}" for each in known if each.startswith("SM"))
            raise EngineError(f"{self.version} does not support GPUs {arch}; it supports {names}")
        return known[name]


def _logger_class(api: Any) -> type:
    class ErrorLogger(api.ILogger):  # type: ignore[misc]
        """Retains TensorRT's error messages."""

        def __init__(self) -> None:
            api.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (api.ILogger.ERROR, api.ILogger.INTERNAL_ERROR):
                self.lines = [*self.lines, " ".join(message.split())][-MAX_LOG_LINES:]

    return ErrorLogger


def find_tensorrt(kind: TensorRtKind) -> TensorRt:
    """Return the installed TensorRT of a kind.

    Raises:
        NotInstalledError: it is not installed.
        EngineError: it is too old.
    """
    for name in TENSORRT_MODULES[kind]:
        try:
            api = importlib.import_module(name)
        except ImportError:
            continue
        found = TensorRt(api, rtx=hasattr(api, "ComputeCapability"))
        if found.kind != kind:
            continue
        version = tuple(int(part) for part in api.__version__.split(".")[:2])
        if not found.rtx and version < MIN_VERSION:
            required = ".".join(map(str, MIN_VERSION))
            raise EngineError(f"{found.version} is too old; install TensorRT {required} or newer")
        return found
    raise NotInstalledError(
        f"{kind} is not installed; pip install 'odins-ravne[gpu]' (tensorrt-rtx) or the packages "
        "that docs/gpu.md names (tensorrt), or set pipeline.stage1.engine: onnxruntime to run on "
        "the CPU"
    )


def installed_tensorrts() -> list[TensorRt]:
    """Return the kinds of TensorRT that are installed and new enough, by preference.

    Raises:
        EngineError: there is none.
    """
    found: list[TensorRt] = []
    errors: list[EngineError] = []
    for kind in TENSORRT_MODULES:
        try:
            found.append(find_tensorrt(kind))
        except EngineError as error:
            errors.append(error)
    if not found:
        too_old = [each for each in errors if not isinstance(each, NotInstalledError)]
        raise (too_old or errors)[-1]
    return found


def main() -> None:
    """Print the version of an installed kind; exit with 1 if it cannot be loaded."""
    try:
        print(find_tensorrt(cast(TensorRtKind, sys.argv[1])).version)
    except EngineError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
