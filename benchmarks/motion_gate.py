"""What the motion gate saves and what it loses: `python benchmarks/motion_gate.py`.

Looks at every sampled frame of every clip, and then asks the gate which of them it would have
looked at. Lost are frames that hold a box and would not have been looked at.
"""

import argparse
from pathlib import Path

from pipeline_overhead import DEFAULT_FOOTAGE, load_detector

from odins_ravne_assets.munin.detection.decode_process import decode_video
from odins_ravne_assets.munin.detection.detector import Detector
from odins_ravne_assets.munin.detection.frame_sampling import SamplingPlan
from odins_ravne_assets.munin.detection.motion_gate import MotionGate
from resources.errors import MediaError
from resources.settings.loader import load_profile

CLIPS = {".mp4", ".mov", ".avi", ".mkv", ".asf", ".wmv", ".mpg", ".mpeg", ".3gp"}


def judge(path: Path, plan: SamplingPlan, detector: Detector) -> tuple[int, int, int, int]:
    """Sampled frames, frames the gate looks at, frames with a box, and of these the lost ones."""
    gate = MotionGate()
    frames = looked_at = with_box = lost = 0
    for frame in decode_video(path, plan, 2e8):
        boxes = len(detector.find([frame.picture])[0])
        look = gate.look(frame.moved)
        if look:
            gate.seen(boxes)
        frames += 1
        looked_at += look
        with_box += boxes > 0
        lost += boxes > 0 and not look
    return frames, looked_at, with_box, lost


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
    print(f"{'frames':>7} {'looked at':>10} {'with a box':>11} {'lost':>5}  clip")
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
