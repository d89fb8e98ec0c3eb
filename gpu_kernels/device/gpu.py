"""Find the GPU of this machine and check that the kernels can run on it.

Queries the CUDA driver API, libcuda.so.1, which is part of the driver:
https://docs.nvidia.com/cuda/cuda-driver-api/
"""

import ctypes
from dataclasses import dataclass
from importlib import import_module

from resources.errors import EngineError

DRIVER_LIBRARY = "libcuda.so.1"
# The CUDA version of the installed TensorRT and kernels (13), in the driver's notation: 13.0.
MIN_CUDA = 13000
MIN_DRIVER = "580"  # the first driver that supports CUDA 13
# cuDeviceGetAttribute
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
NAME_BYTES = 256


@dataclass(frozen=True)
class Gpu:
    """The first GPU."""

    name: str
    arch: str  # compute capability, as sm_75
    memory: int  # bytes
    cuda: int  # newest CUDA that the driver supports: 1000 * major + 10 * minor

    @property
    def cuda_version(self) -> str:
        return f"{self.cuda // 1000}.{self.cuda % 1000 // 10}"


def find_gpu(driver: str = DRIVER_LIBRARY) -> Gpu | None:
    """Return the first GPU; None without a driver, or without a GPU visible to this process.

    Args:
        driver: the driver's library.
    """
    try:
        cuda = ctypes.CDLL(driver)
    except OSError:
        return None
    count, device = ctypes.c_int(), ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return None
    if cuda.cuDeviceGet(ctypes.byref(device), 0):
        return None
    name = ctypes.create_string_buffer(NAME_BYTES)
    memory = ctypes.c_size_t()
    version = ctypes.c_int()
    cuda.cuDeviceGetName(name, NAME_BYTES, device)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    cuda.cuDriverGetVersion(ctypes.byref(version))
    major, minor = (_attribute(cuda, each, device) for each in (CAPABILITY_MAJOR, CAPABILITY_MINOR))
    decoded = name.value.decode("utf-8", "replace")
    return Gpu(decoded, f"sm_{major}{minor}", memory.value, version.value)


def _attribute(cuda: ctypes.CDLL, attribute: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
    return value.value


def usable_gpu(driver: str = DRIVER_LIBRARY) -> Gpu:
    """Return the first GPU.

    Raises:
        EngineError: there is none, its driver is too old, or Warp is not installed.
    """
    gpu = find_gpu(driver)
    if gpu is None:
        raise EngineError(
            "no GPU: the NVIDIA driver finds none (nvidia-smi must list it, and a container needs "
            "access to it); set pipeline.stage1.engine: onnxruntime to run on the CPU"
        )
    if gpu.cuda < MIN_CUDA:
        raise EngineError(
            f"{gpu.name}: its driver supports CUDA {gpu.cuda_version}, {MIN_CUDA // 1000}.0 is "
            f"needed; install driver {MIN_DRIVER} or newer, or set pipeline.stage1.engine: "
            "onnxruntime to run on the CPU"
        )
    try:
        import_module("warp")
    except ImportError:
        raise EngineError(
            "Warp, which runs the kernels on the GPU, is not installed; pip install "
            "'odins-ravne[gpu]', or set pipeline.stage1.engine: onnxruntime to run on the CPU"
        ) from None
    return gpu
