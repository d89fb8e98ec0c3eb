"""Compare a graph's inputs and outputs with a manifest, for any engine."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.models.manifest import ModelManifest
from resources.errors import ModelError

# Pictures of a graph with a fixed batch; more are no export, but would fill the memory.
MAX_BATCH = 256
SIZES_TYPES = ("int64", "int32", "float32", "float16")


class GraphInput(NamedTuple):
    """An input of a graph."""

    name: str
    type: str  # as float32, int64
    shape: tuple[int | None, ...]  # None: free

    def __str__(self) -> str:
        sizes = ", ".join("free" if size is None else str(size) for size in self.shape)
        return f"{self.name} [{sizes}] of {self.type}"


class MatchedInputs(NamedTuple):
    """The inputs that the manifest uses.

    Attributes:
        pictures: receives the pictures.
        sizes: receives the size of the model's input, [N, 2]; None: there is none.
        batched: False if the input is one picture, without a batch.
        batch: the number of pictures; None: free.
    """

    pictures: GraphInput
    sizes: GraphInput | None
    batched: bool
    batch: int | None


def match_inputs(manifest: ModelManifest, inputs: Sequence[GraphInput]) -> MatchedInputs:
    """Find the inputs that the manifest names, and check their types and shapes.

    Raises:
        ModelError: they do not match the manifest, or the graph needs further ones.
    """
    spec = manifest.input
    if spec.name is None and len(inputs) != 1:
        raise _input_error(
            manifest,
            inputs,
            "set input.name to the one for pictures, and input.sizes_input to the one for their "
            "size",
        )
    pictures = inputs[0] if spec.name is None else _named(manifest, inputs, "name", spec.name)
    used = {pictures.name}
    sizes = None
    if spec.sizes_input is not None:
        sizes = _named(manifest, inputs, "sizes_input", spec.sizes_input)
        used.add(sizes.name)
        if (
            sizes.type not in SIZES_TYPES
            or len(sizes.shape) != 2
            or sizes.shape[1] not in (2, None)
        ):
            raise ModelError(
                f"model {manifest.path}: its input {sizes} cannot receive sizes [N, 2]; correct "
                "input.sizes_input"
            )
    if further := [each.name for each in inputs if each.name not in used]:
        raise _input_error(
            manifest,
            inputs,
            f"nothing feeds {', '.join(further)}; export the model with pictures as its only "
            "input, or set input.sizes_input if it receives their size",
        )
    _check_pictures(manifest, pictures)
    batched = len(pictures.shape) == 4
    batch = pictures.shape[0] if batched else 1
    if batch is not None and batch > MAX_BATCH:
        raise ModelError(
            f"model {manifest.path}: takes {batch} pictures at once, at most {MAX_BATCH} can be; "
            "export it with a free batch"
        )
    return MatchedInputs(pictures, sizes, batched, batch)


def _named(
    manifest: ModelManifest, inputs: Sequence[GraphInput], key: str, name: str
) -> GraphInput:
    for each in inputs:
        if each.name == name:
            return each
    raise _input_error(manifest, inputs, f"correct input.{key}, which is {name}")


def _input_error(manifest: ModelManifest, inputs: Sequence[GraphInput], remedy: str) -> ModelError:
    listed = ", ".join(map(str, inputs)) or "none"
    return ModelError(f"model {manifest.path}: its inputs are {listed}; {remedy}")


def _check_pictures(manifest: ModelManifest, pictures: GraphInput) -> None:
    spec = manifest.input
    size: tuple[int | None, ...] = spec.fixed_size or (None, None)
    expected = (3, *size) if spec.layout == "nchw" else (*size, 3)
    matches = (
        pictures.type == spec.dtype
        and len(pictures.shape) in (3, 4)
        and all(
            have is None or want is None or have == want
            for have, want in zip(pictures.shape[-3:], expected, strict=True)
        )
    )
    if not matches:
        wanted = ", ".join("free" if each is None else str(each) for each in expected)
        raise ModelError(
            f"model {manifest.path}: its input is {pictures}, the manifest says one {spec.dtype} "
            f"input [N, {wanted}]; correct [input] of the manifest, or export the model again"
        )
    if spec.fixed_size is None and None not in pictures.shape[-len(expected) :]:
        raise ModelError(
            f"model {manifest.path}: its input is {pictures}, of a fixed size; set height and "
            "width instead of long_side and stride"
        )


def input_sizes(count: int, size: tuple[int, int], manifest: ModelManifest) -> NDArray[np.int64]:
    """Return what `input.sizes_input` receives: the size of the model's input, for each picture.

    Args:
        count: of the pictures.
        size: height and width of the input.

    Returns:
        [count, 2] in the manifest's order.
    """
    height, width = size
    order = (width, height) if manifest.input.sizes_order == "wh" else (height, width)
    return np.array([order] * count, dtype=np.int64)


def height_and_width(images: NDArray[Any], manifest: ModelManifest) -> tuple[int, int]:
    """Return the size of pictures in the layout of a model's input."""
    rows, columns = (2, 3) if manifest.input.layout == "nchw" else (1, 2)
    return images.shape[rows], images.shape[columns]


def match_outputs(manifest: ModelManifest, names: Sequence[str]) -> list[str]:
    """Return the names of the outputs that the decoding needs, in its order.

    Args:
        names: of all outputs, in the graph's order.

    Raises:
        ModelError: the graph has not these outputs.
    """
    wanted = manifest.output.outputs
    count = len(manifest.output.output_ranks)
    if missing := [each for each in wanted if each not in names]:
        raise ModelError(
            f"model {manifest.path}: has no output {', '.join(missing)}, its outputs are "
            f"{', '.join(names)}; correct output.outputs"
        )
    if len(names) < count:
        raise ModelError(
            f"model {manifest.path}: has {len(names)} output(s), {', '.join(names)}, but "
            f"{manifest.output.decoding} needs {count}; correct output.decoding"
        )
    return list(wanted) or list(names[:count])
