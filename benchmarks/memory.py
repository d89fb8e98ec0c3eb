"""Does memory grow with the number of files? `python benchmarks/memory.py --media 1000 100000`.

Runs all stages, in two workers as the assets do, on that many different stills (small real
pictures, told apart by bytes after their end; one in eight holds an animal), each count in fresh
processes, and prints the peak of the memory of the workers and of their decoding process, and
their ratio between the counts.

The default detector takes 40 ms a picture, which makes 100,000 an affair of hours on two cores;
`--model` names a quicker one. Memory that grew with the number of files would not depend on it.
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
from running import run_stages

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
from demo_footage import read

PICTURES = 16  # different pictures that the copies are made of
SIZE = (320, 240)
EMPTY_OF_EIGHT = 7
STEPS = [["footage"], ["detections", "classifications", "observations"]]


def make_footage(folder: Path, count: int) -> None:
    """Small stills of a lawn and now and then a cat, in folders of 5,000 as cameras make them."""
    cat, lawn = (
        cv2.resize(read(name, (1280, 960)), SIZE, interpolation=cv2.INTER_AREA)
        for name in ("chelsea.png", "grass.png")
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


class PeakOfTree(threading.Thread):
    """Watches the resident memory of this process and of its children."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.worker = 0
        self.children = 0

    def run(self) -> None:
        this = psutil.Process()
        while True:
            self.worker = max(self.worker, this.memory_info().rss)
            try:
                children = sum(child.memory_info().rss for child in this.children(recursive=True))
            except psutil.NoSuchProcess:
                continue  # ended while it was counted
            self.children = max(self.children, children)
            time.sleep(0.05)


def measure(footage: Path, output: Path, stages: list[str], model: str | None) -> None:
    """In a fresh process: run some stages, print the peaks as JSON."""
    peaks = PeakOfTree()
    peaks.start()
    overrides = {"models.detector": model, "models.category_detector": None} if model else {}
    results = run_stages(footage, output, stages, overrides)
    told = {"worker": peaks.worker, "decoding": peaks.children}
    if "detections" in results:
        facts = results["detections"].metadata
        told["done"] = facts["media/done"]
        told["boxes"] = sum(facts[f"boxes/{name}"] for name in ("animal", "person", "vehicle"))
    print(json.dumps(told))


def measure_all(count: int, model: str | None) -> dict[str, float]:
    """The peaks over all steps with so many media."""
    peaks: dict[str, float] = {"worker": 0, "decoding": 0}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as output:
        make_footage(Path(folder), count)
        for stages in STEPS:
            command = [sys.executable, __file__, "--measure", folder, output, *stages]
            command += ["--model", model] if model else []
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            told = json.loads(done.stdout)
            for name in ("worker", "decoding"):
                told[name] = max(peaks[name], told[name])
            peaks |= told
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
        told = measure_all(count, arguments.model)
        peaks.append(told["worker"] + told["decoding"])
        print(
            f"{count:8} media  worker {told['worker'] / 2**20:6.0f} MiB  "
            f"decoding {told['decoding'] / 2**20:6.0f} MiB  {told['boxes']:.0f} boxes  "
            f"{told['seconds']:.0f} s",
            flush=True,
        )
    print(f"peak at the last count is {peaks[-1] / peaks[0]:.2f} times that at the first")


if __name__ == "__main__":
    main()
