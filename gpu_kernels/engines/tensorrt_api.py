"""TensorRT 10.12 and newer, 11, and TensorRT-RTX: one API, with what little differs named here.

Networks are always strongly typed: the flag that asks for it is needed before 11 and ignored
since. Nothing that 11 removed is used (precision flags, calibrators, `device_memory_size`).
"""

import importlib
import re
from dataclasses import dataclass
from typing import Any

from resources.errors import EngineError

# By preference. The last is TensorRT-RTX as its wheels for Python bring it.
TENSORRT_MODULES = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")
MIN_VERSION = (10, 12)
# What went wrong last is told to the user; so many lines are kept.
MAX_LOG_LINES = 20

# A GPU architecture: its compute capability.
ARCH_PATTERN = re.compile(r"sm_(\d{2,3})")


@dataclass(frozen=True)
class TensorRt:
    """An installed TensorRT."""

    api: Any  # its module
    rtx: bool  # compiles for GPUs that are not there

    @property
    def version(self) -> str:
        """Kind and version, as "tensorrt-rtx 1.7.1.116"; engines of one are of no use to others."""
        return f"tensorrt{'-rtx' if self.rtx else ''} {self.api.__version__}"

    def log(self) -> Any:
        """A logger that prints nothing and keeps the last errors, as `lines`."""
        return _logger_class(self.api)()

    def compute_capability(self, arch: str) -> Any:
        """TensorRT-RTX's name of an architecture such as sm_75.

        Raises:
            EngineError: it has none.
        """
        known = self.api.ComputeCapability.__members__
        number = ARCH_PATTERN.fullmatch(arch)
        name = f"SM{number[1]}" if number else ""
        if name not in known:
            names = ", ".join(f"sm_{each[2:]}" for each in known if each.startswith("SM"))
            raise EngineError(f"GPUs {arch} are not known to {self.version}, which knows {names}")
        return known[name]


def _logger_class(api: Any) -> type:
    class Log(api.ILogger):  # type: ignore[misc]
        """Keeps what TensorRT says went wrong."""

        def __init__(self) -> None:
            api.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (api.ILogger.ERROR, api.ILogger.INTERNAL_ERROR):
                self.lines = [*self.lines, " ".join(message.split())][-MAX_LOG_LINES:]

    return Log


def find_tensorrt() -> TensorRt:
    """The installed TensorRT; the full one before TensorRT-RTX.

    Raises:
        EngineError: none is installed, or it is too old.
    """
    for name in TENSORRT_MODULES:
        try:
            api = importlib.import_module(name)
        except ImportError:
            continue
        found = TensorRt(api, rtx=hasattr(api, "ComputeCapability"))
        number = tuple(int(part) for part in api.__version__.split(".")[:2])
        if not found.rtx and number < MIN_VERSION:
            raise EngineError(
                f"{found.version} is too old; install TensorRT {MIN_VERSION[0]}.{MIN_VERSION[1]} or newer"
            )
        return found
    raise EngineError(
        "TensorRT is not installed; pip install 'odins-ravne[gpu]', or set "
        "pipeline.stage1.engine: onnxruntime to run on the CPU"
    )
