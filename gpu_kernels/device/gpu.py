"""The GPU of this machine, as its driver describes it, and whether our kernels can run on it.

Asked through the CUDA driver API, libcuda.so.1, which comes with the driver:
https://docs.nvidia.com/cuda/cuda-driver-api/
"""

import ctypes
from dataclasses import dataclass
from importlib import import_module

from resources.errors import EngineError

DRIVER_LIBRARY = "libcuda.so.1"
# What the installed TensorRT and kernels are made for (CUDA 13), as the driver counts: 13.0.
MIN_CUDA = 13000
MIN_DRIVER = "580"  # the first driver that knows CUDA 13
# cuDeviceGetAttribute
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
NAME_BYTES = 256


@dataclass(frozen=True)
class Gpu:
    """The first GPU."""

    name: str
    arch: str  # compute capability, as sm_75
    memory: int  # bytes
    cuda: int  # newest CUDA that the driver knows: 1000 * major + 10 * minor

    @property
    def cuda_shown(self) -> str:
        return f"{self.cuda // 1000}.{self.cuda % 1000 // 10}"


def find_gpu(driver: str = DRIVER_LIBRARY) -> Gpu | None:
    """The first GPU; None when there is no driver, or no GPU that it may use.

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
    shown = name.value.decode("utf-8", "replace")
    return Gpu(shown, f"sm_{major}{minor}", memory.value, version.value)


def _attribute(cuda: ctypes.CDLL, attribute: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
    return value.value


def usable_gpu(driver: str = DRIVER_LIBRARY) -> Gpu:
    """The first GPU.

    Raises:
        EngineError: there is none, its driver is too old, or Warp is not installed.
    """
    gpu = find_gpu(driver)
    if gpu is None:
        raise EngineError(
            "no GPU: the NVIDIA driver finds none here (nvidia-smi must list it, and a container "
            "must be given it); set pipeline.stage1.engine: onnxruntime to run on the CPU"
        )
    if gpu.cuda < MIN_CUDA:
        raise EngineError(
            f"{gpu.name}: its driver knows CUDA {gpu.cuda_shown}, {MIN_CUDA // 1000}.0 is "
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
