"""Makes the results that later versions are tested on: `python make_old_results.py FOLDER`.

Runs the command `munin` that is installed beside this Python, and nothing else of the project, so
that each version can make its own. All work is done in WORK, whose paths get into what is stored;
the environment is reached through a link in it. At the end, what is to be kept goes to a folder of
the version's name in FOLDER.

Needs the sample pictures of scikit-image (pip install --no-deps scikit-image==0.26.0) and, for the
cloud's part, the extra `sandbox`. Takes about two minutes on two cores. README.md beside it says
what each file is.
"""

import csv
import importlib.metadata
import importlib.util
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import boto3
import cv2
import numpy as np
from PIL import Image

VERSION = importlib.metadata.version("odins-ravne")
WORK = Path(f"/tmp/results_v{VERSION.replace('.', '_')}")
PORT = "4633"  # of the sandbox
UI_PORT = "4634"
ENDPOINT = f"http://127.0.0.1:{PORT}"
BUCKET = "ravne-data-123456789012"
REGION = "eu-north-1"
PATIENCE = 180.0

START = datetime(2026, 5, 14, 21, 40, 12)
OFFSET = "+02:00"
STILL, CLIP = (320, 240), (224, 168)  # width, height
QUALITY = 80

PROFILE = """\
# Of version {version}: settings that are not the defaults, of every kind that is stored.
pipeline:
  local_usd_per_hour: 0.05
output:
  root: {work}/results
uploads:
  url: {work}/footage
  output: {work}/results
  quiet_minutes: 0.05
  listing_hours: 24
project:
  title: Foxes of the ridge
  contributors: [Anna Ek]
  sampling_design: targeted
  deployments: {work}/footage/deployments.csv
"""
DEPLOYMENTS = """\
cameraID,latitude,longitude,deploymentID,deploymentStart,deploymentEnd,habitat
ridge,59.32,17.12,ridge-spring,2026-05-01,2026-05-31,forest
lake,59.35,17.15,lake-spring,2026-05-01,,meadow
"""


# Footage


def sample(name: str, size: tuple[int, int]) -> np.ndarray:
    """A sample picture of scikit-image that fills the frame, as BGR."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("error: run pip install --no-deps scikit-image==0.26.0")
    path = Path(spec.submodule_search_locations[0]) / "data" / name
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        sys.exit(f"error: {path}: cannot be read")
    height, width = picture.shape[:2]
    scale = max(size[0] / width, size[1] / height)
    fitted = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    top, left = (fitted.shape[0] - size[1]) // 2, (fitted.shape[1] - size[0]) // 2
    return np.ascontiguousarray(fitted[top : top + size[1], left : left + size[0]], np.uint8)


def still(path: Path, name: str, minutes: float, shift: int = 0) -> Path:
    """A JPEG with the EXIF of a camera trap; `shift` tells pictures of one sample apart."""
    picture = np.roll(sample(name, STILL), shift, axis=1)
    image = Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "ODIN", "Ravne demo"  # make, model
    details = exif.get_ifd(0x8769)
    taken = START + timedelta(minutes=minutes)
    details[0x9003], details[0x9011] = taken.strftime("%Y:%m:%d %H:%M:%S"), OFFSET
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=QUALITY, exif=exif)
    return path


def clip(
    path: Path, minutes: float, codec: Literal["mpeg4", "libx264"] = "mpeg4", frames: int = 16
) -> Path:
    """Two frames a second: a lawn for a second, then a cat, a lawn in the eighth second."""
    lawn, cat = sample("grass.png", CLIP), sample("chelsea.png", CLIP)
    with av.open(str(path), "w") as container:
        taken = START + timedelta(minutes=minutes)
        container.metadata["creation_time"] = taken.isoformat() + ".000000Z"
        stream = container.add_stream(codec, rate=2, options={"threads": "1"})
        stream.width, stream.height = CLIP
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 120_000
        for number in range(frames):
            seen = 2 <= number < 14
            picture = (
                np.roll(cat, number % 3, axis=1) if seen else cv2.GaussianBlur(lawn, (9, 9), 0)
            )
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, 2)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def make_footage() -> None:
    """Cameras `ridge`, `lake` and `hill`, and in `later` pictures that no run here looks at."""
    root = WORK / "footage"
    card = root / "ridge" / "DCIM" / "100MEDIA"
    first = still(card / "IMAG0001.JPG", "chelsea.png", 0.0)
    still(card / "IMAG0002.JPG", "chelsea.png", 0.2, shift=24)
    still(card / "IMAG0003.JPG", "gravel.png", 31.0)
    still(card / "IMAG0004.JPG", "astronaut.png", 154.0)
    clip(card / "IMAG0005.MP4", 75.0)
    shutil.copy(first, card / "IMAG0006.JPG")  # a duplicate
    (card / "IMAG0007.JPG").write_bytes(b"\xff\xd8\xff\xe0 no picture")  # no header
    whole = clip(card / "IMAG0008.MP4", 90.0, "libx264", 2).read_bytes()
    (card / "IMAG0008.MP4").write_bytes(broken(whole))  # a header, and no frame that decodes
    still(root / "lake" / "IMAG0001.JPG", "chelsea.png", 600.0, shift=48)
    (root / "deployments.csv").write_text(DEPLOYMENTS)
    still(WORK / "later" / "IMAG0009.JPG", "chelsea.png", 1440.0, shift=32)


def broken(video: bytes) -> bytes:
    """A video whose frames are all noise, and whose index is whole."""
    start = video.index(b"mdat") + 4
    size = int.from_bytes(video[start - 8 : start - 4], "big") - 8
    noise = np.random.default_rng(1).integers(0, 256, size, np.uint8).tobytes()
    return video[:start] + noise + video[start + size :]


# Commands


class Munin:
    """The command, with an instance of its own."""

    def __init__(self, home: str, profile: str, **variables: str) -> None:
        self.home = WORK / home
        self.profile = profile
        own = {
            k: v for k, v in os.environ.items() if not k.startswith(("MUNIN_", "AWS_", "DAGSTER_"))
        }
        self.environment = own | variables
        self.environment |= {
            "DAGSTER_HOME": str(self.home),
            "TMPDIR": str(WORK / "tmp"),
            "COLUMNS": "200",
        }

    def words(self, *words: str | Path) -> list[str]:
        tools = WORK / "venv" / "bin"
        return [
            str(tools / "python"),
            str(tools / "munin"),
            "--profile",
            self.profile,
            *map(str, words),
        ]

    def __call__(self, *words: str | Path, code: int = 0) -> str:
        """Run the command to its end; what it printed."""
        print("$ munin --profile", self.profile, *words, flush=True)
        done = subprocess.run(
            self.words(*words), env=self.environment, cwd=WORK, stdin=subprocess.DEVNULL,
            capture_output=True, encoding="utf-8",
        )  # fmt: skip
        if done.returncode != code:
            sys.exit(f"error: ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr


def fill(source: Path, target: Path, words: Mapping[str, str]) -> Path:
    """A copy of observations.csv with `confirmed_species` of some machine's species filled in."""
    with source.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["confirmed_species"] = words.get(row["species"], "")
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return target


def wait_for(what: str, found: Callable[[], bool]) -> None:
    given_up_at = time.monotonic() + PATIENCE
    while not found():
        if time.monotonic() > given_up_at:
            sys.exit(f"error: not within {PATIENCE:.0f} s: {what}")
        time.sleep(0.5)


# What is stored on this machine


def make_local() -> None:
    profile = WORK / "profile.yaml"
    profile.write_text(PROFILE.format(version=VERSION, work=WORK))
    munin = Munin("dagster", str(profile))
    footage, results = WORK / "footage", WORK / "results"
    ridge, lake = results / "ridge", results / "lake"

    munin("plan", footage / "ridge", ridge)  # plans/
    munin("batch", footage / "ridge", ridge)
    munin("batch", footage / "lake", lake)
    munin("batch", footage / "ridge", ridge, "--retry-failed")  # journal/withdrawn/
    munin(
        "stage1", footage / "lake", lake, "--conf-threshold", "0.3"
    )  # a second key of the journal
    munin("batch", footage / "lake", lake)  # and back

    said = WORK / "said"
    said.mkdir()
    animal = species_of(ridge) - {"person"}
    filled = fill(
        ridge / "stage3" / "observations.csv",
        said / "filled.csv",
        dict.fromkeys(animal, "Meles meles"),
    )
    munin("correct", ridge, filled, "--by", "Anna Ek", "--on", "2026-06-01")
    missed = said / "missed.csv"
    missed.write_text("path,species,count\nDCIM/100MEDIA/IMAG0003.JPG,red fox,2\n")
    munin("correct", ridge, missed, "--by", "Bo Li", "--on", "2026-06-02")

    predictions = said / "predictions.json"
    predictions.write_text(json.dumps({"predictions": [{
        "filepath": "IMAG0001.JPG", "detections": [],
        "prediction": "id;mammalia;carnivora;canidae;vulpes;vulpes;red fox",
        "prediction_score": 0.92, "model_version": "4.0.1a",
    }]}))  # fmt: skip
    munin("stage2", lake, "--model", predictions)  # predictions/, stage 2 by another key
    munin("stage3", lake)
    munin("backfill", "--stages", "3", "--cameras", "ridge")  # backfills/
    munin("export", WORK / "export")
    munin("cost", "costs", "--output", WORK / "costs")
    look_for_footage(munin)


def species_of(results: Path) -> set[str]:
    with (results / "stage3" / "observations.csv").open(newline="", encoding="utf-8-sig") as file:
        return {row["species"] for row in csv.DictReader(file)}


def look_for_footage(munin: Munin) -> None:
    """Let the sensor `new_footage` look once, so that its cursor is in the instance."""
    (WORK / "footage" / "loose.jpg").write_bytes(b"of no camera")  # for the quarantine
    tools = WORK / "venv" / "bin"
    environment = munin.environment | {"MUNIN_PROFILE": munin.profile}
    words = ["sensor", "start", "-m", "odins_ravne_assets.definitions", "new_footage"]
    subprocess.run(
        [str(tools / "python"), str(tools / "dagster"), *words],
        env=environment, cwd=WORK, check=True, capture_output=True,
    )  # fmt: skip
    with (WORK / "ui.log").open("wb") as log:
        ui = subprocess.Popen(
            munin.words("ui", "--port", UI_PORT), env=munin.environment, cwd=WORK,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for("a cursor of the sensor", lambda: "loose.jpg" in cursor(munin.home))
    finally:
        ui.send_signal(signal.SIGINT)
        ui.wait(60)
    (WORK / "footage" / "loose.jpg").unlink()


def cursor(home: Path) -> str:
    """What the sensors' states in the instance hold, as text."""
    database = home / "schedules" / "schedules.db"
    if not database.exists():
        return ""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("select instigator_body from instigators").fetchall()
    return " ".join(str(body) for (body,) in rows)


# What is stored in the cloud


def make_cloud() -> None:
    munin = Munin(
        "cloud/dagster", "sandbox",
        AWS_ACCESS_KEY_ID="sandbox", AWS_SECRET_ACCESS_KEY="sandbox",
        MUNIN_CLOUD__AWS__ENDPOINT_URL=ENDPOINT,
        MUNIN_CLOUD__AWS__CLOCK_URL=f"{ENDPOINT}/_sandbox/clock",
    )  # fmt: skip
    output = f"s3://{BUCKET}/results/hill"
    card = WORK / "cloud" / "footage" / "hill"
    munin("sandbox", "up", "--port", PORT)
    try:
        munin("cost", "setup", "--job-count", "1")
        still(card / "IMAG0000.JPG", "chelsea.png", 0.0)
        munin("plan", card, output)
        munin("sandbox", "capacity", "spot", "0")
        munin("batch", card, output)  # finds no spot machine, and is moved to on-demand
        munin("sandbox", "capacity", "spot", "4")
        still(card / "IMAG0001.JPG", "chelsea.png", 1.0, shift=8)
        batch_interrupted(munin, card, output)
        home = WORK / "cloud" / "taken_home"
        munin(
            "cost",
            "download-stage3",
            "--cloud-path",
            output,
            "--local-path",
            home,
            "--create-runner",
        )
        munin("cost", "teardown")
        munin("cost", "costs")
        keep_bucket(WORK / "cloud" / "bucket")
    finally:
        munin("sandbox", "down")


def batch_interrupted(munin: Munin, card: Path, output: str) -> None:
    """A batch whose spot machine is taken without notice while its job works."""
    print("$ munin --profile", munin.profile, "batch", card, output, flush=True)
    job, told = "", []
    with subprocess.Popen(
        munin.words("batch", card, output), env=munin.environment, cwd=WORK,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as batch:  # fmt: skip
        assert batch.stderr is not None
        for line in batch.stderr:
            told.append(line)
            if ": submitted " in line:
                job = line.split(": submitted ")[1].split()[0]
            if line == "hill: detecting\n":
                munin("sandbox", "interrupt", job, "--without-notice")
    if batch.returncode != 0:
        sys.exit("error: the batch failed\n" + "".join(told))
    if "spot machine lost" not in "".join(told):
        sys.exit("error: the job ended before its machine was taken; run again")


def keep_bucket(folder: Path) -> None:
    """Copy every object of the bucket; what is told of each besides is kept in objects.json."""
    s3 = boto3.client(
        "s3", region_name=REGION, endpoint_url=ENDPOINT,
        aws_access_key_id="sandbox", aws_secret_access_key="sandbox",
    )  # fmt: skip
    told = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for found in page.get("Contents", []):
            answer = s3.get_object(Bucket=BUCKET, Key=found["Key"], ChecksumMode="ENABLED")
            path = folder / found["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(answer["Body"].read())
            told[found["Key"]] = {
                "metadata": answer["Metadata"],
                "sha256": answer.get("ChecksumSHA256"),
            }
    (folder / "objects.json").write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")


# What is kept


def pack(source: Path, target: Path) -> None:
    """A folder as a .tar.xz without what is this machine's: owners, logs with its paths."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if entry.name.endswith(".log") or entry.name.startswith("storage/__repository__"):
            return None
        entry.uid = entry.gid = 0
        entry.mtime = int(entry.mtime)
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(target, "w:xz", preset=9) as packed:
        for path in sorted(source.rglob("*")):
            packed.add(path, str(path.relative_to(source)), recursive=False, filter=plain)


def settle(home: Path) -> None:
    """Have SQLite take its write-ahead logs into the databases, and make them small."""
    for database in home.rglob("*.db"):
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("vacuum")
            connection.execute("pragma wal_checkpoint(truncate)")


def keep(target: Path) -> None:
    (target / "cloud").mkdir(parents=True)
    for name in ("footage", "later", "said", "export"):
        shutil.copytree(WORK / name, target / name)
    for name in ("cost_report.json", "cost_focus.csv"):
        shutil.copy(WORK / "costs" / name, target / name)
    shutil.copy(WORK / "profile.yaml", target)
    shutil.copy(WORK / "cloud" / "taken_home" / "hill" / "run_stage3_local.py", target / "cloud")
    for home in (WORK / "dagster", WORK / "cloud" / "dagster"):
        settle(home)
    pack(WORK / "results", target / "results.tar.xz")
    pack(WORK / "dagster", target / "dagster_home.tar.xz")
    pack(WORK / "cloud" / "bucket", target / "cloud" / "bucket.tar.xz")
    pack(WORK / "cloud" / "dagster", target / "cloud" / "dagster_home.tar.xz")


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    target = Path(sys.argv[1]) / f"v{VERSION.replace('.', '_')}"
    shutil.rmtree(target, ignore_errors=True)
    shutil.rmtree(WORK, ignore_errors=True)
    (WORK / "tmp").mkdir(parents=True)
    (WORK / "venv").symlink_to(sys.prefix)
    make_footage()
    make_local()
    make_cloud()
    keep(target)


if __name__ == "__main__":
    main()
