"""Run a model with ONNX Runtime on the CPU."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.engines.graph_io import (
    GraphInput,
    height_and_width,
    input_sizes,
    match_inputs,
    match_outputs,
)
from gpu_kernels.models.file_kind import not_loadable
from gpu_kernels.models.manifest import ModelManifest
from resources.errors import ModelError

# In errors of onnxruntime for a file that is cut off, or is no ONNX file.
NOT_PARSED = ("INVALID_PROTOBUF", "No graph was found in the protobuf")


class OnnxRuntimeEngine:
    """An `Engine` that runs onnxruntime on the CPU.

    Pictures are processed one at a time, unless the graph's batch is fixed. On a CPU a batch is not
    faster (MegadetectorLite on 2 threads: 44 ms per picture in batches of 8, 41 ms one at a time)
    and needs more memory (770 MB against 235 MB). Also, the result of a picture does not depend on
    the rest of its batch.
    """

    device: str | None = None

    def __init__(self, manifest: ModelManifest, threads: int) -> None:
        import onnxruntime

        self._session = open_session(manifest.path, threads)
        self._manifest = manifest
        self._inputs = match_inputs(manifest, [graph_input(e) for e in self._session.get_inputs()])
        names = [each.name for each in self._session.get_outputs()]
        self._outputs = match_outputs(manifest, names)
        self.fixed_batch = self._inputs.batch or 1
        plural = "" if threads == 1 else "s"
        self.description = f"onnxruntime {onnxruntime.__version__}, {threads} thread{plural}"

    def run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """See Engine."""
        size = self.fixed_batch
        batches = [self._run_batch(images[at : at + size]) for at in range(0, len(images), size)]
        return [self._joined(each) for each in zip(*batches, strict=True)]

    def _joined(self, outputs: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Return an output of several runs as one array."""
        shapes = [each.shape[1:] for each in outputs]
        if len(set(shapes)) > 1:
            other = next(each for each in shapes if each != shapes[0])
            raise ModelError(
                f"model {self._manifest.path}: its outputs differ in shape between pictures, "
                f"{shapes[0]} and {other}; run at most {self.fixed_batch} at once"
            )
        return np.concatenate(outputs)

    def _run_batch(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """Run the graph once, on at most `fixed_batch` pictures."""
        count = len(images)
        if count < self.fixed_batch:
            padding = np.zeros((self.fixed_batch - count, *images.shape[1:]), images.dtype)
            images = np.concatenate([images, padding])
        feeds = {self._inputs.pictures.name: images if self._inputs.batched else images[0]}
        if self._inputs.sizes is not None:
            sizes = input_sizes(
                len(images), height_and_width(images, self._manifest), self._manifest
            )
            feeds[self._inputs.sizes.name] = sizes.astype(self._inputs.sizes.type)
        try:
            outputs = self._session.run(self._outputs, feeds)
        except onnxruntime_errors() as error:
            raise ModelError(
                f"model {self._manifest.path}: onnxruntime cannot run it: {first_line(error)}"
            ) from None
        ranks = self._manifest.output.output_ranks
        return [
            self._batched(each, rank)[:count] for each, rank in zip(outputs, ranks, strict=True)
        ]

    def _batched(self, output: Any, rank: int) -> NDArray[Any]:
        """Return an output with a batch, which graphs for one picture may leave out."""
        if not isinstance(output, np.ndarray) or output.dtype.kind not in "fiu":
            raise ModelError(
                f"model {self._manifest.path}: its outputs are not all tensors of numbers"
            )
        if self.fixed_batch == 1 and output.ndim == rank - 1:
            return output[np.newaxis]
        return output


def open_session(path: Path, threads: int, content: bytes = b"") -> Any:
    """Load a graph; weights in further files must be in its folder, which onnxruntime checks.

    Args:
        threads: 0: one per core.
        content: of the graph, if it is not the file's.

    Raises:
        ModelError: onnxruntime cannot load it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only; a warning per initializer is noise
    # Spinning threads take the cores that decode the next pictures: with a decoding process in
    # parallel, on 2 cores, 17.6 pictures a second without spinning, 9.8 with it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(
            content or str(path), options, providers=["CPUExecutionProvider"]
        )
    except onnxruntime_errors() as error:
        reason = f"onnxruntime cannot load it: {first_line(error)}"
        if not content and any(each in reason for each in NOT_PARSED):
            reason = not_loadable(path)
        raise ModelError(f"model {path}: {reason}") from None


def onnxruntime_errors() -> tuple[type[Exception], ...]:
    """Return what onnxruntime raises for a graph that it cannot load or run."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NoModel,
        state.NotImplemented,
        state.RuntimeException,
    )


def first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def graph_input(value: Any) -> GraphInput:
    """Convert an input of onnxruntime; a free size is a name, or None."""
    kind = value.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return GraphInput(value.name, {"float": "float32"}.get(kind, kind), shape)
