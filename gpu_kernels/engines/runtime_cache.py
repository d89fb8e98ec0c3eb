"""Kernels that TensorRT-RTX compiles while it runs, kept for the next machine of the same kind.

The first batch of a shape runs with kernels for any shape; those made for it are compiled beside
the work, and used once they are there (DynamicShapesKernelSpecializationStrategy, LAZY):
https://docs.nvidia.com/deeplearning/tensorrt-rtx/latest/inference-library/work-with-runtime-cache.html
"""

from typing import Any

from gpu_kernels.engines.engine_cache import EngineCache
from gpu_kernels.engines.tensorrt_build import EngineKey

# Batches: the first one has the kernels for any shape, the last one those of the usual shapes.
SAVE_AFTER_BATCHES = (1, 100)


class PersistentRuntimeCache:
    """The kernels of one engine on one kind of GPU."""

    def __init__(self, cache: EngineCache, key: EngineKey, arch: str, compiled: Any) -> None:
        """Take up those of an earlier start.

        Args:
            arch: of this GPU; an engine may be shared by several, its kernels are not.
            compiled: TensorRT-RTX's IRuntimeCache, empty.
        """
        self._cache, self._key, self._arch, self.compiled = cache, key, arch, compiled
        kept = cache.aid(key, "kernels", arch)
        # It takes none of another version or driver.
        self._kept = len(kept) if kept and compiled.deserialize(kept) else 0
        self._batches = 0

    def batch_ended(self) -> None:
        """Keep them, now and then, if they have become more."""
        self._batches += 1
        if self._batches in SAVE_AFTER_BATCHES:
            content = bytes(self.compiled.serialize())
            if len(content) > self._kept:
                self._kept = len(content)
                self._cache.put_aid(self._key, "kernels", content, self._arch)
