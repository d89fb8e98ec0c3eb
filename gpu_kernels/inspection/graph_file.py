"""Read a graph from an ONNX file of unknown origin: its inputs, outputs and metadata, and run it.

Only onnxruntime reads the file. It refuses weights in files outside the graph's folder.
"""

import ast
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Timer
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.engines.graph_io import GraphInput
from gpu_kernels.engines.onnxruntime_engine import (
    first_line,
    graph_input,
    onnxruntime_errors,
    open_session,
)
from gpu_kernels.models.file_kind import other_kind
from resources.errors import ModelError

# A protocol buffer, and so an ONNX file, has at most 2 GiB.
MAX_FILE_BYTES = 2**31 - 1
# A loop in a graph can take forever.
MAX_SECONDS = 300.0
MAX_METADATA_CHARACTERS = 65_536
MAX_CLASSES = 100_000


class GraphOutput(NamedTuple):
    """An output of one run, as the graph returns it.

    Attributes:
        rows_vary: the graph does not declare its first size, as for a varying number of boxes.
    """

    name: str
    values: NDArray[Any]
    rows_vary: bool = True


@dataclass(frozen=True)
class GraphFile:
    """A graph that onnxruntime has loaded."""

    path: Path
    session: Any
    inputs: tuple[GraphInput, ...]
    outputs: tuple[GraphInput, ...]
    metadata: dict[str, str]
    max_seconds: float = MAX_SECONDS

    @classmethod
    def read(cls, path: Path, threads: int = 1) -> "GraphFile":
        """Load a graph.

        Raises:
            ModelError: it is no file, too large, or onnxruntime cannot load it.
        """
        try:
            size = path.stat().st_size
        except OSError as error:
            raise ModelError(f"model {path}: cannot be read: {error.strerror or error}") from None
        if not path.is_file():
            raise ModelError(f"model {path}: is not a file; name an ONNX file")
        if size > MAX_FILE_BYTES:
            raise ModelError(
                f"model {path}: has {size:,} bytes; an ONNX file has at most 2 GiB, so this is none"
            )
        if (kind := other_kind(path)) is not None:
            raise ModelError(f"model {path}: {kind}")
        session = open_session(path, threads)
        return cls(
            path,
            session,
            tuple(graph_input(each) for each in session.get_inputs()),
            tuple(graph_input(each) for each in session.get_outputs()),
            dict(session.get_modelmeta().custom_metadata_map),
        )

    def run(self, feeds: dict[str, NDArray[Any]]) -> list[GraphOutput]:
        """Run the graph; return its outputs that are tensors of numbers.

        Raises:
            ModelError: onnxruntime cannot run it, or not within `max_seconds`.
        """
        import onnxruntime

        options = onnxruntime.RunOptions()
        options.log_severity_level = 4  # fatal ones only: the error is raised
        expired = Event()

        def stop() -> None:
            expired.set()
            options.terminate = True

        timer = Timer(self.max_seconds, stop)
        timer.daemon = True
        timer.start()
        try:
            values = self.session.run(None, feeds, options)
        except onnxruntime_errors() as error:
            reason = f"onnxruntime cannot run it: {first_line(error)}"
            if expired.is_set():
                reason = f"takes more than {self.max_seconds:g} s for a picture"
            raise ModelError(f"model {self.path}: {reason}") from None
        finally:
            timer.cancel()
        return [
            GraphOutput(declared.name, value, declared.shape[:1] in ((), (None,)))
            for declared, value in zip(self.outputs, values, strict=True)
            if isinstance(value, np.ndarray) and value.dtype.kind in "fiu"
        ]

    def literal(self, key: str) -> Any:
        """Return a metadata entry that is a Python literal, as Ultralytics writes `names` and
        `imgsz`; None if there is none, or it is not one."""
        text = self.metadata.get(key, "")
        if not text or len(text) > MAX_METADATA_CHARACTERS:
            return None
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return None

    def class_names(self) -> list[str] | None:
        """Return the names of the classes by the metadata entry `names`, a list or a dictionary
        by number; None if there is none."""
        names = self.literal("names")
        if isinstance(names, dict):
            if set(names) != set(range(len(names))):
                return None
            names = [names[number] for number in range(len(names))]
        if not isinstance(names, list) or not 0 < len(names) <= MAX_CLASSES:
            return None
        return [printable(str(name)) or "unnamed" for name in names]

    def text(self, key: str) -> str:
        """Return a metadata entry as one printable line; empty if there is none."""
        return printable(self.metadata.get(key, ""))


def printable(text: str, length: int = 200) -> str:
    """Return text in one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[:length]).split())
