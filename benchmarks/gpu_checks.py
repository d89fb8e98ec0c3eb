"""Run all checks that need a GPU: `python benchmarks/gpu_checks.py`.

Runs them in sequence on the first GPU, continues after failures, prints a line for each, and writes
all results to `benchmarks/results/gpu-NAME.json`, with the GPU's name. The exit code is 1 if any
failed, or if there is no GPU. `--footage` is a folder of real media; without it pictures and a clip
are generated. On a GPU that TensorRT does not support the CPU computes the network and the GPU does
all other work; checks that need TensorRT are skipped.

`--rehearse` needs no GPU: it runs the same checks with the CPU as the device and smaller sizes, to
find errors in the checks themselves. It writes no results, does not judge speed, and lists the
checks that need a GPU.
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
    """Run a check, and return its result or its failure; no exception ends the run."""
    try:
        return {"result": "passed", **check(bench)}
    except CheckSkippedError as error:
        return {"result": "skipped", "reason": str(error)}
    except CheckFailedError as error:
        return {"result": "FAILED", "reason": str(error)}
    except Exception as error:  # noqa: BLE001 (of CUDA, TensorRT, FFmpeg)
        return {"result": "FAILED", "reason": f"{type(error).__name__}: {error}"}


def run_all(bench: Bench) -> dict[str, CheckResult]:
    """Run all checks, and return the results by name.

    Prints and, on a GPU, saves each result at once: CUDA can crash the process.
    """
    results: dict[str, CheckResult] = {}
    for check in CHECKS:
        name, started = check.__name__.replace("_", " "), time.perf_counter()
        result = run_check(check, bench)
        result["took_seconds"] = round(time.perf_counter() - started, 1)
        results[name] = result
        print(f"{result['result']:8} {name}: {json.dumps(result)}", flush=True)
        if bench.gpu:
            save_results(bench.gpu, results)
    return results


def find_tensorrt_error(gpu: Gpu) -> str | None:
    """Return the reason if TensorRT cannot run on this GPU."""
    try:
        check_archs(find_tensorrt(), gpu.arch)
    except EngineError as error:
        return str(error)
    return None


def results_path(gpu: Gpu) -> Path:
    """Return the path of a GPU's results."""
    return RESULTS / f"gpu-{gpu.name.replace(' ', '-').lower()}.json"


def save_results(gpu: Gpu, results: dict[str, CheckResult]) -> None:
    """Write the results of a GPU."""
    RESULTS.mkdir(exist_ok=True)
    content = {
        "gpu": gpu.name, "arch": gpu.arch, "driver_cuda": gpu.cuda_version, "checks": results
    }  # fmt: skip
    results_path(gpu).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--footage", type=Path, default=DEFAULT_FOOTAGE, help="folder of real media"
    )
    parser.add_argument("--rehearse", action="store_true", help="run on the CPU, without a GPU")
    arguments = parser.parse_args()
    try:
        gpu = None if arguments.rehearse else usable_gpu()
    except RavneError as error:
        sys.exit(f"error: {error}")
    with tempfile.TemporaryDirectory() as folder:
        footage = arguments.footage if arguments.footage.is_dir() else None
        bench = Bench(gpu, Path(folder), footage, find_tensorrt_error(gpu) if gpu else None)
        load_kernels(bench.device)
        results = run_all(bench)
    if gpu:
        print(f"saved to {results_path(gpu)}")
    sys.exit(any(each["result"] == "FAILED" for each in results.values()))


if __name__ == "__main__":
    main()
