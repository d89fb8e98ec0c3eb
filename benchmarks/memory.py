"""Does memory grow with the number of files? `python benchmarks/memory.py --media 1000 100000`.

Runs all stages, as a worker does, on that many different stills (small real pictures, told apart
by bytes after their end), each count in a fresh process, and prints the peak of the memory of the
worker and of its decoding process, and their ratio between the counts.

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
ALL = ["footage", "detections", "classifications", "observations"]


def make_footage(folder: Path, count: int) -> None:
    """Small stills of a cat, in folders of 5,000 as cameras make them."""
    cat = cv2.resize(read("chelsea.png", (1280, 960)), SIZE, interpolation=cv2.INTER_AREA)
    originals = [
        cv2.imencode(".jpg", np.roll(cat, 4 * number, axis=1))[1].tobytes()
        for number in range(PICTURES)
    ]
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


def measure(footage: Path, model: str | None) -> None:
    """In a fresh process: run everything, print the peaks as JSON."""
    peaks = PeakOfTree()
    peaks.start()
    started = time.monotonic()
    overrides = {"models.detector": model, "models.category_detector": None} if model else {}
    with tempfile.TemporaryDirectory() as output:
        results = run_stages(footage, Path(output), ALL, overrides)
        facts = results["detections"].facts
    told = {
        "worker": peaks.worker,
        "decoding": peaks.children,
        "seconds": time.monotonic() - started,
        "done": facts["media/done"],
        "boxes": sum(facts[f"boxes/{name}"] for name in ("animal", "person", "vehicle")),
    }
    print(json.dumps(told))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--media", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--model", help="a detector's name or manifest; default: the profile's")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure, arguments.model)
        return
    peaks = []
    for count in arguments.media:
        with tempfile.TemporaryDirectory() as folder:
            make_footage(Path(folder), count)
            command = [sys.executable, __file__, "--measure", folder]
            command += ["--model", arguments.model] if arguments.model else []
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        told = json.loads(done.stdout)
        assert told["done"] == count, told
        peaks.append(told["worker"] + told["decoding"])
        print(
            f"{count:8} media  worker {told['worker'] / 2**20:6.0f} MiB  "
            f"decoding {told['decoding'] / 2**20:6.0f} MiB  {told['boxes']} boxes  "
            f"{told['seconds']:.0f} s",
            flush=True,
        )
    print(f"peak at the last count is {peaks[-1] / peaks[0]:.2f} times that at the first")


if __name__ == "__main__":
    main()
