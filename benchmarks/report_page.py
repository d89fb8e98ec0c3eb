"""Measure the size of a report page with many visits, and its speed and memory in a browser.

    python benchmarks/report_page.py --visits 10000

Pictures are crops of the demo's sample pictures, encoded like thumbnails. Without chromium and
chromedriver, only the size is measured.
"""

import argparse
import random
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import polars as pl
import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))
from ui_browser import Browser, missing_browser, open_browser

from odins_ravne_assets.demo.footage import read_sample
from odins_ravne_assets.hugin.identification.taxonomy import project_taxonomy
from odins_ravne_assets.hugin.report.camera_results import COST_COLUMNS, CameraResults
from odins_ravne_assets.hugin.report.page import write_report_page
from odins_ravne_assets.hugin.report.sampling_effort import sampling_effort
from odins_ravne_assets.hugin.report.thumbnails import THUMBNAIL_SIDE, WEBP_QUALITY
from odins_ravne_assets.munin.tables import schemas
from resources.ledger.table import LEDGER_SCHEMA
from resources.settings.profile import Privacy, Stage3

CAMERAS, SPECIES, PICTURES = 12, 20, 600
START = datetime(2026, 3, 1)


def pictures(rng: random.Random) -> list[bytes]:
    """Return random crops of the sample pictures as WebP."""
    samples_bgr = [read_sample(name, (512, 384)) for name in ("cat", "astronaut")]
    encoded = []
    for _ in range(PICTURES):
        picture = rng.choice(samples_bgr)
        side = rng.randrange(THUMBNAIL_SIDE // 2, min(picture.shape[:2]))
        top, left = (rng.randrange(length - side + 1) for length in picture.shape[:2])
        crop = cv2.resize(
            picture[top : top + side, left : left + side], (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
        )
        encoded.append(
            cv2.imencode(".webp", crop, [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY])[1].tobytes()
        )
    return encoded


def visit(camera_id: str, number: int, at: datetime, rng: random.Random) -> dict[str, Any]:
    """Return a row of the camera's observations, with the detection of its picture."""
    return {
        "observation_id": f"{camera_id}-{number}",
        "camera_id": camera_id,
        "category": "animal",
        "species": f"species {rng.randrange(SPECIES)}",
        "count": 1,
        "start_at": at,
        "end_at": at + timedelta(seconds=rng.randrange(300)),
        "max_confidence": rng.uniform(0.5, 1),
        "frame_count": 3,
        "media_count": 1,
        "source_video": f"DCIM/{100 + number // 1000}RECNX/IMG_{number:05d}.JPG",
        "label_source": "machine",
        "flags": [],
        "needs_review": rng.random() < 0.3,
        "detection_id": f"{camera_id}-{number}",
    }


def camera(name: str, visits: int, webps: list[bytes], rng: random.Random) -> CameraResults:
    """Return the results of a camera with the given number of visits in 200 days."""
    times = sorted(START + timedelta(seconds=rng.randrange(200 * 86400)) for _ in range(visits))
    rows = [visit(name, number, at, rng) for number, at in enumerate(times)]
    schema = {n: t for n, t in schemas.OBSERVATIONS.items() if n != "detection_timeline"}
    table = [{column: row.get(column) for column in (*schema, "detection_id")} for row in rows]
    thumbnails = [
        {"detection_id": row["detection_id"], "person": False, "blurred": "", "x": 0.1, "y": 0.1}
        | {"w": 0.8, "h": 0.8, "webp": rng.choice(webps)}
        for row in rows
    ]
    place = {"latitude": 59 + rng.random(), "longitude": 11 + rng.random()}
    media = pl.LazyFrame([{"camera_id": name, "captured_at": at, **place} for at in times])
    report = {
        "settings": Stage3().model_dump(),
        "models": {},
        "totals": {"stills": visits, "videos": 0, "failed": 0},
        "left_out": [],
        "review": {"by_species": [], "empty_media": {"reviewed": 0, "missed": []}},
    }
    return CameraResults(
        report,
        pl.DataFrame(table, schema={**schema, "detection_id": pl.String}),
        pl.DataFrame(thumbnails, schema=schemas.THUMBNAILS),
        sampling_effort(media),
        pl.DataFrame(
            schema={
                "reason": pl.String,
                "path": pl.String,
                "captured_at": pl.Datetime("ms"),
                "boxes": pl.UInt32,
            }
        ),
        pl.DataFrame(schema={"path": pl.String, "reason": pl.String}),
        pl.DataFrame(schema={column: LEDGER_SCHEMA[column] for column in COST_COLUMNS}),
        0,
        project_taxonomy(()),
    )


def measure_browser(browser: Browser, page: Path) -> None:
    """Open the page and filter the visits; print times and memory."""
    baseline = _memory()
    browser.driver.get(page.as_uri())
    ready = "return performance.getEntriesByType('navigation')[0].domComplete"
    print(f"opened in {browser.driver.execute_script(ready) / 1000:.1f} s")
    print(f"memory of the page: {_memory() - baseline:.0f} MB")
    apply_filter = (
        "const done = arguments[0], start = performance.now();"
        "document.getElementById('filters').elements.review.click();"
        "requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)))"
    )
    print(
        f"visits to review filtered in {browser.driver.execute_async_script(apply_filter):.0f} ms"
    )


def _memory() -> float:
    """The memory of the browser's largest renderer process, in MB."""
    found = [
        process.memory_info().rss
        for process in psutil.Process().children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE and "--type=renderer" in process.cmdline()
    ]
    return max(found, default=0) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--visits", type=int, default=10_000)
    options = parser.parse_args()
    rng = random.Random(1)
    webps = pictures(rng)
    visits_per_camera = options.visits // CAMERAS
    cameras = [camera(f"camera{n}", visits_per_camera, webps, rng) for n in range(CAMERAS)]
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        start = time.process_time()
        write_report_page(page, cameras, Privacy())
        print(
            f"{visits_per_camera * CAMERAS:,} visits: {page.stat().st_size / 1e6:.0f} MB", end=", "
        )
        print(f"written in {time.process_time() - start:.1f} s CPU")
        if missing := missing_browser():
            print(f"not measured in a browser: {missing}")
            return
        with open_browser("", 1100, 1000) as browser:
            measure_browser(browser, page)


if __name__ == "__main__":
    main()
