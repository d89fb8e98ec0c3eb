"""From a model to a TensorRT engine: parse its ONNX graph, build, give the plan.

TensorRT builds for the GPU of this machine. TensorRT-RTX builds for the architectures that it is
told, also where there is no GPU at all. One profile with a dynamic batch serves every batch size:
a second profile would multiply the engine's size.

An engine is for one kind of GPU, or for several: `sm_86`, or `sm_86+sm_89`. For several,
TensorRT-RTX compiles for each; TensorRT builds at hardware compatibility level AMPERE_PLUS, which
runs on all GPUs from sm_80 on and knows fewer ways to compute a layer:
https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/advanced.html
"""

import hashlib
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from gpu_kernels.engines.fp16 import FP16_GRAPH_VERSION, fp16_graph
from gpu_kernels.engines.tensorrt_api import TensorRt
from gpu_kernels.models.manifest import ModelManifest
from resources.errors import EngineError, ModelError

ARCH_SEPARATOR = "+"  # between the GPUs of one engine
# TensorRT's compatible engines begin at Ampere.
MIN_COMPATIBLE_ARCH = 80
# The memory of an engine grows with the most pictures that it may get at once.
MAX_TO_OPTIMAL_RATIO = 8


class BatchSizes(NamedTuple):
    """Pictures at once: the least, what the engine is made best for, the most."""

    least: int = 1
    usual: int = 8
    most: int = 64

    @classmethod
    def around(cls, usual: int) -> "BatchSizes":
        """For pictures in batches of `usual`, and crops of them, of which there may be more."""
        return cls(1, usual, MAX_TO_OPTIMAL_RATIO * usual)


class EngineKey(NamedTuple):
    """What an engine is of and for; another key is another engine."""

    model: str  # SHA-256 of the ONNX file
    precision: str
    tensorrt: str  # kind and version
    arch: str  # as sm_75, or several as sm_86+sm_89
    batches: BatchSizes

    @property
    def name(self) -> str:
        """The key as a file's name, without what only people want to read."""
        text = "|".join([*self[:-1], "-".join(map(str, self.batches))])
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        return f"{self.arch.replace(ARCH_SEPARATOR, '-')}-{digest}.engine"


class BuiltEngine(NamedTuple):
    plan: bytes
    timing_cache: bytes  # what the next build of this TensorRT need not measure again


def engine_arch(gpu: str, shared_by: Collection[str]) -> str:
    """What an engine for a GPU is built for.

    Args:
        gpu: as sm_86.
        shared_by: GPUs that share one engine; one that is not among them has its own.
    """
    return join_archs(shared_by) if gpu in shared_by else gpu


def join_archs(archs: Collection[str]) -> str:
    """Several GPUs as one, in an order of its own."""
    return ARCH_SEPARATOR.join(sorted(set(archs), key=_arch_number))


def _arch_number(arch: str) -> int:
    return int(arch.removeprefix("sm_"))


def engine_key(manifest: ModelManifest, trt: TensorRt, arch: str, batches: BatchSizes) -> EngineKey:
    """The key of the engine that `build_engine` makes of the same."""
    precision = f"half {FP16_GRAPH_VERSION}" if manifest.half else "as exported"
    return EngineKey(manifest.sha256, precision, trt.version, arch, batches)


def build_engine(
    manifest: ModelManifest,
    trt: TensorRt,
    arch: str,
    batches: BatchSizes,
    timing_cache: bytes = b"",
) -> BuiltEngine:
    """The engine of a model, as a plan that the same TensorRT can load.

    Args:
        manifest: the model; in half precision if it says so.
        trt: what builds.
        arch: of the GPU that it is for, as sm_75, or of several, as sm_86+sm_89. TensorRT builds
            for the GPU that it finds, so this must be among them; TensorRT-RTX builds for any that
            it knows.
        batches: how many pictures at once.
        timing_cache: of earlier builds; empty when there is none.

    Raises:
        EngineError: TensorRT cannot build it here, or not for all of these GPUs.
        ModelError: the graph cannot be read, or takes other pictures than the manifest says.
    """
    log = trt.log()
    api = trt.api
    check_archs(trt, arch)
    try:
        builder = api.Builder(log)
    except TypeError:  # the factory gave nothing: it could not reach a GPU
        raise _build_error(manifest, trt, "it finds no GPU, or not its driver", log) from None
    network = builder.create_network(1 << int(api.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    graph = fp16_graph(manifest) if manifest.half else manifest.path.read_bytes()
    parser = api.OnnxParser(network, log)
    if not parser.parse(graph):
        said = parser.get_error(0).desc() if parser.num_errors else "the graph cannot be parsed"
        raise _build_error(manifest, trt, said, log)
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    profile.set_shape(_input_name(manifest, network), *_shapes(manifest, batches))
    config.add_optimization_profile(profile)
    cache = _configure(config, trt, arch.split(ARCH_SEPARATOR), timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _build_error(manifest, trt, "the build failed", log)
    return BuiltEngine(bytes(plan), bytes(cache.serialize()) if cache else b"")


def check_archs(trt: TensorRt, arch: str) -> None:
    """Whether one engine of this TensorRT can be for a GPU, or for several.

    Raises:
        EngineError: it cannot.
    """
    archs = arch.split(ARCH_SEPARATOR)
    if trt.rtx:
        for each in archs:
            trt.compute_capability(each)
    elif len(archs) > 1 and (early := [a for a in archs if _arch_number(a) < MIN_COMPATIBLE_ARCH]):
        raise EngineError(
            f"{trt.version} cannot build one engine for {arch}: those that GPUs share begin at "
            f"sm_{MIN_COMPATIBLE_ARCH}; leave {', '.join(early)} out of models.engines_shared_by, and "
            "it has its own"
        )


def _configure(config: Any, trt: TensorRt, archs: Sequence[str], timing_cache: bytes) -> Any:
    """What differs between the two kinds. Returns the timing cache, if it has one.

    The workspace is left at what the device has: an explicit limit makes TensorRT-RTX fail on a
    machine without a GPU.
    """
    if trt.rtx:
        config.num_compute_capabilities = len(archs)
        for place, arch in enumerate(archs):
            config.set_compute_capability(trt.compute_capability(arch), place)
        return None
    if len(archs) > 1:
        config.hardware_compatibility_level = trt.api.HardwareCompatibilityLevel.AMPERE_PLUS
    cache = config.create_timing_cache(timing_cache)
    # A cache of another version or GPU is refused, and a fresh one taken.
    if not config.set_timing_cache(cache, ignore_mismatch=False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _input_name(manifest: ModelManifest, network: Any) -> str:
    given = network.get_input(0)
    shape = tuple(given.shape)
    wanted = (3, manifest.input.height, manifest.input.width)
    if network.num_inputs != 1 or len(shape) != 4 or shape[0] != -1 or shape[1:] != wanted:
        raise ModelError(
            f"model {manifest.path}: takes {list(shape)}, the GPU engine needs one input "
            f"[N, {', '.join(map(str, wanted))}] with a dynamic batch; correct the manifest, or "
            "export the model with a dynamic batch"
        )
    return str(given.name)


def _shapes(manifest: ModelManifest, batches: BatchSizes) -> list[tuple[int, ...]]:
    return [(count, 3, manifest.input.height, manifest.input.width) for count in batches]


def _build_error(manifest: ModelManifest, trt: TensorRt, why: str, log: Any) -> EngineError:
    said = f": {log.lines[-1]}" if log.lines else ""
    return EngineError(
        f"model {manifest.name}: {trt.version} cannot build its engine: {why}{said}; set "
        "pipeline.stage1.engine: onnxruntime to run on the CPU"
    )
