"""Run all checks that need a GPU: `python benchmarks/gpu_checks.py`.

Runs them in sequence on the first GPU, continues after failures, prints a line for each, and writes
all results to `benchmarks/results/gpu-NAME.json`, or `--out FILE`, with the GPU's name. The exit
code is 1 if any failed, or if there is no GPU. `--footage` is a folder of real media; without it
pictures and a clip are generated. On a GPU that TensorRT does not support the CPU computes the
network and the GPU does all other work; checks that need TensorRT are skipped.

The file is written before and after each check, so that a process that is killed, or that CUDA
ends, loses nothing but the check in progress, which the file names. `--continue` keeps the results
of the file, counts that check as failed, and runs the others.

`--rehearse` needs no GPU: it runs the same checks with the CPU as the device and smaller sizes, to
find errors in the checks themselves. It writes no results unless `--out` names a file, does not
judge speed, and lists the checks that need a GPU.

Runs from a checkout, without an installation of the project: `tools/carry_wheels.py` writes what it
needs for a machine without a network.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import checkout  # noqa: F401 (first)
import gpu_check_engines
import gpu_check_kernels
import gpu_check_pipeline
from gpu_bench import Bench, CheckFailedError, CheckResult, CheckSkippedError

from gpu_kernels.device.gpu import Gpu, usable_gpu
from gpu_kernels.device.streams import load_kernels
from gpu_kernels.engines.engine import GPU_KINDS
from gpu_kernels.engines.tensorrt_api import TensorRtKind, find_tensorrt
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


def run_all(
    bench: Bench, out: Path | None, finished: dict[str, CheckResult]
) -> dict[str, CheckResult]:
    """Run all checks, and return the results by name.

    Prints and saves each result at once: CUDA can crash the process.

    Args:
        out: file of the results.
        finished: results of an earlier process, whose checks are not repeated.
    """
    results = dict(finished)
    for check in CHECKS:
        name, started = check.__name__.replace("_", " "), time.perf_counter()
        if name in finished:
            continue
        save_results(out, bench.gpu, results, running=name)
        result = run_check(check, bench)
        result["took_seconds"] = round(time.perf_counter() - started, 1)
        results[name] = result
        print(f"{result['result']:8} {name}: {json.dumps(result)}", flush=True)
        save_results(out, bench.gpu, results)
    return results


def read_results(out: Path) -> dict[str, CheckResult]:
    """Return the results of an earlier process; the check that ended it has failed."""
    if not out.is_file():
        return {}
    content = json.loads(out.read_text(encoding="utf-8"))
    results: dict[str, CheckResult] = content["checks"]
    if name := content["running"]:
        results[name] = {"result": "FAILED", "reason": "the process ended during this check"}
    return results


def find_tensorrt_errors(gpu: Gpu) -> dict[TensorRtKind, str]:
    """Return the reason for each kind of TensorRT that cannot run on this GPU."""
    errors: dict[TensorRtKind, str] = {}
    for kind in GPU_KINDS:
        try:
            check_archs(find_tensorrt(kind), gpu.arch)
        except EngineError as error:
            errors[kind] = str(error)
    return errors


def results_path(gpu: Gpu) -> Path:
    """Return the path of a GPU's results."""
    return RESULTS / f"gpu-{gpu.name.replace(' ', '-').lower()}.json"


def save_results(
    out: Path | None, gpu: Gpu | None, results: dict[str, CheckResult], running: str | None = None
) -> None:
    """Write the results of a GPU, atomically.

    Args:
        gpu: None: a rehearsal.
        running: the check in progress.
    """
    if out is None:
        return
    facts = (
        {"gpu": gpu.name, "arch": gpu.arch, "driver_cuda": gpu.cuda_version}
        if gpu
        else {"gpu": None, "rehearsal": True}
    )
    content = {**facts, "running": running, "checks": results}
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f"{out.name}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--footage", type=Path, default=DEFAULT_FOOTAGE, help="folder of real media"
    )
    parser.add_argument("--rehearse", action="store_true", help="run on the CPU, without a GPU")
    parser.add_argument("--out", type=Path, help="file of the results")
    parser.add_argument(
        "--continue", dest="resume", action="store_true", help="keep the results of the file"
    )
    arguments = parser.parse_args()
    try:
        gpu = None if arguments.rehearse else usable_gpu()
    except RavneError as error:
        sys.exit(f"error: {error}")
    out = arguments.out or (results_path(gpu) if gpu else None)
    finished = read_results(out) if out and arguments.resume else {}
    with tempfile.TemporaryDirectory() as folder:
        footage = arguments.footage if arguments.footage.is_dir() else None
        bench = Bench(gpu, Path(folder), footage, find_tensorrt_errors(gpu) if gpu else {})
        load_kernels(bench.device)
        results = run_all(bench, out, finished)
    if out:
        print(f"saved to {out}")
    sys.exit(any(each["result"] == "FAILED" for each in results.values()))


if __name__ == "__main__":
    main()
