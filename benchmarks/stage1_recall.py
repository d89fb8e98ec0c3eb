"""What detectors find on labelled media: `python benchmarks/stage1_recall.py`.

Runs Stages 0 to 3 on a folder with `labels.csv` (path, category, light, ...), for each detector or
ensemble, and prints, by light:

- stills on which a box of an animal overlaps an animal by 0.3 (intersection over union) with the
  boxes of `stage1_boxes.csv`, drawn by hand;
- stills in a visit of an animal;
- wrong boxes: of any category, with less overlap with every animal;
- empty pictures (`empty_pictures.py`) with a visit;
- the CPU time of Stages 0 and 1 without decoding, as a ratio to the first detector of the run.
"""

import argparse
import csv
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from typing import Any

from empty_pictures import Corners, write_empty_pictures
from stage_runner import run_stages

from resources.storage.layout import DETECTIONS_TABLE, OBSERVATIONS_TABLE
from resources.storage.parquet_files import read_parquet

DEFAULT_FOOTAGE = Path(__file__).parent.parent.parent / "shared" / "footage"
DEFAULT_BOXES = Path(__file__).parent / "stage1_boxes.csv"
DEFAULT_DETECTORS = ["megadetector-lite", "lite-ensemble"]
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"}
STAGES = ["footage", "detections", "classifications", "observations"]
MIN_OVERLAP = 0.3


@dataclass(frozen=True)
class Labels:
    """The labels of a folder, by path."""

    light: Mapping[str, str]
    category: Mapping[str, str]
    animals: Mapping[str, Sequence[Corners]]  # of stills

    @property
    def animal_stills(self) -> list[str]:
        return [path for path in self.animals if self.category.get(path) == "animal"]

    def media(self, category: str, stills: bool) -> list[str]:
        """Return the stills, or the clips, of a category."""
        return [
            path
            for path, own in self.category.items()
            if own == category and (Path(path).suffix.lower() in PICTURES) == stills
        ]


@dataclass
class Found:
    """What one detector found on the labelled media and on the empty pictures."""

    boxes: dict[str, list[tuple[str, Corners]]] = field(default_factory=dict)  # category, box
    visited: dict[str, set[str]] = field(default_factory=dict)  # categories of visits, by path
    empty_visits: list[str] = field(default_factory=list)
    seconds: float = 0.0  # of CPU time


def read_labels(footage: Path, boxes: Path) -> Labels:
    with (footage / "labels.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["category"] != "corrupt"]
    animals: dict[str, list[Corners]] = {}
    with boxes.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            corners = (float(row["x0"]), float(row["y0"]), float(row["x1"]), float(row["y1"]))
            if (footage / row["path"]).is_file():
                animals.setdefault(row["path"], []).append(corners)
    return Labels(
        {row["path"]: light_of(row["light"]) for row in rows},
        {row["path"]: row["category"] for row in rows},
        animals,
    )


def light_of(text: str | None) -> str:
    """Return day, night IR or night flash, without further details of the label."""
    if not text:
        return "unknown"
    return "day" if text.startswith("day") else text


def run_detector(footage: Path, empty: Path, overrides: dict[str, Any]) -> Found:
    """Run all stages on the labelled media and on the empty pictures."""
    found = Found()
    with tempfile.TemporaryDirectory() as output:
        # Of this process, all threads: decoders are other processes, and a wall clock would
        # measure what else runs on the machine.
        started = process_time()
        run_stages(footage, Path(output), STAGES[:2], overrides)
        found.seconds = process_time() - started
        run_stages(footage, Path(output), STAGES[2:], overrides)
        found.boxes = _boxes(Path(output))
        found.visited = _visited(Path(output))
    with tempfile.TemporaryDirectory() as output:
        run_stages(empty, Path(output), STAGES, overrides)
        found.empty_visits = sorted(_visited(Path(output)))
    return found


def _boxes(output: Path) -> dict[str, list[tuple[str, Corners]]]:
    table = read_parquet(output / DETECTIONS_TABLE)
    boxes: dict[str, list[tuple[str, Corners]]] = {}
    for path, category, x, y, w, h in table.select(
        "path", "category", "x", "y", "w", "h"
    ).iter_rows():
        boxes.setdefault(path, []).append((category, (x, y, x + w, y + h)))
    return boxes


def _visited(output: Path) -> dict[str, set[str]]:
    visits = read_parquet(output / OBSERVATIONS_TABLE)
    visited: dict[str, set[str]] = {}
    for category, timeline in visits.select("category", "detection_timeline").iter_rows():
        for sighting in timeline:
            visited.setdefault(sighting["path"], set()).add(category)
    return visited


def overlap(one: Corners, other: Corners) -> float:
    """Return the intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared)


def on_animal(found: Found, labels: Labels, path: str) -> bool:
    return any(
        category == "animal" and overlap(box, animal) >= MIN_OVERLAP
        for category, box in found.boxes.get(path, [])
        for animal in labels.animals[path]
    )


def wrong_boxes(found: Found, labels: Labels, path: str) -> int:
    return sum(
        all(overlap(box, animal) < MIN_OVERLAP for animal in labels.animals[path])
        for _, box in found.boxes.get(path, [])
    )


def in_visit(found: Found, path: str, category: str) -> bool:
    return category in found.visited.get(path, set())


def print_stills(found: Mapping[str, Found], labels: Labels) -> None:
    """Print a row for each light and detector."""
    print(f"{'light':14} {'detector':28} {'stills':>6} {'on it':>6} {'visit':>6} {'wrong':>6}")
    by_light: dict[str, list[str]] = {}
    for path in labels.animal_stills:
        by_light.setdefault(labels.light[path], []).append(path)
    for light, paths in [*sorted(by_light.items()), ("all", labels.animal_stills)]:
        for name, of_detector in found.items():
            on_it = sum(on_animal(of_detector, labels, path) for path in paths)
            visits = sum(in_visit(of_detector, path, "animal") for path in paths)
            wrong = sum(wrong_boxes(of_detector, labels, path) for path in paths)
            print(f"{light:14} {name:28} {len(paths):6} {on_it:6} {visits:6} {wrong:6}")


def print_others(found: Mapping[str, Found], labels: Labels, empty: int) -> None:
    """Print people, vehicles, clips, empty pictures and the cost of each detector."""
    counts: list[tuple[str, int, Callable[[Found], str]]] = []
    for category, stills in (
        ("person", True), ("vehicle", True), ("animal", False), ("vehicle", False)
    ):  # fmt: skip
        paths = labels.media(category, stills)
        kind = f"{category}, {'stills' if stills else 'clips'} in a visit"
        counts.append((kind, len(paths), _visits_of(paths, category)))
    counts.append(("empty pictures in a visit", empty, lambda each: str(len(each.empty_visits))))
    base = next(iter(found.values())).seconds
    counts.append(("CPU time of Stage 1", 1, lambda each: f"{each.seconds / base:.2f}"))
    print(f"\n{'':30} {'of':>4}  " + "  ".join(f"{name:>20}" for name in found))
    for what, of, value in counts:
        print(f"{what:30} {of:4}  " + "  ".join(f"{value(each):>20}" for each in found.values()))


def _visits_of(paths: Sequence[str], category: str) -> Callable[[Found], str]:
    return lambda found: str(sum(in_visit(found, path, category) for path in paths))


def print_missed(found: Mapping[str, Found], labels: Labels) -> None:
    for name, of_detector in found.items():
        for path in labels.animal_stills:
            on_it = on_animal(of_detector, labels, path)
            visited = of_detector.visited.get(path, set())
            if not on_it or "animal" not in visited:
                where = "on the animal" if on_it else "not on the animal"
                print(f"{name}: {path}: {where}, visits: {', '.join(sorted(visited)) or 'none'}")
        for path in of_detector.empty_visits:
            print(f"{name}: empty: {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--footage", type=Path, default=DEFAULT_FOOTAGE)
    parser.add_argument("--boxes", type=Path, default=DEFAULT_BOXES, help="path,x0,y0,x1,y1")
    parser.add_argument("--threshold", type=float, default=None, help="least confidence")
    parser.add_argument(
        "--detector", action="append", help="a model, an ensemble, or a .toml file; repeatable"
    )
    parser.add_argument("--motion-gate", choices=["on", "off"], default="on")
    parser.add_argument("--missed", action="store_true", help="list the media that were missed")
    arguments = parser.parse_args()
    if not (arguments.footage / "labels.csv").is_file():
        parser.error(f"{arguments.footage}/labels.csv: no such file; name one with --footage")
    labels = read_labels(arguments.footage, arguments.boxes)
    found: dict[str, Found] = {}
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty"
        clips = labels.media("unknown", False) + labels.media("vehicle", False)
        count = write_empty_pictures(
            arguments.footage, labels.animals, labels.media("empty", True), clips, empty
        )
        for detector in arguments.detector or DEFAULT_DETECTORS:
            overrides = {
                "models.detector": detector,
                "pipeline.stage1.conf_threshold": arguments.threshold,
                "pipeline.stage1.motion_gate": arguments.motion_gate == "on",
            }
            found[detector] = run_detector(arguments.footage, empty, overrides)
    print_stills(found, labels)
    print_others(found, labels, count)
    if arguments.missed:
        print_missed(found, labels)


if __name__ == "__main__":
    main()
