"""Build a TensorRT engine from a model: parse its ONNX graph, build, serialize.

TensorRT builds for the GPU of this machine. TensorRT-RTX builds for given architectures, also on
machines without a GPU. One optimization profile with a dynamic batch serves every batch size: a
second profile would multiply the engine's size.

An engine is for one kind of GPU, or for several: `sm_86`, or `sm_86+sm_89`. For several,
TensorRT-RTX compiles for each; TensorRT builds at hardware compatibility level AMPERE_PLUS, which
runs on all GPUs from sm_80 on and has fewer implementations of a layer:
https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/advanced.html
"""

import hashlib
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from gpu_kernels.engines.device_graph import DEVICE_GRAPH_VERSION, DeviceGraph, device_graph
from gpu_kernels.engines.fp16 import FP16_GRAPH_VERSION
from gpu_kernels.engines.graph_io import MatchedInputs, match_outputs
from gpu_kernels.engines.tensorrt_api import TensorRt
from gpu_kernels.models.manifest import ModelManifest
from resources.errors import EngineError

ARCH_SEPARATOR = "+"  # between the GPUs of one engine
# Hardware compatible engines of TensorRT require Ampere.
MIN_COMPATIBLE_ARCH = 80
# The memory of an engine grows with its maximum batch.
MAX_TO_OPTIMAL_RATIO = 8


class BatchSizes(NamedTuple):
    """Pictures per batch, of an optimization profile; the engine is tuned for the optimum."""

    minimum: int = 1
    optimum: int = 8
    maximum: int = 64

    @classmethod
    def around(cls, optimum: int) -> "BatchSizes":
        """Return the sizes for batches of `optimum` pictures, and of their crops, which can be
        more."""
        return cls(1, optimum, MAX_TO_OPTIMAL_RATIO * optimum)


class EngineKey(NamedTuple):
    """The identity of an engine in the cache."""

    model: str  # SHA-256 of the ONNX file
    precision: str
    tensorrt: str  # kind and version
    arch: str  # as sm_75, or several as sm_86+sm_89
    batches: BatchSizes
    # The version of the graph's changes, and the parts of the manifest that select its inputs,
    # outputs and sizes.
    graph: str = ""

    @property
    def name(self) -> str:
        """A file name with a hash of the key."""
        fields = [*self[:4], "-".join(map(str, self.batches))]
        text = "|".join([*fields, self.graph] if self.graph else fields)
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        return f"{self.arch.replace(ARCH_SEPARATOR, '-')}-{digest}.engine"


class EngineBuildError(EngineError):
    """TensorRT cannot build the engine of a model for a GPU."""


class BuiltEngine(NamedTuple):
    """The result of a build."""

    plan: bytes  # the serialized engine
    timing_cache: bytes  # measurements that the next build of this TensorRT can reuse


def engine_arch(gpu: str, shared_by: Collection[str]) -> str:
    """Return the architecture, or architectures, of an engine for a GPU.

    Args:
        gpu: as sm_86.
        shared_by: GPUs that share one engine; other GPUs have their own.
    """
    return join_archs(shared_by) if gpu in shared_by else gpu


def join_archs(archs: Collection[str]) -> str:
    """Return several architectures as one string, sorted."""
    return ARCH_SEPARATOR.join(sorted(set(archs), key=_arch_number))


def _arch_number(arch: str) -> int:
    return int(arch.removeprefix("sm_"))


def engine_key(manifest: ModelManifest, trt: TensorRt, arch: str, batches: BatchSizes) -> EngineKey:
    """Return the key of the engine that `build_engine` builds from the same arguments."""
    precision = f"half {FP16_GRAPH_VERSION}" if manifest.fp16 else "as exported"
    spec = manifest.input
    # A fixed size is mostly the graph's own, but can be one of many of a graph with free sizes.
    size = spec.fixed_size or (spec.long_side, spec.stride)
    selected = [spec.fixed_size is None, *size, spec.layout, spec.name, spec.sizes_input]
    selected.append(DEVICE_GRAPH_VERSION)
    graph = " ".join(map(str, [*selected, *manifest.output.outputs]))
    return EngineKey(manifest.sha256, precision, trt.version, arch, batches, graph)


def build_engine(
    manifest: ModelManifest,
    trt: TensorRt,
    arch: str,
    batches: BatchSizes,
    timing_cache: bytes = b"",
) -> BuiltEngine:
    """Build the engine of a model, which the same TensorRT can load.

    Args:
        manifest: the model; built in float16 if it says so.
        arch: the target GPU, as sm_75, or several, as sm_86+sm_89. TensorRT builds for the GPU of
            this machine, which must be among them; TensorRT-RTX builds for any that it supports.
        timing_cache: of earlier builds; empty if there is none.

    Raises:
        EngineBuildError: TensorRT cannot build it.
        EngineError: TensorRT does not support one of these GPUs, or not in one engine.
        ModelError: the graph cannot be read, or its input differs from the manifest.
    """
    logger = trt.error_logger()
    api = trt.api
    check_archs(trt, arch)
    try:
        builder = api.Builder(logger)
    except TypeError:  # the factory returned nothing: it could not reach a GPU
        reason = "it finds no GPU, or no driver for it"
        raise _build_error(manifest, trt, reason, logger) from None
    graph = device_graph(manifest)
    network = builder.create_network(1 << int(api.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = api.OnnxParser(network, logger)
    if not parser.parse(graph.onnx):
        reason = parser.get_error(0).desc() if parser.num_errors else "the graph cannot be parsed"
        raise _build_error(manifest, trt, _explained(reason, graph), logger)
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    _keep_used_outputs(manifest, network)
    for name, shapes in _profile_shapes(graph.inputs, manifest, batches).items():
        profile.set_shape(name, *shapes)
    config.add_optimization_profile(profile)
    cache = _configure(config, trt, arch.split(ARCH_SEPARATOR), timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _build_error(manifest, trt, _explained("the build failed", graph), logger)
    return BuiltEngine(bytes(plan), bytes(cache.serialize()) if cache else b"")


def check_archs(trt: TensorRt, arch: str) -> None:
    """Check that this TensorRT can build an engine for a GPU, or one for several.

    Raises:
        EngineError: it cannot.
    """
    archs = arch.split(ARCH_SEPARATOR)
    if trt.rtx:
        for each in archs:
            trt.compute_capability(each)
    elif len(archs) > 1 and (old := [a for a in archs if _arch_number(a) < MIN_COMPATIBLE_ARCH]):
        raise EngineError(
            f"{trt.version} cannot build one engine for {arch}: shared engines need sm_"
            f"{MIN_COMPATIBLE_ARCH} or newer; remove {', '.join(old)} from "
            "models.engines_shared_by, so that it has its own"
        )


def _configure(config: Any, trt: TensorRt, archs: Sequence[str], timing_cache: bytes) -> Any:
    """Apply the settings that differ between the two kinds. Return the timing cache, if any.

    The workspace limit stays at its default, the device's memory: with an explicit limit
    TensorRT-RTX fails on a machine without a GPU.
    """
    if trt.rtx:
        config.num_compute_capabilities = len(archs)
        for place, arch in enumerate(archs):
            config.set_compute_capability(trt.compute_capability(arch), place)
        return None
    if len(archs) > 1:
        config.hardware_compatibility_level = trt.api.HardwareCompatibilityLevel.AMPERE_PLUS
    cache = config.create_timing_cache(timing_cache)
    # A cache of another version or GPU is refused; start with an empty one.
    if not config.set_timing_cache(cache, ignore_mismatch=False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _keep_used_outputs(manifest: ModelManifest, network: Any) -> None:
    """Keep only the outputs that the decoding reads."""
    outputs = [network.get_output(place) for place in range(network.num_outputs)]
    used = match_outputs(manifest, [tensor.name for tensor in outputs])
    for tensor in outputs:
        if tensor.name not in used:
            network.unmark_output(tensor)


def _explained(reason: str, graph: DeviceGraph) -> str:
    """Return a reason with the operators that are its likely cause."""
    if not graph.picture_dependent:
        return reason
    return (
        f"it has {', '.join(graph.picture_dependent)}, whose results differ in number from picture "
        "to picture, which TensorRT-RTX cannot build and TensorRT not always; export it without "
        f"non-maximum suppression to use the GPU: {reason}"
    )


def _profile_shapes(
    found: MatchedInputs, manifest: ModelManifest, batches: BatchSizes
) -> dict[str, list[tuple[int, ...]]]:
    """Return the smallest, the usual and the largest shape of each input; a fixed batch is all."""
    spec = manifest.input
    if found.batch is not None:
        batches = BatchSizes(*[found.batch] * 3)
    largest = spec.largest_size
    sizes = [largest] * 3
    if spec.fixed_size is None:
        assert spec.stride is not None
        # Most pictures are 4:3 and lie on their long side.
        usual = -(-largest[0] * 3 // 4 // spec.stride) * spec.stride
        sizes = [(spec.stride, spec.stride), (usual, largest[1]), largest]
    shapes: dict[str, list[tuple[int, ...]]] = {
        found.pictures.name: [(n, 3, *size) for n, size in zip(batches, sizes, strict=True)]
    }
    if found.sizes is not None:
        shapes[found.sizes.name] = [(count, 2) for count in batches]
    return shapes


def _build_error(
    manifest: ModelManifest, trt: TensorRt, reason: str, logger: Any
) -> EngineBuildError:
    details = f": {logger.lines[-1]}" if logger.lines else ""
    return EngineBuildError(
        f"model {manifest.name}: {trt.version} cannot build its engine: {reason}{details}; set "
        "pipeline.stage1.engine: onnxruntime to run on the CPU"
    )
