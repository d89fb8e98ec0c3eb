"""Run a model with ONNX Runtime on the CPU."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.models.manifest import ModelManifest
from resources.errors import ModelError


class OnnxRuntimeEngine:
    """An `Engine` that runs onnxruntime on the CPU.

    Pictures are processed one at a time. On a CPU a batch is not faster (MegadetectorLite on 2
    threads: 44 ms per picture in batches of 8, 41 ms one at a time) and needs more memory (770 MB
    against 235 MB). Also, the result of a picture does not depend on the rest of its batch, and
    models exported with a fixed batch of 1 work.
    """

    device: str | None = None

    def __init__(self, manifest: ModelManifest, threads: int) -> None:
        import onnxruntime

        self._session = _open_session(manifest.path, threads)
        _check_input(manifest, self._session.get_inputs())
        self._input = self._session.get_inputs()[0].name
        plural = "" if threads == 1 else "s"
        self.description = f"onnxruntime {onnxruntime.__version__}, {threads} thread{plural}"

    def run(self, images: NDArray[np.float32]) -> list[NDArray[Any]]:
        """See Engine."""
        outputs = [self._session.run(None, {self._input: image[np.newaxis]}) for image in images]
        return [np.concatenate(output) for output in zip(*outputs, strict=True)]


def _open_session(path: Path, threads: int) -> Any:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only; a warning per initializer is noise
    # Spinning threads take the cores that decode the next pictures: with a decoding process in
    # parallel, on 2 cores, 17.6 pictures a second without spinning, 9.8 with it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NoModel,
        state.NotImplemented,
        state.RuntimeException,
    ) as error:
        first_line = str(error).splitlines()[0]
        raise ModelError(f"model {path}: onnxruntime cannot load it: {first_line}") from None


def _check_input(manifest: ModelManifest, inputs: list[Any]) -> None:
    size = (manifest.input.height, manifest.input.width)
    expected = (3, *size) if manifest.input.layout == "nchw" else (*size, 3)
    shape = list(inputs[0].shape)
    # A dynamic dimension is a name, or None.
    matches = (
        len(inputs) == 1
        and inputs[0].type == "tensor(float)"
        and len(shape) == 4
        and all(
            not isinstance(have, int) or have == want
            for have, want in zip(shape[1:], expected, strict=True)
        )
    )
    if not matches:
        raise ModelError(
            f"model {manifest.path}: its input is {shape} of {inputs[0].type}, the manifest says "
            f"one float32 input [N, {', '.join(map(str, expected))}]; correct the manifest or "
            "export the model again"
        )
    if isinstance(shape[0], int) and shape[0] != 1:
        raise ModelError(
            f"model {manifest.path}: has a fixed batch of {shape[0]} pictures; export it with a "
            "dynamic batch, or with a batch of 1"
        )
