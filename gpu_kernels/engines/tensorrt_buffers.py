"""The inputs and outputs of a TensorRT execution context, in buffers on the GPU.

The buffers have the size of the largest batch of the largest pictures. A fixed batch is always
computed; what is left in the buffers of an earlier one fills it. For a free height and width
`set_size` makes `input` and `outputs` arrays of the same memory with the current shapes.
"""

from collections.abc import Sequence
from typing import Any

import warp as wp

from gpu_kernels.engines.graph_io import input_sizes
from gpu_kernels.models.manifest import ModelManifest
from resources.errors import EngineError


class EngineBuffers:
    """Buffers of one execution context.

    Attributes:
        max_batch: pictures of the largest batch; the only one, if the engine's is fixed.
        input: pictures, Warp array [max_batch, 3, H, W].
        outputs: that the manifest's decoding reads, in its order; Warp arrays [max_batch, ...].
        size: height and width of `input`.
        capacity: values of the largest `input`.
    """

    def __init__(
        self, api: Any, engine: Any, context: Any, manifest: ModelManifest, max_batch: int,
        device: str,
    ) -> None:  # fmt: skip
        """Args:
            api: TensorRT's module.
            max_batch: of an engine with a free batch.

        Raises:
            EngineError: the context refuses the largest batch, or an output has no fixed size.
            MemoryError, RuntimeError: the GPU has not enough memory.
        """
        self._context, self._manifest = context, manifest
        self._device = device
        names = [engine.get_tensor_name(place) for place in range(engine.num_io_tensors)]
        self._sizes_name = manifest.input.sizes_input
        self._name = pictures_name(api, engine, manifest)
        others = [name for name in names if engine.get_tensor_mode(name) != api.TensorIOMode.INPUT]
        self._output_names = list(manifest.output.outputs) or others
        self._fixed_batch = fixed_batch(engine, self._name)
        self.max_batch = max_batch = self._fixed_batch or max_batch
        self._largest = manifest.input.largest_size
        self._batch = 0
        self.size = self._largest
        if not self.set_batch(max_batch):
            raise EngineError(f"model {manifest.name}: the GPU refuses a batch of {max_batch}")
        shapes = {name: tuple(context.get_tensor_shape(name)) for name in others}
        if any(size < 0 for shape in shapes.values() for size in shape):
            raise EngineError(
                f"model {manifest.name}: the network's outputs have no fixed size; export it "
                "without non-maximum suppression, or for one picture"
            )
        shapes[self._name] = (max_batch, 3, *self._largest)
        if self._sizes_name is not None:
            shapes[self._sizes_name] = (max_batch, 2)
        self._memory = {
            # Zeros, since a fixed batch is computed before all of it has been written.
            name: wp.zeros(shape, dtype=_dtype(api, engine, name), device=device)
            for name, shape in shapes.items()
        }
        for name, memory in self._memory.items():
            context.set_tensor_address(name, memory.ptr)
        self.input = self._memory[self._name]
        self.capacity = int(self.input.size)
        self.outputs = [self._memory[name] for name in self._output_names]
        self.references: list[Any] = []  # that the device reads until the next call of `set_size`
        self._write_sizes(None)

    def set_batch(self, count: int) -> bool:
        """Set the number of pictures of the next launch; return whether the context accepts it."""
        count = self._fixed_batch or count
        if count == self._batch:
            return True
        self._batch = 0
        if not self._context.set_input_shape(self._name, (count, 3, *self.size)):
            return False
        if self._sizes_name is not None:
            self._context.set_input_shape(self._sizes_name, (count, 2))
        self._batch = count
        return True

    def set_size(self, height: int, width: int, stream: Any) -> None:
        """Set the height and width of the pictures of the next launch.

        Raises:
            EngineError: the context refuses them.
        """
        if (height, width) == self.size:
            return
        self.size, self._batch = (height, width), 0
        if not self.set_batch(self.max_batch):
            raise EngineError(
                f"model {self._manifest.name}: the GPU refuses an input of {width}x{height} pixels"
            )
        self.input = self._shaped(self._name, (self.max_batch, 3, height, width))
        self.outputs = [
            self._shaped(name, tuple(self._context.get_tensor_shape(name)))
            for name in self._output_names
        ]
        self._write_sizes(stream)

    def _shaped(self, name: str, shape: Sequence[int]) -> Any:
        """Return the memory of a tensor as an array of another shape."""
        memory = self._memory[name]
        return wp.array(
            ptr=memory.ptr, dtype=memory.dtype, shape=shape, device=self._device, copy=False
        )

    def _write_sizes(self, stream: Any) -> None:
        if self._sizes_name is not None:
            values = input_sizes(self.max_batch, self.size, self._manifest)
            target = self._memory[self._sizes_name]
            source = wp.array(values, dtype=target.dtype, device="cpu")
            self.references = [source]
            wp.copy(target, source, stream=stream)


def fixed_batch(engine: Any, name: str) -> int | None:
    """Return the number of pictures of each batch of an engine; None if it is free.

    Args:
        name: of the input of pictures.
    """
    batch = int(engine.get_tensor_shape(name)[0])
    return batch if batch > 0 else None


def pictures_name(api: Any, engine: Any, manifest: ModelManifest) -> str:
    """Return the name of an engine's input of pictures."""
    names: list[str] = [engine.get_tensor_name(place) for place in range(engine.num_io_tensors)]
    return next(
        name
        for name in names
        if engine.get_tensor_mode(name) == api.TensorIOMode.INPUT
        and name != manifest.input.sizes_input
    )


def _dtype(api: Any, engine: Any, name: str) -> Any:
    types = {
        api.DataType.FLOAT: wp.float32,
        api.DataType.HALF: wp.float16,
        api.DataType.UINT8: wp.uint8,
        api.DataType.INT32: wp.int32,
        api.DataType.INT64: wp.int64,
    }
    dtype = engine.get_tensor_dtype(name)
    if dtype not in types:
        raise EngineError(f"the network's {name} is {dtype}; float32 or float16 is needed")
    return types[dtype]
