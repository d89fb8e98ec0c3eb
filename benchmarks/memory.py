"""Memory by the number of files: `python benchmarks/memory.py --media 1000 100000`.

Runs all stages, in two workers as the assets do, on that many different stills (small real
pictures with different bytes after their end; one in eight has an animal), each count in new
processes. Prints the peak memory of the workers and of their decoding process, and the ratio
between the counts.

The default detector takes 40 ms a picture, so 100,000 take hours on two cores; `--model` names a
faster one. The growth of memory does not depend on the model.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import psutil
from stage_runner import run_stages

sys.path.insert(0, str(Path(__file__).parent.parent))
from odins_ravne_assets.demo.footage import read_sample

PICTURES = 16  # different pictures, which are copied
SIZE = (320, 240)
EMPTY_OF_EIGHT = 7
STEPS = [["footage"], ["detections", "classifications", "observations"]]


def make_footage(folder: Path, count: int) -> None:
    """Write small stills of a lawn, some with a cat, in folders of 5,000 as cameras do."""
    cat, lawn = (
        cv2.resize(read_sample(name, (1280, 960)), SIZE, interpolation=cv2.INTER_AREA)
        for name in ("cat", "grass")
    )
    originals = []
    for number in range(PICTURES):
        picture = lawn if number % 8 < EMPTY_OF_EIGHT else cat
        originals.append(cv2.imencode(".jpg", np.roll(picture, 4 * number, axis=1))[1].tobytes())
    for number in range(count):
        below = folder / f"{100 + number // 5000}MEDIA"
        below.mkdir(parents=True, exist_ok=True)
        name = (
            f"2026-05-{number % 28 + 1:02d} {number // 28 % 24:02d}-{number % 60:02d}-00 {number}"
        )
        data = originals[number % PICTURES] + number.to_bytes(8, "little")
        (below / f"{name}.jpg").write_bytes(data)


class PeakMemory:
    """Samples the resident memory of this process and of its children."""

    def __init__(self) -> None:
        self.worker = 0
        self.children = 0

    def start(self) -> None:
        """Sample in a thread, until this process exits."""
        threading.Thread(target=self._sample, daemon=True).start()

    def _sample(self) -> None:
        this = psutil.Process()
        while True:
            self.worker = max(self.worker, this.memory_info().rss)
            try:
                children = sum(child.memory_info().rss for child in this.children(recursive=True))
            except psutil.NoSuchProcess:
                continue  # it exited meanwhile
            self.children = max(self.children, children)
            time.sleep(0.05)


def measure(footage: Path, output: Path, stages: list[str], model: str | None) -> None:
    """Run some stages in this process, and print the peaks as JSON."""
    peaks = PeakMemory()
    peaks.start()
    overrides = {"models.detector": model} if model else {}
    results = run_stages(footage, output, stages, overrides)
    result = {"worker": peaks.worker, "decoding": peaks.children}
    if "detections" in results:
        metadata = results["detections"].metadata
        result["done"] = metadata["media/done"]
        result["boxes"] = sum(metadata[f"boxes/{name}"] for name in ("animal", "person", "vehicle"))
    print(json.dumps(result))


def measure_all(count: int, model: str | None) -> dict[str, float]:
    """Return the peaks over all steps with this many media."""
    peaks: dict[str, float] = {"worker": 0, "decoding": 0}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as output:
        make_footage(Path(folder), count)
        for stages in STEPS:
            command = [sys.executable, __file__, "--measure", folder, output, *stages]
            command += ["--model", model] if model else []
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            result = json.loads(done.stdout)
            for name in ("worker", "decoding"):
                result[name] = max(peaks[name], result[name])
            peaks |= result
    assert peaks["done"] == count, peaks
    return peaks | {"seconds": time.monotonic() - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--media", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--model", help="a detector's name or manifest; default: the profile's")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        footage, output, *stages = arguments.measure
        measure(Path(footage), Path(output), stages, arguments.model)
        return
    peaks = []
    for count in arguments.media:
        result = measure_all(count, arguments.model)
        peaks.append(result["worker"] + result["decoding"])
        print(
            f"{count:8} media  worker {result['worker'] / 2**20:6.0f} MiB  "
            f"decoding {result['decoding'] / 2**20:6.0f} MiB  {result['boxes']:.0f} boxes  "
            f"{result['seconds']:.0f} s",
            flush=True,
        )
    print(f"peak at the last count is {peaks[-1] / peaks[0]:.2f} times that at the first")


if __name__ == "__main__":
    main()
