"""Kernels compiled ahead of time, so that a GPU's first batch does not wait for a compiler.

A cubin is for one architecture. They are made without a GPU (`gpu_kernels.ahead_of_time`) and lie
in the package, `gpu_kernels/device/cubins/`; the worker's image has them, a checkout has none.
Their names hold a hash of the kernels' source: those of an older source are not found, and the
kernels are compiled when they are first used, and cached by Warp.
"""

from pathlib import Path
from typing import Any

import warp as wp

from gpu_kernels.device import head_kernels, picture_kernels

CUBINS_FOLDER = Path(__file__).parent / "cubins"


KERNEL_MODULES = (picture_kernels, head_kernels)


def compile_cubins(arch: str, folder: Path = CUBINS_FOLDER) -> list[Path]:
    """Compile the kernels for an architecture, as sm_75. Returns the files."""
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
    """Use the cubins for a GPU, if there are any of these very kernels."""
    if not device.is_cuda or not any(folder.glob(f"*sm{device.arch}.cubin")):
        return False
    try:
        for module in KERNEL_MODULES:
            wp.load_aot_module(
                module, device=device, arch=device.arch, module_dir=folder, use_ptx=False,
                strip_hash=False,
            )  # fmt: skip
    except FileNotFoundError:  # of an older source
        return False
    return True
