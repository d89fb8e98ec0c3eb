"""Compile kernels ahead of time (cubins), so that a GPU's first batch does not wait for it.

A cubin is for one architecture. Cubins are built without a GPU (`gpu_kernels.ahead_of_time`) and
stored in the package, in `gpu_kernels/device/cubins/`; the worker's image contains them, a checkout
does not. Their names contain a hash of the kernels' source: cubins of another source are ignored,
and Warp compiles the kernels on first use and caches them.
"""

from pathlib import Path
from typing import Any

import warp as wp

from gpu_kernels.device import head_kernels, picture_kernels

CUBINS_FOLDER = Path(__file__).parent / "cubins"


KERNEL_MODULES = (picture_kernels, head_kernels)


def compile_cubins(arch: str, folder: Path = CUBINS_FOLDER) -> list[Path]:
    """Compile the kernels for an architecture such as sm_75, and return the files."""
    wp.config.log_level = wp.LOG_WARNING
    folder.mkdir(parents=True, exist_ok=True)
    number = int(arch.removeprefix("sm_"))
    files: list[Path] = []
    for module in KERNEL_MODULES:
        files += wp.compile_aot_module(
            module, device=None, arch=number, module_dir=folder, use_ptx=False, strip_hash=False
        )
    return files


def load_cubins(device: Any, folder: Path = CUBINS_FOLDER) -> bool:
    """Load the cubins for a GPU. Return False if there are none of this source."""
    if not device.is_cuda or not any(folder.glob(f"*sm{device.arch}.cubin")):
        return False
    try:
        for module in KERNEL_MODULES:
            wp.load_aot_module(
                module, device=device, arch=device.arch, module_dir=folder, use_ptx=False,
                strip_hash=False,
            )  # fmt: skip
    except FileNotFoundError:  # cubins of another source
        return False
    return True
