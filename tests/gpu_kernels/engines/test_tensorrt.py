"""The GPU engine, as far as a machine without a GPU can show it.

The names of TensorRT's API are looked up in its real bindings, 10 and 11, whose libraries are
stood in for by a stub. TensorRT-RTX needs no GPU to build: it really builds every shipped model.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from paths import ROOT
from stub_libraries import gcc, make_stub

from gpu_kernels.device.gpu import Gpu, find_gpu, usable_gpu
from gpu_kernels.engines.engine import open_engine, resolve_engine
from gpu_kernels.engines.engine_cache import EngineCache
from gpu_kernels.engines.runtime_cache import PersistentRuntimeCache
from gpu_kernels.engines.tensorrt_api import TENSORRT_MODULES, TensorRt, find_tensorrt
from gpu_kernels.engines.tensorrt_build import (
    ARCH_SEPARATOR,
    BatchSizes,
    EngineKey,
    build_engine,
    check_archs,
    engine_arch,
    engine_key,
    join_archs,
)
from gpu_kernels.models.manifest import ModelManifest, load_manifest, shipped_models
from resources.errors import EngineError, ModelError
from resources.storage.local_store import LocalStore

__all__ = ["gcc"]  # pytest finds fixtures by their names
OURS = [
    "runtime_cache",
    "tensorrt_api",
    "tensorrt_build",
    "tensorrt_engine",
    "tensorrt_slot",
]
LIBRARIES = ["libnvinfer", "libnvinfer_plugin", "libnvonnxparser"]
# Where `make test` puts TensorRT's bindings; both kinds have the same module name.
BINDINGS = {version: Path(sys.prefix) / f"tensorrt-{version}" for version in (10, 11)}
BUILT_FOR = ["sm_75", "sm_86", "sm_89"]  # g4dn, g5, g6

# What our code asks of TensorRT: class (module: ""), and names in it.
API = {
    "": ["Builder", "DataType", "HardwareCompatibilityLevel", "ILogger",
         "NetworkDefinitionCreationFlag", "OnnxParser", "Runtime", "TensorIOMode", "__version__"],
    "Builder": ["build_serialized_network", "create_builder_config", "create_network",
                "create_optimization_profile"],
    "DataType": ["FLOAT", "HALF", "INT32", "INT64"],
    "HardwareCompatibilityLevel": ["AMPERE_PLUS"],
    "IBuilderConfig": ["add_optimization_profile", "create_timing_cache",
                       "hardware_compatibility_level", "set_timing_cache"],
    "ICudaEngine": ["create_execution_context", "get_tensor_dtype", "get_tensor_mode",
                    "get_tensor_name", "get_tensor_shape", "num_io_tensors"],
    "IExecutionContext": ["execute_async_v3", "get_tensor_shape", "set_input_shape",
                          "set_tensor_address"],
    "ILogger": ["ERROR", "INTERNAL_ERROR", "log"],
    "INetworkDefinition": ["get_input", "num_inputs"],
    "IOptimizationProfile": ["set_shape"],
    "ITensor": ["name", "shape"],
    "ITimingCache": ["serialize"],
    "NetworkDefinitionCreationFlag": ["STRONGLY_TYPED"],
    "OnnxParser": ["get_error", "num_errors", "parse"],
    "ParserError": ["desc"],
    "Runtime": ["deserialize_cuda_engine"],
    "TensorIOMode": ["INPUT"],
}  # fmt: skip
RTX_API = {
    "": ["ComputeCapability", "CudaGraphStrategy"],
    "ComputeCapability": ["SM75", "SM86", "SM89"],
    "CudaGraphStrategy": ["WHOLE_GRAPH_CAPTURE"],
    "IBuilderConfig": ["num_compute_capabilities", "set_compute_capability"],
    "ICudaEngine": ["create_runtime_config"],
    "IRuntimeCache": ["deserialize", "serialize"],
    "IRuntimeConfig": ["create_runtime_cache", "cuda_graph_strategy", "set_runtime_cache"],
}


NAMES_OF_BINDINGS = """
import ctypes, json, sys
for library in sys.argv[1:]:
    ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
import tensorrt_bindings as api
def names(of): return [name for name in dir(of)]
found = {"": names(api)} | {name: names(getattr(api, name)) for name in dir(api)}
try:
    api.Builder(api.Logger())
except TypeError:
    found["without a GPU"] = ["TypeError"]
print(json.dumps({"version": api.__version__, "names": found}))
"""


@pytest.fixture(scope="module", params=sorted(BINDINGS))
def bindings(
    request: pytest.FixtureRequest, gcc: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, set[str]]:
    """Every name of real bindings, by class."""
    version = request.param
    if not BINDINGS[version].is_dir():
        pytest.skip(f"TensorRT's bindings are not at {BINDINGS[version].name}; run make test")
    folder = tmp_path_factory.mktemp("stubs")
    stubs = []
    for library in LIBRARIES:
        name = f"{library}.so.{version}"
        stubs.append(make_stub(gcc, "tensorrt.c", folder / name, f"-Wl,-soname,{name}"))
    done = subprocess.run(
        [sys.executable, "-c", NAMES_OF_BINDINGS, *map(str, stubs)],
        env=os.environ | {"PYTHONPATH": str(BINDINGS[version])},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["version"].startswith(f"{version}.")
    return {name: set(names) for name, names in found["names"].items()}


def test_tensorrt_10_and_11_have_every_name_that_is_used(bindings: dict[str, set[str]]) -> None:
    missing = {cls: set(names) - bindings[cls] for cls, names in API.items()}
    assert not {cls: names for cls, names in missing.items() if names}


def test_a_builder_without_a_gpu_is_the_error_that_is_caught(bindings: dict[str, set[str]]) -> None:
    assert bindings["without a GPU"] == {"TypeError"}


@pytest.fixture(scope="module")
def rtx() -> TensorRt:
    found = find_tensorrt()
    assert found.rtx and found.api.__name__ in TENSORRT_MODULES
    return found


def test_tensorrt_rtx_has_every_name_that_is_used(rtx: TensorRt) -> None:
    for names_of in (API, RTX_API):
        for cls, names in names_of.items():
            owner = getattr(rtx.api, cls) if cls else rtx.api
            # A timing cache is asked of the full TensorRT alone.
            assert {name for name in names if not hasattr(owner, name)} == set(), cls


def attributes_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr":
            yield str(getattr(node.args[1], "value", ""))


def test_no_name_of_tensorrt_is_used_that_is_not_looked_up(rtx: TensorRt) -> None:
    classes = [each for each in vars(rtx.api).values() if isinstance(each, type)]
    of_tensorrt = {each.__name__ for each in classes} | {n for each in classes for n in dir(each)}
    # Names that things of Warp, numpy, ONNX or Python have too.
    others = {"clear", "append", "count", "extend", "get", "items", "name", "partition", "shape",
              "dtype", "numpy", "size", "start"}  # fmt: skip
    used = {
        name
        for ours in OURS
        for name in attributes_of(ROOT / "gpu_kernels" / "engines" / f"{ours}.py")
    }
    looked_up = {name for table in (API, RTX_API) for names in table.values() for name in names}
    of_other_things = others | {name for name in used if name.startswith("_")}
    assert (used & of_tensorrt) - looked_up - of_other_things == set()


# TensorRT-RTX builds without a GPU


@pytest.mark.parametrize("arch", BUILT_FOR)
@pytest.mark.parametrize("name", shipped_models())
def test_every_shipped_model_builds_for_every_gpu_of_the_fleet(
    rtx: TensorRt, name: str, arch: str
) -> None:
    built = build_engine(load_manifest(name), rtx, arch, BatchSizes())
    assert len(built.plan) > 10_000_000
    assert not built.timing_cache


def test_one_engine_serves_a_fleet_of_several_gpus(rtx: TensorRt) -> None:
    """All three of g4dn, g5 and g6; and of the last two, one that is no larger than for one."""
    manifest = load_manifest("ssd-mobilenet-v2-cam16")
    sizes = {
        arch: len(build_engine(manifest, rtx, arch, BatchSizes()).plan)
        for arch in ("sm_86", "sm_86+sm_89", "sm_75+sm_86+sm_89")
    }
    assert sizes["sm_86+sm_89"] < 1.1 * sizes["sm_86"]
    assert sizes["sm_75+sm_86+sm_89"] > sizes["sm_86"]


def test_a_gpu_that_shares_an_engine_asks_for_that_one_and_others_for_their_own() -> None:
    shared_by = ("sm_89", "sm_86")
    assert engine_arch("sm_86", shared_by) == engine_arch("sm_89", shared_by) == "sm_86+sm_89"
    assert engine_arch("sm_75", shared_by) == "sm_75"
    assert engine_arch("sm_75", ()) == "sm_75"
    assert join_archs(["sm_120", "sm_89", "sm_120"]) == "sm_89+sm_120"


def test_a_full_tensorrt_shares_engines_from_ampere_on_and_says_so() -> None:
    class Api:
        __version__ = "11.4.0"

    full = TensorRt(Api, rtx=False)
    check_archs(full, "sm_75")
    check_archs(full, "sm_86+sm_89")
    said = r"one engine for sm_75\+sm_86: .* leave sm_75 out of models\.engines_shared_by"
    with pytest.raises(EngineError, match=said):
        check_archs(full, "sm_75+sm_86")


def own_model(folder: Path, change: tuple[str, str] = ("", ""), network: bytes = b"") -> Path:
    """The shipped SSD as a user's model, changed."""
    shipped = load_manifest("ssd-mobilenet-v2-cam16")
    folder.mkdir(exist_ok=True)
    for path in shipped.files:
        shutil.copy(path, folder)
    text = (shipped.path.parent / f"{shipped.name}.toml").read_text("utf-8")
    if network:
        (folder / shipped.file).write_bytes(network)
        text = text.replace(shipped.sha256, sha256(network).hexdigest())
    path = folder / "own.toml"
    path.write_text(text.replace(*change), encoding="utf-8")
    return path


def test_a_model_of_another_size_than_its_manifest_says_is_refused(
    rtx: TensorRt, tmp_path: Path
) -> None:
    manifest = load_manifest(str(own_model(tmp_path, ("height = 300", "height = 320"))))
    with pytest.raises(ModelError, match=r"takes \[-1, 3, 300, 300\], .* \[N, 3, 320, 300\]"):
        build_engine(manifest, rtx, "sm_75", BatchSizes())


@pytest.mark.parametrize("half", ["true", "false"])
def test_a_file_that_is_no_network_is_refused(rtx: TensorRt, tmp_path: Path, half: str) -> None:
    path = own_model(tmp_path, ("half = true", f"half = {half}"), b"no network")
    said = {"true": "cannot be read as ONNX", "false": "cannot build its engine"}[half]
    with pytest.raises((ModelError, EngineError), match=said) as caught:
        build_engine(load_manifest(str(path)), rtx, "sm_75", BatchSizes())
    assert "\n" not in str(caught.value)


def test_a_network_that_a_gpu_cannot_run_says_which_and_the_way_out(
    rtx: TensorRt, tmp_path: Path
) -> None:
    """Turing has no float32 matrix product in TensorRT-RTX; in half precision it has."""
    shipped = load_manifest("efficientnet-lite3")
    for path in shipped.files:
        shutil.copy(path, tmp_path)
    text = (shipped.path.parent / "efficientnet-lite3.toml").read_text("utf-8")
    (tmp_path / "own.toml").write_text(text.replace("half = true", "half = false"))
    manifest = load_manifest(str(tmp_path / "own.toml"))
    with pytest.raises(EngineError, match=r"efficientnet-lite3: tensorrt-rtx .* on the CPU$"):
        build_engine(manifest, rtx, "sm_75", BatchSizes())


def test_a_gpu_that_tensorrt_does_not_know_is_refused_with_those_it_knows(rtx: TensorRt) -> None:
    with pytest.raises(EngineError, match=r"GPUs sm_60 are not known .* which knows sm_75"):
        rtx.compute_capability("sm_60")
    with pytest.raises(EngineError, match="CURRENT"):
        rtx.compute_capability("CURRENT")


# The key of an engine, and the cache


@pytest.fixture
def manifest() -> ModelManifest:
    return load_manifest("megadetector-lite")


@pytest.fixture
def key(manifest: ModelManifest, rtx: TensorRt) -> EngineKey:
    return engine_key(manifest, rtx, "sm_75", BatchSizes())


def test_whatever_changes_an_engine_changes_its_name(key: EngineKey, rtx: TensorRt) -> None:
    others = [
        key._replace(model="0" * 64),
        key._replace(precision="as exported"),
        key._replace(tensorrt="tensorrt 11.4.0.106"),
        key._replace(arch="sm_86"),
        key._replace(arch="sm_75+sm_86"),
        key._replace(batches=BatchSizes(1, 4, 32)),
    ]
    names = {each.name for each in [key, *others]}
    assert len(names) == 7
    assert not any(ARCH_SEPARATOR in name for name in names)
    assert key.name.startswith("sm_75-")


def a_cache(folder: Path, *before: Path) -> tuple[EngineCache, list[str]]:
    notes: list[str] = []
    stores = [LocalStore(each) for each in (*before, folder)]
    return EngineCache(stores, notes.append), notes


def test_an_engine_that_was_kept_comes_back_whole(tmp_path: Path, key: EngineKey) -> None:
    cache, notes = a_cache(tmp_path)
    assert cache.get(key) is None
    cache.put(key, b"a\nplan")
    assert cache.get(key) == b"a\nplan"
    assert cache.get(key._replace(arch="sm_86")) is None
    assert notes == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda kept: kept[:-1],
        lambda kept: kept[:-1] + b"X",
        lambda kept: kept.replace(b'"arch": "sm_75"', b'"arch": "sm_86"'),
        lambda kept: b"",
        lambda kept: b"no head\n",
    ],
)
def test_a_damaged_engine_is_told_and_never_given(
    tmp_path: Path, key: EngineKey, damage: object
) -> None:
    cache, notes = a_cache(tmp_path)
    cache.put(key, b"a plan")
    path = tmp_path / key.name
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert cache.get(key) is None
    (note,) = notes
    assert key.name in note and "is damaged, and made anew" in note


def test_engines_of_the_image_are_found_first_and_never_written(
    tmp_path: Path, key: EngineKey
) -> None:
    image, own = tmp_path / "image", tmp_path / "own"
    a_cache(image)[0].put(key, b"of the image")
    cache, _ = a_cache(own, image)
    assert cache.get(key) == b"of the image"
    cache.put(key, b"mine")
    assert cache.get(key) == b"of the image"
    assert len(list(own.iterdir())) == 1


def test_an_engine_that_cannot_be_kept_is_told_and_stops_nothing(
    tmp_path: Path, key: EngineKey
) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache, notes = a_cache(tmp_path / "file" / "below")
    cache.put(key, b"a plan")
    (note,) = notes
    assert "the next machine builds it again" in note


class Compiled:
    """In place of TensorRT-RTX's IRuntimeCache, which there is on a GPU alone."""

    def __init__(self, takes: bool = True) -> None:
        self.kernels = b""
        self._takes = takes

    def deserialize(self, kernels: bytes) -> bool:
        self.kernels = kernels if self._takes else b""
        return self._takes

    def serialize(self) -> bytes:
        return self.kernels


def test_kernels_are_kept_when_they_were_compiled_and_taken_up_by_the_next_machine(
    tmp_path: Path, key: EngineKey
) -> None:
    """The first batch runs with kernels for any shape; those of its own come while it works."""
    cache, _ = a_cache(tmp_path)
    first = Compiled()
    kernels = PersistentRuntimeCache(cache, key, "sm_75", first)
    first.kernels = b"for any shape"
    kernels.batch_ended()
    assert cache.aid(key, "kernels", "sm_75") == b"for any shape"
    first.kernels = b"for any shape, and for eight pictures"
    for _ in range(99):
        kernels.batch_ended()
    assert cache.aid(key, "kernels", "sm_75") == first.kernels
    second = Compiled()
    PersistentRuntimeCache(cache, key, "sm_75", second)
    assert second.kernels == first.kernels


def test_kernels_that_are_known_are_not_written_again_and_those_not_taken_are(
    tmp_path: Path, key: EngineKey
) -> None:
    cache, _ = a_cache(tmp_path)
    cache.put_aid(key, "kernels", b"compiled before", "sm_75")
    (path,) = tmp_path.iterdir()
    written = path.stat().st_mtime_ns
    PersistentRuntimeCache(cache, key, "sm_75", Compiled()).batch_ended()
    assert path.stat().st_mtime_ns == written
    newer = Compiled(takes=False)
    kernels = PersistentRuntimeCache(cache, key, "sm_75", newer)
    newer.kernels = b"newer"
    kernels.batch_ended()
    assert cache.aid(key, "kernels", "sm_75") == b"newer"


def test_gpus_that_share_an_engine_do_not_share_its_kernels(tmp_path: Path, key: EngineKey) -> None:
    cache, _ = a_cache(tmp_path)
    cache.put_aid(key, "kernels", b"of a T4", "sm_75")
    other = Compiled()
    PersistentRuntimeCache(cache, key, "sm_89", other)
    assert other.kernels == b""


def test_timings_are_shared_by_models_and_compiled_kernels_are_not(
    tmp_path: Path, key: EngineKey
) -> None:
    cache, _ = a_cache(tmp_path)
    other = key._replace(model="0" * 64)
    cache.put_aid(key, "timing", b"measured")
    cache.put_aid(key, "kernels", b"compiled")
    assert cache.aid(other, "timing") == b"measured"
    assert cache.aid(other, "kernels") == b""
    assert cache.aid(key, "kernels") == b"compiled"


# The GPU, and which engine is meant


def test_a_machine_without_a_driver_has_no_gpu() -> None:
    assert find_gpu("libcuda-that-is-not-there.so.1") is None
    with pytest.raises(EngineError, match=r"^no GPU: .*engine: onnxruntime to"):
        usable_gpu("libcuda-that-is-not-there.so.1")


def test_a_gpu_is_what_its_driver_says(gcc: str, tmp_path: Path) -> None:
    driver = make_stub(gcc, "cuda_driver.c", tmp_path / "d.so", "-DGPUS=1", "-DCUDA=13000")
    assert usable_gpu(str(driver)) == Gpu("Tesla T4", "sm_75", 15 * 2**30, 13000)


def test_a_driver_without_a_gpu_is_none(gcc: str, tmp_path: Path) -> None:
    driver = make_stub(gcc, "cuda_driver.c", tmp_path / "d.so", "-DGPUS=0", "-DCUDA=13000")
    assert find_gpu(str(driver)) is None


def test_a_driver_that_is_too_old_is_told_with_the_one_that_is_needed(
    gcc: str, tmp_path: Path
) -> None:
    driver = make_stub(gcc, "cuda_driver.c", tmp_path / "d.so", "-DGPUS=1", "-DCUDA=12040")
    with pytest.raises(EngineError, match=r"Tesla T4: .* CUDA 12\.4, 13\.0 is needed; .* 580"):
        usable_gpu(str(driver))


def test_auto_takes_the_cpu_where_there_is_no_gpu_and_has_nothing_to_say() -> None:
    if find_gpu() is not None:
        pytest.skip("this machine has a GPU")
    notes: list[str] = []
    assert resolve_engine("auto", notes.append) == "onnxruntime"
    assert resolve_engine("tensorrt", notes.append) == "tensorrt"
    assert notes == []


def test_tensorrt_without_a_gpu_is_refused_with_the_way_out(
    tmp_path: Path, manifest: ModelManifest
) -> None:
    if find_gpu() is not None:
        pytest.skip("this machine has a GPU")
    cache, _ = a_cache(tmp_path)
    with pytest.raises(EngineError, match=r"pipeline\.stage1\.engine: onnxruntime"):
        open_engine(manifest, "tensorrt", engines=cache)
