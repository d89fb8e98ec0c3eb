"""Persist the kernels that TensorRT-RTX compiles at run time, for other machines of the same kind.

The first batch of a shape uses generic kernels. Specialized ones are compiled in the background,
and used when ready (DynamicShapesKernelSpecializationStrategy, LAZY):
https://docs.nvidia.com/deeplearning/tensorrt-rtx/latest/inference-library/work-with-runtime-cache.html
"""

from typing import Any

from gpu_kernels.engines.engine_cache import EngineCache
from gpu_kernels.engines.tensorrt_build import EngineKey

# Numbers of batches: after the first the generic kernels exist, after the last the specialized
# kernels of the usual shapes.
SAVE_AFTER_BATCHES = (1, 100)


class PersistentRuntimeCache:
    """The compiled kernels of one engine on one kind of GPU."""

    def __init__(self, cache: EngineCache, key: EngineKey, arch: str, runtime_cache: Any) -> None:
        """Load the kernels of an earlier run.

        Args:
            arch: of this GPU; several GPUs may share an engine, but not its kernels.
            runtime_cache: TensorRT-RTX's IRuntimeCache, empty.
        """
        self._cache, self._key, self._arch = cache, key, arch
        self.runtime_cache = runtime_cache
        stored = cache.get_artifact(key, "kernels", arch)
        # Kernels of another version or driver are refused.
        self._saved_bytes = len(stored) if stored and runtime_cache.deserialize(stored) else 0
        self._batches = 0

    def on_batch_end(self) -> None:
        """Save the kernels after certain batches, if there are new ones."""
        self._batches += 1
        if self._batches in SAVE_AFTER_BATCHES:
            content = bytes(self.runtime_cache.serialize())
            if len(content) > self._saved_bytes:
                self._saved_bytes = len(content)
                self._cache.put_artifact(self._key, "kernels", content, self._arch)
