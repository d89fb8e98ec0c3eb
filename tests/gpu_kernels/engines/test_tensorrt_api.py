"""The names of TensorRT's API that the code uses exist in TensorRT 10, 11 and TensorRT-RTX.

The names are looked up in the real bindings of 10 and 11, with stubs for their libraries.
"""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from paths import ROOT
from stub_libraries import gcc, make_stub

from gpu_kernels.engines.tensorrt_api import (
    TENSORRT_MODULES,
    NotInstalledError,
    TensorRt,
    find_tensorrt,
    installed_tensorrts,
)
from resources.errors import EngineError

__all__ = ["gcc"]  # pytest finds fixtures by their names


MODULES = [
    "runtime_cache",
    "tensorrt_api",
    "tensorrt_buffers",
    "tensorrt_build",
    "tensorrt_engine",
    "tensorrt_slot",
]


LIBRARIES = ["libnvinfer", "libnvinfer_plugin", "libnvonnxparser"]


# Folders of TensorRT's bindings, installed by `make test`; both have the same module name.
BINDINGS = {version: Path(sys.prefix) / f"tensorrt-{version}" for version in (10, 11)}


# The names of TensorRT that the code uses, by class; "" is the module.
API = {
    "": ["Builder", "DataType", "HardwareCompatibilityLevel", "ILogger",
         "NetworkDefinitionCreationFlag", "OnnxParser", "Runtime", "TensorIOMode", "__version__"],
    "Builder": ["build_serialized_network", "create_builder_config", "create_network",
                "create_optimization_profile"],
    "DataType": ["FLOAT", "HALF", "INT32", "INT64", "UINT8"],
    "HardwareCompatibilityLevel": ["AMPERE_PLUS"],
    "IBuilderConfig": ["add_optimization_profile", "create_timing_cache",
                       "hardware_compatibility_level", "set_timing_cache"],
    "ICudaEngine": ["create_execution_context", "get_tensor_dtype", "get_tensor_mode",
                    "get_tensor_name", "get_tensor_shape", "num_io_tensors"],
    "IExecutionContext": ["execute_async_v3", "get_tensor_shape", "set_input_shape",
                          "set_tensor_address"],
    "ILogger": ["ERROR", "INTERNAL_ERROR", "log"],
    "INetworkDefinition": ["get_input", "get_output", "num_inputs", "num_outputs",
                           "unmark_output"],
    "IOptimizationProfile": ["set_shape"],
    "ITensor": ["dtype", "name", "shape"],
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
def version(request: pytest.FixtureRequest) -> int:
    """The major version of installed bindings of a full TensorRT."""
    if not BINDINGS[request.param].is_dir():
        pytest.skip(f"TensorRT's bindings are not at {BINDINGS[request.param].name}; run make test")
    return int(request.param)


@pytest.fixture(scope="module")
def stubs(version: int, gcc: str, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Stubs of the libraries that the bindings load."""
    folder = tmp_path_factory.mktemp("stubs")
    names = [f"{library}.so.{version}" for library in LIBRARIES]
    return [make_stub(gcc, "tensorrt.c", folder / n, f"-Wl,-soname,{n}") for n in names]


@pytest.fixture(scope="module")
def bindings(version: int, stubs: list[Path]) -> dict[str, set[str]]:
    """Return every name of the real bindings, by class."""
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


def test_a_builder_without_a_gpu_raises_the_error_that_is_caught(
    bindings: dict[str, set[str]],
) -> None:
    assert bindings["without a GPU"] == {"TypeError"}


# The libraries are loaded as NVIDIA's package of them does.
BOTH_KINDS = """
import ctypes, sys
for library in sys.argv[1:]:
    ctypes.CDLL(library)
from gpu_kernels.engines.tensorrt_api import installed_tensorrts
from gpu_kernels.engines.tensorrt_build import BatchSizes, build_engine
from gpu_kernels.models.manifest import load_manifest
from resources.errors import EngineError
full, rtx = installed_tensorrts()
print(full.version, "and", rtx.version)
manifest = load_manifest("ssd-mobilenet-v2-cam16")
try:
    build_engine(manifest, full, "sm_75", BatchSizes())
except EngineError as error:
    print(error)
print(len(build_engine(manifest, rtx, "sm_75", BatchSizes()).plan))
"""


def test_the_full_tensorrt_comes_first_and_tensorrt_rtx_still_builds_in_the_same_process(
    version: int, stubs: list[Path]
) -> None:
    """They export the same symbols, and have classes of the same names.

    As installed with TENSORRT_INDEX: packages of bindings and libraries, without `tensorrt`.
    """
    path = os.pathsep.join([str(BINDINGS[version]), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", BOTH_KINDS, *map(str, stubs)],
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    kinds, refused, size = done.stdout.splitlines()
    assert kinds.startswith(f"tensorrt {version}.") and " and tensorrt-rtx 1." in kinds
    assert "cannot build its engine: it finds no GPU" in refused
    assert int(size) > 10_000_000


class FakeModule(ModuleType):
    """A module `tensorrt` of some version."""

    def __init__(self, version: str) -> None:
        super().__init__("tensorrt")
        self.__version__ = version


def test_a_full_tensorrt_that_is_too_old_is_refused_and_not_hidden_by_rtx(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", FakeModule("10.11.0.33"))
    with pytest.raises(
        EngineError, match=r"tensorrt 10\.11\.0\.33 is too old; install TensorRT 10"
    ):
        find_tensorrt("tensorrt")
    assert [each.kind for each in installed_tensorrts()] == ["tensorrt-rtx"]


def test_a_kind_that_is_not_installed_is_named_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for names in TENSORRT_MODULES.values():
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)  # its import raises ImportError
    for kind in TENSORRT_MODULES:
        with pytest.raises(NotInstalledError, match=rf"^{kind} is not installed; .*docs/gpu\.md"):
            find_tensorrt(kind)
    with pytest.raises(NotInstalledError):
        installed_tensorrts()


@pytest.fixture(scope="module")
def rtx() -> TensorRt:
    found = find_tensorrt("tensorrt-rtx")
    assert found.rtx and found.api.__name__ in TENSORRT_MODULES["tensorrt-rtx"]
    return found


def test_tensorrt_rtx_has_every_name_that_is_used(rtx: TensorRt) -> None:
    for names_of in (API, RTX_API):
        for cls, names in names_of.items():
            owner = getattr(rtx.api, cls) if cls else rtx.api
            assert {name for name in names if not hasattr(owner, name)} == set(), cls


def attributes_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr":
            yield str(getattr(node.args[1], "value", ""))


def test_the_tables_contain_every_name_of_tensorrt_that_is_used(rtx: TensorRt) -> None:
    classes = [each for each in vars(rtx.api).values() if isinstance(each, type)]
    of_tensorrt = {each.__name__ for each in classes} | {n for each in classes for n in dir(each)}
    # Names that Warp, numpy, ONNX or Python have, too.
    others = {"clear", "append", "count", "extend", "get", "items", "name", "partition", "shape",
              "dtype", "numpy", "size", "start", "stride", "kind"}  # fmt: skip
    used = {
        name
        for module in MODULES
        for name in attributes_of(ROOT / "gpu_kernels" / "engines" / f"{module}.py")
    }
    looked_up = {name for table in (API, RTX_API) for names in table.values() for name in names}
    of_other_things = others | {name for name in used if name.startswith("_")}
    assert (used & of_tensorrt) - looked_up - of_other_things == set()


def test_an_unsupported_gpu_is_refused_with_the_supported_ones(rtx: TensorRt) -> None:
    with pytest.raises(EngineError, match=r"does not support GPUs sm_60; it supports sm_75"):
        rtx.compute_capability("sm_60")
    with pytest.raises(EngineError, match="CURRENT"):
        rtx.compute_capability("CURRENT")
