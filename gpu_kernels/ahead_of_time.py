"""Build engines and kernels ahead of time, without a GPU: `python -m gpu_kernels.ahead_of_time`.

Writes into the package, where a worker looks first; the build of the worker's image runs it.
TensorRT-RTX, also where a full TensorRT is installed, builds for any supported architecture on any
machine. `munin models engines` builds
engines into another store.
"""

import argparse
import sys
from collections.abc import Callable, Collection, Sequence
from itertools import chain

from gpu_kernels.engines.engine_cache import SHIPPED_ENGINES, EngineCache
from gpu_kernels.engines.tensorrt_api import ARCH_PATTERN, TensorRt, find_tensorrt
from gpu_kernels.engines.tensorrt_build import (
    ARCH_SEPARATOR,
    BatchSizes,
    build_engine,
    check_archs,
    engine_key,
    join_archs,
)
from gpu_kernels.models.manifest import ModelManifest, load_manifest, shipped_models, verify
from resources.errors import RavneError, UsageError
from resources.storage.local_store import LocalStore
from resources.storage.object_store import ObjectStore

# The GPUs of g4dn, g5 and g6.
FLEET_ARCHS = ("sm_75", "sm_86", "sm_89")


def parse_archs(text: str, trt: TensorRt) -> list[str]:
    """Parse the architectures of an option, as sm_75,sm_86; sm_86+sm_89 is one engine for both.

    Raises:
        UsageError: one is not an architecture.
        EngineError: TensorRT-RTX does not support one.
    """
    archs = [each.strip() for each in text.split(",")]
    for each in chain.from_iterable(arch.split(ARCH_SEPARATOR) for arch in archs):
        if not ARCH_PATTERN.fullmatch(each):
            raise UsageError(
                f"--arch {text}: {each!r} is not a GPU; use the form sm_75,sm_86+sm_89"
            )
    for arch in archs:
        check_archs(trt, arch)
    return [join_archs(arch.split(ARCH_SEPARATOR)) for arch in archs]


def default_archs(shared_by: Collection[str]) -> str:
    """Return the option for g4dn, g5 and g6, of which the GPUs `shared_by` share an engine."""
    own = [arch for arch in FLEET_ARCHS if arch not in shared_by]
    return ",".join([*own, *([join_archs(shared_by)] if shared_by else [])])


def build_missing_engines(
    models: Sequence[ModelManifest],
    archs: Sequence[str],
    batches: BatchSizes,
    store: ObjectStore,
    on_log: Callable[[str], None],
) -> None:
    """Build the engines that are not in a store.

    With TensorRT-RTX: a full TensorRT builds only for the GPU of its machine, on first use.

    Args:
        on_log: called with the result for each engine.

    Raises:
        EngineError, ModelError: one cannot be built.
        StoreError: the store cannot be read.
    """
    trt = find_tensorrt("tensorrt-rtx")
    cache = EngineCache([store], on_log)
    for manifest in models:
        verify(manifest)
        for arch in archs:
            key = engine_key(manifest, trt, arch, batches)
            if cache.get(key) is not None:
                on_log(f"{manifest.name} for {arch}: exists")
                continue
            plan = build_engine(manifest, trt, arch, batches).plan
            cache.put(key, plan)
            on_log(f"{manifest.name} for {arch}: built, {len(plan) / 1e6:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default=",".join(FLEET_ARCHS), help="GPUs, as sm_75,sm_86")
    arguments = parser.parse_args()
    from gpu_kernels.device.cubins import compile_cubins  # loads Warp, which engines do not need

    try:
        shipped = [load_manifest(name) for name in shipped_models()]
        archs = parse_archs(arguments.arch, find_tensorrt("tensorrt-rtx"))
        store = LocalStore(SHIPPED_ENGINES)
        build_missing_engines(shipped, archs, BatchSizes(), store, print)
        for arch in archs:
            for cubin in compile_cubins(arch):
                print(f"kernels for {arch}: {cubin.name}")
    except RavneError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
