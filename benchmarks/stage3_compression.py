"""Measure the throughput and peak memory of Stage 3.

    python benchmarks/stage3_compression.py --rows 10000000

Generates classifications of many cameras from a seed (sequences of photos and clips of 12 species),
measures each case several times in fresh processes, and prints the minimum wall-clock and CPU time
and the maximum memory:

- vote and compress: rows in memory to observations in memory, in the order in which Stage 2 writes
  its table, and shuffled, which is the worst case;
- the whole stage: from the Parquet file to observations, then writing both files;
- the peak resident memory of the whole stage, with interpreter and libraries.
"""

import argparse
import multiprocessing
import resource
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple, TypeVar

import numpy as np
import polars as pl

from odins_ravne_assets.hugin.identification.identifications import Identifications, identify
from odins_ravne_assets.hugin.identification.name_threshold import apply_name_threshold
from odins_ravne_assets.hugin.identification.sequence_vote import vote_by_sequence
from odins_ravne_assets.hugin.identification.taxonomy import Taxonomy, shipped_taxa
from odins_ravne_assets.hugin.review.corrections import without_corrections
from odins_ravne_assets.hugin.visits.observations import CompressionResult, compress
from odins_ravne_assets.hugin.visits.observations_json import write_observations_json
from odins_ravne_assets.munin.tables import schemas
from resources.settings.profile import Stage3
from resources.storage.parquet_files import scan_parquet

ROWS_PER_CAMERA = 100_000
FIRST_DAY_MS = 1_772_323_200_000  # 2026-03-01
DAYS = 365
SPECIES = [
    ("red fox", "Vulpes vulpes"),
    ("roe deer", "Capreolus capreolus"),
    ("European badger", "Meles meles"),
    ("brown hare", "Lepus europaeus"),
    ("wild boar", "Sus scrofa"),
    ("European pine marten", "Martes martes"),
    ("moose", "Alces alces"),
    ("Eurasian lynx", "Lynx lynx"),
    ("red deer", "Cervus elaphus"),
    ("Eurasian jay", "Garrulus glandarius"),
    ("wolverine", "Gulo gulo"),
    ("grey wolf", "Canis lupus"),
]
TAXONOMY = Taxonomy(shipped_taxa())
T = TypeVar("T")


class Seconds(NamedTuple):
    """Wall-clock seconds, and CPU seconds of all cores."""

    wall: float
    cpu: float


class Stopwatch:
    """The time since its construction."""

    def __init__(self) -> None:
        self._start = Seconds(perf_counter(), process_time())

    def seconds(self) -> Seconds:
        return Seconds(perf_counter() - self._start.wall, process_time() - self._start.cpu)


class StageMeasurement(NamedTuple):
    compressing: Seconds  # reading included
    writing: Seconds
    observations: int
    too_short: int
    parquet_bytes: int
    json_bytes: int
    peak_bytes: int


def make_camera(number: int, rows: int, seed: int) -> pl.DataFrame:
    """Return classifications of one camera, in the order of its table.

    An encounter is a sequence of 1 to 9 photos a second apart, or a clip of 1 to 20 processed
    frames; one in five shows two animals. Species have a skewed distribution; 15 % of labels are
    uncertain and have five guesses.
    """
    rng = np.random.default_rng([seed, number])
    of_clip = rng.random(rows) < 0.5
    frames = np.where(of_clip, rng.integers(1, 21, rows), rng.integers(1, 10, rows))
    animals = np.where(rng.random(rows) < 0.2, 2, 1)
    encounter = np.repeat(np.arange(rows), frames * animals)[:rows]
    seconds = np.sort(rng.integers(0, DAYS * 86_400, encounter[-1] + 1))
    shares = 1 / np.arange(1, len(SPECIES) + 1)
    species = rng.choice(len(SPECIES), rows, p=shares / shares.sum())
    nth = np.arange(rows) - np.searchsorted(encounter, encounter)
    frame, box = np.divmod(nth, animals[encounter])
    clip = of_clip[encounter]
    medium = np.cumsum((nth == 0) | (~clip & (box == 0))) - 1
    columns = pl.DataFrame(
        {
            "medium": medium,
            "clip": clip,
            "frame_number": np.where(clip, frame, 0),
            "box_number": box,
            "time_offset_ms": np.where(clip, frame * 1000, 0),
            "captured_at": FIRST_DAY_MS + (seconds[encounter] + frame) * 1000,
            "species": species[encounter],
            "detection_confidence": rng.uniform(0.3, 1, rows),
            "confidence": rng.uniform(0.3, 1, rows),
            "auto_ok": rng.random(rows) > 0.15,
        }
    )
    return _as_table(columns, number)


def _as_table(columns: pl.DataFrame, number: int) -> pl.DataFrame:
    """The columns of `tables.CLASSIFICATIONS` for the random numbers of a camera."""
    labels = pl.DataFrame(SPECIES, schema=["label", "scientific_name"], orient="row")
    labels = labels.with_columns(species=pl.int_range(pl.len(), dtype=pl.Int64))
    name = pl.col("medium").cast(pl.String).str.zfill(6)
    ending = pl.when("clip").then(pl.lit("MP4")).otherwise(pl.lit("JPG"))
    digits = pl.format("{}{}", pl.lit(f"{number:04x}"), name)
    table = columns.join(labels, on="species", how="left", maintain_order="left").with_columns(
        camera_id=pl.lit(f"camera{number:03}"),
        path=pl.format("DCIM/{}RECNX/RECNX_{}.{}", 100 + pl.col("medium") // 10_000, name, ending),
        content_hash=digits.str.pad_end(64, "0"),
        kind=pl.when("clip").then(pl.lit("video")).otherwise(pl.lit("image")),
        captured_at=pl.col("captured_at").cast(pl.Datetime("ms")),
        utc_offset_minutes=pl.lit(120),
        category=pl.lit("animal"),
        top5=pl.when(~pl.col("auto_ok")).then(_guesses(labels)),
        detection_id=pl.format(
            "{}-{}-{}", digits.str.pad_end(16, "0"), "frame_number", "box_number"
        ),
    )
    return table.select(
        pl.col(column).cast(kind) for column, kind in schemas.CLASSIFICATIONS.items()
    )


def _guesses(labels: pl.DataFrame) -> pl.Expr:
    """Five guesses: the species and the four after it in SPECIES, each with half the confidence."""

    def of_place(place: int, column: str) -> pl.Expr:
        number = (pl.col("species") + place) % len(SPECIES)
        return number.replace_strict(labels["species"], labels[column]).alias(column)

    return pl.concat_list(
        pl.struct(
            of_place(place, "label"),
            of_place(place, "scientific_name"),
            (pl.col("confidence") / 2 ** (place + 1)).cast(pl.Float32).alias("confidence"),
        )
        for place in range(5)
    )


def make_table(path: Path, rows: int, seed: int) -> None:
    """Write one Parquet file with the given number of rows, camera after camera."""
    cameras = -(-rows // ROWS_PER_CAMERA)
    sizes = [rows // cameras + (number < rows % cameras) for number in range(cameras)]
    pl.concat(make_camera(number, size, seed) for number, size in enumerate(sizes)).write_parquet(
        path
    )


def measure_compression(path: Path, shuffled: bool) -> Seconds:
    """Measure vote and compression, from rows in memory to observations in memory."""
    identified = identify(scan_parquet(path), TAXONOMY, Stage3().roll_up)
    if shuffled:
        identified = replace(
            identified, rows=identified.rows.sample(fraction=1, shuffle=True, seed=1)
        )
    watch = Stopwatch()
    _vote_and_compress(identified)
    return watch.seconds()


def _vote_and_compress(identified: Identifications) -> CompressionResult:
    voted = vote_by_sequence(identified, TAXONOMY, Stage3())
    named = apply_name_threshold(voted, Stage3())
    return compress(without_corrections(named), TAXONOMY, Stage3())


def measure_stage(path: Path) -> StageMeasurement:
    """Measure the whole stage, from the Parquet file to both files of results."""
    parquet = path.with_name("observations.parquet")
    json = path.with_name("compressed_observations.json")
    watch = Stopwatch()
    identified = identify(scan_parquet(path), TAXONOMY, Stage3().roll_up)
    compressed = _vote_and_compress(identified)
    del identified
    compressing = watch.seconds()
    watch = Stopwatch()
    compressed.observations.write_parquet(parquet)
    write_observations_json(compressed.observations, json)
    return StageMeasurement(
        compressing=compressing,
        writing=watch.seconds(),
        observations=compressed.observations.height,
        too_short=compressed.observations_too_short,
        parquet_bytes=parquet.stat().st_size,
        json_bytes=json.stat().st_size,
        # Linux counts in KiB.
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def in_fresh_process(function: Callable[..., T], *arguments: object) -> T:
    """Call a function in a new process, so that its peak memory is measured alone."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure Stage 3 on generated rows.")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeat", type=int, default=3, help="number of measurements of each case")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "classifications.parquet"
        in_fresh_process(make_table, path, options.rows, options.seed)
        times = range(options.repeat)
        ordered = [in_fresh_process(measure_compression, path, False) for _ in times]
        shuffled = [in_fresh_process(measure_compression, path, True) for _ in times]
        stage = [in_fresh_process(measure_stage, path) for _ in times]
    for name, seconds in [
        ("vote and compress", min(ordered)),
        ("the same, shuffled", min(shuffled)),
        ("read and compress", min(run.compressing for run in stage)),
        ("write Parquet and JSON", min(run.writing for run in stage)),
    ]:
        rate = options.rows / seconds.wall
        print(f"{name:<23}{seconds.wall:>7.2f} s {seconds.cpu:>7.2f} s CPU {rate:>12,.0f} rows/s")
    print(
        f"{options.rows:,} rows, {stage[0].observations:,} observations, "
        f"{stage[0].too_short:,} too short"
    )
    print(
        f"{stage[0].parquet_bytes / 1e6:,.0f} MB Parquet, {stage[0].json_bytes / 1e6:,.0f} MB JSON"
    )
    print(f"peak memory {max(run.peak_bytes for run in stage) / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
