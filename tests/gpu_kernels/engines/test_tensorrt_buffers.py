"""The buffers of an execution context, with a context that records its calls.

The network is that of RT-DETR's exporter with a free size: a picture and its size in; labels, boxes
and scores out, of which the number of rows grows with the picture.
"""

from collections.abc import Sequence
from enum import Enum, auto
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import warp as wp
from model_files import plain_manifest

from gpu_kernels.engines.tensorrt_buffers import EngineBuffers
from gpu_kernels.models.manifest import ModelManifest
from resources.errors import EngineError

KEYS = {"name": "images", "sizes_input": "orig_target_sizes"}
OUTPUT = {"decoding": "boxes-labels-scores", "outputs": ["boxes", "labels", "scores"]}


class Mode(Enum):
    INPUT = auto()
    OUTPUT = auto()


class Type(Enum):
    FLOAT, HALF, UINT8, INT32, INT64, BOOL = (auto() for _ in range(6))


class Api:
    TensorIOMode = Mode
    DataType = Type


class Engine:
    types: ClassVar = {
        "orig_target_sizes": Type.INT64,
        "images": Type.FLOAT,
        "labels": Type.INT64,
        "boxes": Type.HALF,
        "scores": Type.HALF,
    }
    num_io_tensors = len(types)
    batch = -1  # free

    def get_tensor_name(self, place: int) -> str:
        return list(self.types)[place]

    def get_tensor_mode(self, name: str) -> Mode:
        return Mode.INPUT if name in ("images", "orig_target_sizes") else Mode.OUTPUT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self.batch, -1)

    def get_tensor_dtype(self, name: str) -> Type:
        return self.types[name]


class Context:
    """Refuses inputs of more than 4 x 3 x 128 x 128; an output row per 32 x 32 pixels."""

    def __init__(self, free: bool = False) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.free = free

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        if name == "images" and (shape[0] > 4 or max(shape[2:]) > 128):
            return False
        self.shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        count, _, height, width = self.shapes["images"]
        assert self.shapes["orig_target_sizes"] == (count, 2)
        rows = -1 if self.free else height * width // 1024
        return (count, rows, 4) if name == "boxes" else (count, rows)

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address


@pytest.fixture
def manifest(tmp_path: Path) -> ModelManifest:
    return plain_manifest(tmp_path, {**KEYS, "long_side": 128, "stride": 32}, OUTPUT)


def buffers_of(manifest: ModelManifest, context: Context) -> EngineBuffers:
    return EngineBuffers(Api, Engine(), context, manifest, 4, "cpu")


def test_inputs_and_outputs_are_found_by_name_in_the_order_of_the_manifest(
    manifest: ModelManifest,
) -> None:
    context = Context()
    buffers = buffers_of(manifest, context)
    assert buffers.input.shape == (4, 3, 128, 128)
    assert [each.shape for each in buffers.outputs] == [(4, 16, 4), (4, 16), (4, 16)]
    assert [each.dtype for each in buffers.outputs] == [wp.float16, wp.int64, wp.float16]
    assert context.addresses["images"] == buffers.input.ptr
    assert context.addresses["labels"] == buffers.outputs[1].ptr
    assert set(context.addresses) == set(Engine.types)


def test_the_size_changes_shapes_in_the_same_memory(manifest: ModelManifest) -> None:
    context = Context()
    buffers = buffers_of(manifest, context)
    sizes = context.addresses["orig_target_sizes"]
    for height, width in [(96, 128), (128, 64), (128, 128)]:
        buffers.set_size(height, width, None)
        assert buffers.input.shape == (4, 3, height, width)
        assert buffers.input.is_contiguous
        assert buffers.outputs[0].shape == (4, height * width // 1024, 4)
        assert buffers.input.ptr == context.addresses["images"]
        assert buffers.outputs[2].ptr == context.addresses["scores"]
        given = wp.array(ptr=sizes, dtype=wp.int64, shape=(4, 2), device="cpu", copy=False)
        assert given.numpy().tolist() == [[width, height]] * 4


def test_the_batch_is_set_for_both_inputs(manifest: ModelManifest) -> None:
    context = Context()
    buffers = buffers_of(manifest, context)
    buffers.set_size(64, 128, None)
    assert buffers.set_batch(3)
    assert context.shapes == {"images": (3, 3, 64, 128), "orig_target_sizes": (3, 2)}
    assert not buffers.set_batch(5)
    assert buffers.set_batch(3)
    assert context.shapes["images"] == (3, 3, 64, 128)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_fixed_batch_is_always_computed(
    manifest: ModelManifest, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """Whatever was asked for; what is not written yet is zero."""
    monkeypatch.setattr(Engine, "batch", batch)
    context = Context()
    buffers = buffers_of(manifest, context)
    assert buffers.max_batch == batch
    assert buffers.input.shape == (batch, 3, 128, 128)
    assert not buffers.input.numpy().any()
    assert [each.shape for each in buffers.outputs] == [(batch, 16, 4), (batch, 16), (batch, 16)]
    for count in range(1, batch + 1):
        assert buffers.set_batch(count)
        assert context.shapes["images"] == (batch, 3, 128, 128)
        assert context.shapes["orig_target_sizes"] == (batch, 2)
    buffers.set_size(64, 128, None)
    assert buffers.input.shape == (batch, 3, 64, 128)


def test_what_the_context_cannot_do_is_an_error(
    manifest: ModelManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EngineError, match="outputs have no fixed size; export it without non-max"):
        buffers_of(manifest, Context(free=True))
    with pytest.raises(EngineError, match="the GPU refuses an input of 160x128 pixels"):
        buffers_of(manifest, Context()).set_size(128, 160, None)
    with pytest.raises(EngineError, match="the GPU refuses a batch of 5"):
        EngineBuffers(Api, Engine(), Context(), manifest, 5, "cpu")
    monkeypatch.setitem(Engine.types, "labels", Type.BOOL)
    with pytest.raises(EngineError, match=r"the network's labels is Type\.BOOL"):
        buffers_of(manifest, Context())


def test_a_network_with_one_input_needs_no_names(tmp_path: Path) -> None:
    class Plain(Engine):
        types: ClassVar = {"pixels": Type.UINT8, "rows": Type.FLOAT}
        num_io_tensors = 2

        def get_tensor_mode(self, name: str) -> Mode:
            return Mode.INPUT if name == "pixels" else Mode.OUTPUT

    class PlainContext(Context):
        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return (self.shapes["pixels"][0], 300, 6)

    manifest = plain_manifest(tmp_path, {"dtype": "uint8"}, {"decoding": "end2end"})
    buffers = EngineBuffers(Api, Plain(), PlainContext(), manifest, 2, "cpu")
    assert buffers.input.dtype is wp.uint8
    assert buffers.input.shape == (2, 3, 64, 64)
    assert [each.shape for each in buffers.outputs] == [(2, 300, 6)]
    assert buffers.capacity == int(np.prod(buffers.input.shape))
