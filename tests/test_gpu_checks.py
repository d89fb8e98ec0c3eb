"""The checks for a GPU, rehearsed without one: their own mistakes must not cost a GPU's time."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gpu_kernels import heads
from gpu_kernels.gpu import find_gpu

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import gpu_check_engines  # noqa: E402
import gpu_check_kernels  # noqa: E402
import gpu_check_pipeline  # noqa: E402
from gpu_bench import Bench, Failed, Told  # noqa: E402
from gpu_checks import CHECKS, run_check  # noqa: E402

REHEARSED = {
    "kernels fit as opencv does",
    "fitting uses the memorys bandwidth",
    "heads are decoded as on the cpu",
    "engines answer as the cpu does",
    "looking ahead is faster than looking in turn",
    "frames stay on the device and are those of the cpu",
    "the pipeline finds the same",
}
NEED_A_GPU = {
    "cubins are loaded",
    "an engine for several gpus answers as its own",
    "a damaged engine is built anew",
    "too little memory halves the batch",
}


def checks(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "gpu_checks.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=110)


def test_every_check_passes_its_rehearsal_or_is_named_as_one_that_needs_a_gpu(
    tmp_path: Path,
) -> None:
    results = BENCHMARKS / "results"
    before = sorted(results.glob("*")) if results.is_dir() else []
    ended = checks("--rehearse", "--footage", str(tmp_path / "none"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told: dict[str, Told] = {}
    for line in ended.stdout.splitlines():
        name, _, content = line[8:].partition(": ")
        told[name.strip()] = json.loads(content)
    assert {name for name, each in told.items() if each["result"] == "passed"} == REHEARSED
    left_out = {name for name, each in told.items() if each.get("why") == "needs a GPU"}
    assert left_out == NEED_A_GPU
    assert "not judged" in told["fitting uses the memorys bandwidth"]["aim"]
    assert told["the pipeline finds the same"]["device"]["pipeline/frames_decoded_by_gpu"] > 0
    assert (sorted(results.glob("*")) if results.is_dir() else []) == before


def test_without_a_gpu_and_without_a_rehearsal_one_line_says_so() -> None:
    if find_gpu() is not None:
        pytest.skip("this machine has a GPU")
    ended = checks()
    assert ended.returncode == 1
    (line,) = [line for line in ended.stderr.splitlines() if not line.startswith("Warp")]
    assert line.startswith("error: no GPU")
    assert ended.stdout == ""


def test_whatever_goes_wrong_in_a_check_is_told_as_its_failure() -> None:
    def breaks(bench: Bench) -> Told:
        raise ZeroDivisionError("of its own")

    told = run_check(breaks, Bench(None, Path(), None))
    assert told == {"result": "FAILED", "why": "ZeroDivisionError: of its own"}


# A check that cannot fail says nothing
