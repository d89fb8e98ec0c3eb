"""The recall of Stage 1 on labelled media: `python benchmarks/stage1_recall.py`.

Runs Stages 0 and 1 with the default models, or another detector, over a folder with `labels.csv`
(path, category, scientificName, light, ...) and prints, by light, how many media with an animal, a
person or a vehicle hold a box (of any category, and of the right one), and how many empty media
stay empty.
"""

import argparse
import tempfile
from pathlib import Path

import polars as pl
from stage_runner import run_stages

DEFAULT_FOOTAGE = Path(__file__).parent.parent.parent / "shared" / "footage"


def light_of(text: str | None) -> str:
    """Return day, night IR or night flash, without further details of the label."""
    if not text:
        return "unknown"
    return "day" if text.startswith("day") else text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--footage", type=Path, default=DEFAULT_FOOTAGE)
    parser.add_argument("--threshold", type=float, default=None, help="least confidence")
    parser.add_argument("--detector", help="a model's name or manifest; default: the profile's")
    parser.add_argument("--motion-gate", choices=["on", "off"], default="on")
    parser.add_argument("--missed", action="store_true", help="list the media that were missed")
    arguments = parser.parse_args()
    if not (arguments.footage / "labels.csv").is_file():
        parser.error(f"{arguments.footage}/labels.csv: no such file; name one with --footage")
    overrides = {
        "pipeline.stage1.conf_threshold": arguments.threshold,
        "pipeline.stage1.motion_gate": arguments.motion_gate == "on",
        **({"models.detector": arguments.detector} if arguments.detector else {}),
    }
    labels = pl.read_csv(arguments.footage / "labels.csv").filter(pl.col("category") != "corrupt")
    with tempfile.TemporaryDirectory() as output:
        run_stages(arguments.footage, Path(output), ["footage", "detections"], overrides)
        boxes = pl.read_parquet(f"{output}/tables/detections.parquet")
        media = pl.read_parquet(f"{output}/tables/processed.parquet")
    found = boxes.group_by("path").agg(pl.col("category").unique().alias("found"))
    rows = labels.join(media.select("path", "kind", "status"), on="path", how="left").join(
        found, on="path", how="left"
    )
    print_table(rows)
    if arguments.missed:
        print_missed(rows)


def print_table(rows: pl.DataFrame) -> None:
    right = pl.col("found").list.contains(pl.col("category")).fill_null(False)
    any_box = pl.col("found").is_not_null()
    table = (
        rows.with_columns(light=pl.col("light").map_elements(light_of, pl.String, skip_nulls=False))
        .group_by("category", "light", "kind")
        .agg(
            media=pl.len(),
            with_a_box=any_box.sum(),
            of_the_right_category=right.sum(),
        )
        .sort("category", "light", "kind")
    )
    print(f"{'category':10} {'light':14} {'kind':7} {'media':>6} {'box':>5} {'right category':>15}")
    for category, light, kind, count, box, correct in table.iter_rows():
        print(f"{category:10} {light:14} {kind!s:7} {count:6} {box:5} {correct:15}")


def print_missed(rows: pl.DataFrame) -> None:
    wrong = ~pl.col("found").list.contains(pl.col("category")).fill_null(False)
    for path, category, found in (
        rows.filter(wrong & (pl.col("category") != "empty"))
        .select("path", "category", "found")
        .iter_rows()
    ):
        print(f"{category}: {path}: {', '.join(found) if found else 'nothing found'}")


if __name__ == "__main__":
    main()
