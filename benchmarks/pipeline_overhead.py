"""The overhead of the pipeline over a bare loop: `python benchmarks/pipeline_overhead.py`.

The bare loop decodes a medium and runs the detectors on it, one after the other, in one process:
no journal, no crops, no child processes, no tables. The pipeline is Stage 1 as a worker runs it,
model loading and tables included, on the same media with the same models and threads. Both run in
turn, several times; the result is the ratio of the shortest times.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from stage_runner import run_stages

from gpu_kernels.engines.engine import Engine, open_engine
from gpu_kernels.models.manifest import ModelManifest
from odins_ravne_assets.munin.detection.decode_process import decode_video
from odins_ravne_assets.munin.detection.detector import Detector
from odins_ravne_assets.munin.detection.frame_sampling import SamplingPlan
from odins_ravne_assets.munin.detection.journal_key import profile_detector
from odins_ravne_assets.munin.detection.still_decoding import decode_still
from odins_ravne_assets.munin.inference.run_model import LoadedModel
from odins_ravne_assets.munin.media.media_files import Format
from resources.settings.loader import load_profile
from resources.storage.parquet_files import read_parquet

DEFAULT_FOOTAGE = Path(__file__).parent.parent.parent / "shared" / "footage"
STILLS, CLIPS = {".jpg", ".jpeg"}, {".mp4"}


def copies(source: Path, suffixes: set[str], count: int, target: Path) -> Path:
    """Copy media of some kinds in turn until there are `count`, each with a different content."""
    files = [
        path
        for path in sorted(source.rglob("*"))
        if path.suffix.lower() in suffixes and path.stat().st_size > 0
    ]
    if not files:
        raise SystemExit(f"error: {source}: holds none of {', '.join(sorted(suffixes))}")
    target.mkdir()
    for number in range(count):
        path = files[number % len(files)]
        copy = target / f"{number:06d}{path.suffix.lower()}"
        # Bytes after the end of a picture or a clip change its hash and nothing else.
        copy.write_bytes(path.read_bytes() + number.to_bytes(8, "little"))
    return target


def load_detector() -> Detector:
    """Load the default detector; its models of the same file share an engine, as in a worker."""
    models = load_profile("local", environ={}).models
    engines: dict[Path, Engine] = {}

    def load(manifest: ModelManifest) -> LoadedModel:
        if manifest.path not in engines:
            engines[manifest.path] = open_engine(manifest, "onnxruntime")
        return LoadedModel(manifest, engines[manifest.path])

    return Detector(profile_detector(models), load, None)


def bare_loop(detector: Detector, media: pl.DataFrame, footage: Path) -> tuple[float, int]:
    """Return the seconds and the number of frames processed."""
    stage1 = load_profile("local", environ={}).pipeline.stage1
    plan = SamplingPlan("fps", stage1.frames_per_second, 1, False, stage1.motion_threshold)
    frames = 0
    started = time.perf_counter()
    for path, kind, media_format, width, height in media.iter_rows():
        file, side = footage / path, detector.input_side
        for picture in pictures(file, kind, media_format, width, height, side, plan):
            detector.detect([picture])
            frames += 1
    return time.perf_counter() - started, frames


def pictures(
    path: Path,
    kind: str,
    media_format: Format,
    width: int,
    height: int,
    side: int,
    plan: SamplingPlan,
) -> Iterator[object]:
    if kind == "image":
        yield decode_still(path, "jpeg", width, height, side)
    else:
        yield from (frame.picture for frame in decode_video(path, media_format, plan, 2e8))


def pipeline(footage: Path, output: Path) -> float:
    """Return the seconds of Stage 1; Stage 0 ran before."""
    started = time.perf_counter()
    run_stages(footage, output, ["detections"], {"pipeline.stage1.motion_gate": False})
    return time.perf_counter() - started


def compare(name: str, footage: Path, work: Path, repeats: int) -> None:
    run_stages(footage, work, ["footage"])
    media = read_parquet(work / "tables" / "media.parquet").filter(pl.col("status") == "ok")
    media = media.select("path", "kind", "format", "width", "height")
    detector = load_detector()
    bare, pipelined, frames = [], [], 0
    for _ in range(repeats):
        seconds, frames = bare_loop(detector, media, footage)
        bare.append(seconds)
        shutil.rmtree(work / "journal", ignore_errors=True)
        pipelined.append(pipeline(footage, work))
    ratio = min(pipelined) / min(bare)
    print(
        f"{name:7} {len(media):5} media {frames:6} frames   bare loop {min(bare):7.2f} s   "
        f"pipeline {min(pipelined):7.2f} s   ratio {ratio:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--footage", type=Path, default=DEFAULT_FOOTAGE)
    parser.add_argument("--stills", type=int, default=100)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        stills = copies(arguments.footage, STILLS, arguments.stills, work / "stills")
        compare("stills", stills, work / "stills-out", arguments.repeats)
        clips = copies(arguments.footage, CLIPS, arguments.clips, work / "clips")
        compare("video", clips, work / "clips-out", arguments.repeats)


if __name__ == "__main__":
    main()
