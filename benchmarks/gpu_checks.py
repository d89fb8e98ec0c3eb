"""Every check that needs a GPU: `python benchmarks/gpu_checks.py`.

Runs them one after the other on the first GPU, goes on after one that fails, prints a line for
each, and keeps all in `benchmarks/results/gpu-NAME.json` with the GPU's name. Exit code 1 if any
failed, or if there is no GPU. `--footage` names real media; without it pictures and a clip are made
here. On a GPU that TensorRT does not know the network is computed by the CPU and all around it on
the GPU, and what needs TensorRT is left out.

`--rehearse` needs no GPU: the same checks with the CPU for the device and smaller sizes, so that
their own mistakes are found before a GPU is paid for. It keeps nothing, judges no speed, and says
which checks need a GPU.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import gpu_check_engines
import gpu_check_kernels
import gpu_check_pipeline
from gpu_bench import Bench, CheckFailedError, CheckResult, CheckSkippedError

from gpu_kernels.device.gpu import Gpu, usable_gpu
from gpu_kernels.device.streams import load_kernels
from gpu_kernels.engines.tensorrt_api import find_tensorrt
from gpu_kernels.engines.tensorrt_build import check_archs
from resources.errors import EngineError, RavneError

RESULTS = Path(__file__).parent / "results"
DEFAULT_FOOTAGE = Path(__file__).parent.parent.parent / "shared" / "footage"
Check = Callable[[Bench], CheckResult]
CHECKS: list[Check] = [
    *gpu_check_kernels.CHECKS,
    *gpu_check_engines.CHECKS,
    *gpu_check_pipeline.CHECKS,
]


def run_check(check: Check, bench: Bench) -> CheckResult:
    """What a check told, or why it failed; whatever goes wrong, the others are run too."""
    try:
        return {"result": "passed", **check(bench)}
    except CheckSkippedError as why:
        return {"result": "left out", "why": str(why)}
    except CheckFailedError as why:
        return {"result": "FAILED", "why": str(why)}
    except Exception as error:  # noqa: BLE001 (of CUDA, TensorRT, FFmpeg: a GPU is not lent twice)
        return {"result": "FAILED", "why": f"{type(error).__name__}: {error}"}


def run_all(bench: Bench) -> dict[str, CheckResult]:
    """What each check told, by its name. It is printed and, on a GPU, kept as each ends: CUDA can
    take the process with it."""
    told: dict[str, CheckResult] = {}
    for check in CHECKS:
        name, started = check.__name__.replace("_", " "), time.perf_counter()
        told[name] = run_check(check, bench)
        told[name]["took_seconds"] = round(time.perf_counter() - started, 1)
        print(f"{told[name]['result']:8} {name}: {json.dumps(told[name])}", flush=True)
        if bench.gpu:
            keep(bench.gpu, told)
    return told


def why_no_tensorrt(gpu: Gpu) -> str | None:
    """Why TensorRT cannot run on this GPU."""
    try:
        check_archs(find_tensorrt(), gpu.arch)
    except EngineError as error:
        return str(error)
    return None


def kept_of(gpu: Gpu) -> Path:
    """Where the results of a GPU are."""
    return RESULTS / f"gpu-{gpu.name.replace(' ', '-').lower()}.json"


def keep(gpu: Gpu, told: dict[str, CheckResult]) -> None:
    """Write the results of a GPU."""
    RESULTS.mkdir(exist_ok=True)
    about = {"gpu": gpu.name, "arch": gpu.arch, "driver_cuda": gpu.cuda_shown, "checks": told}
    kept_of(gpu).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--footage", type=Path, default=DEFAULT_FOOTAGE, help="real media")
    parser.add_argument("--rehearse", action="store_true", help="without a GPU, as far as it goes")
    arguments = parser.parse_args()
    try:
        gpu = None if arguments.rehearse else usable_gpu()
    except RavneError as error:
        sys.exit(f"error: {error}")
    with tempfile.TemporaryDirectory() as folder:
        footage = arguments.footage if arguments.footage.is_dir() else None
        bench = Bench(gpu, Path(folder), footage, why_no_tensorrt(gpu) if gpu else None)
        load_kernels(bench.device)
        told = run_all(bench)
    if gpu:
        print(f"kept in {kept_of(gpu)}")
    sys.exit(any(each["result"] == "FAILED" for each in told.values()))


if __name__ == "__main__":
    main()
