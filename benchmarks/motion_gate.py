"""The frames that the motion gate saves and loses: `python benchmarks/motion_gate.py`.

Runs the detector on every sampled frame of every clip, and the gate on the same frames. Lost frames
have a box, but the gate skips them.
"""

import argparse
from pathlib import Path

from pipeline_overhead import DEFAULT_FOOTAGE, load_detector

from odins_ravne_assets.munin.detection.decode_process import decode_video
from odins_ravne_assets.munin.detection.detector import Detector
from odins_ravne_assets.munin.detection.frame_sampling import SamplingPlan
from odins_ravne_assets.munin.detection.motion_gate import MotionGate
from odins_ravne_assets.munin.media.media_files import EXPECTED_FORMATS
from resources.errors import MediaError
from resources.settings.loader import load_profile

CLIPS = {".mp4", ".mov", ".avi", ".mkv", ".asf", ".wmv", ".mpg", ".mpeg", ".3gp"}


def judge(path: Path, plan: SamplingPlan, detector: Detector) -> tuple[int, int, int, int]:
    """Count sampled frames, frames that the gate lets through, frames with a box, lost frames."""
    gate = MotionGate()
    frames = processed = with_box = lost = 0
    for frame in decode_video(path, EXPECTED_FORMATS[path.suffix.lower()][0], plan, 2e8):
        boxes = len(detector.detect([frame.picture])[0])
        opens = gate.opens(frame.moved)
        if opens:
            gate.record(boxes)
        frames += 1
        processed += opens
        with_box += boxes > 0
        lost += boxes > 0 and not opens
    return frames, processed, with_box, lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--footage", type=Path, default=DEFAULT_FOOTAGE)
    parser.add_argument("--frames-per-second", type=float, default=1.0)
    parser.add_argument("--motion-threshold", type=float)
    arguments = parser.parse_args()
    stage1 = load_profile("local", environ={}).pipeline.stage1
    threshold = arguments.motion_threshold
    threshold = stage1.motion_threshold if threshold is None else threshold
    plan = SamplingPlan("fps", arguments.frames_per_second, 1, True, threshold)
    detector = load_detector()
    total = [0, 0, 0, 0]
    print(f"{'frames':>7} {'processed':>10} {'with a box':>11} {'lost':>5}  clip")
    for path in sorted(arguments.footage.rglob("*")):
        if path.suffix.lower() not in CLIPS:
            continue
        try:
            row = judge(path, plan, detector)
        except MediaError as error:
            print(f"{'':36} {path.name}: {error}")
            continue
        total = [before + now for before, now in zip(total, row, strict=True)]
        print(f"{row[0]:7} {row[1]:10} {row[2]:11} {row[3]:5}  {path.name}")
    print(f"{total[0]:7} {total[1]:10} {total[2]:11} {total[3]:5}  all")


if __name__ == "__main__":
    main()
