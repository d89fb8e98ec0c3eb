"""Take all screenshots of the README and the docs: `python tools/take_screenshots.py [PORT]`.

Has the same requirements as the tests, and takes about three minutes. Runs `make demo` and the demo
of the sandbox (which listens on PORT, default 4599), opens their results in headless chromium, and
writes docs/pictures/. Pictures are as wide as a README on GitHub, at double resolution, so that
they are readable there and on a phone.
"""

import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))
from cost_rows import EXAMPLE
from dagster_ui import DagsterUI
from sandbox_demo import DEFAULT_PORT, Demo, make_footage
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from ui_browser import Browser, missing_browser, open_browser

from odins_ravne_assets.odin.report_page import write_cost_page
from tests.odins_ravne_assets.odin.test_report import report as report_of

REPOSITORY = Path(__file__).parent.parent
PICTURES = REPOSITORY / "docs" / "pictures"
# Shown in the pictures, so independent of the machine.
FOLDER = Path(tempfile.gettempdir()) / "odins-ravne"
CAMERA, CAMERA_WITHOUT_SPOT = "demo-camera", "camera-b"
ASSETS = ["footage", "detections", "classifications", "observations", "exports"]
TERMINAL_COLUMNS = 80
WIDTH = 830  # of a README on GitHub, in CSS pixels
MARGIN = 12  # in CSS pixels

PAGE = """<!DOCTYPE html><meta charset="utf-8">
<style>body {{margin: 0}} pre {{display: inline-block; margin: 0; padding: 16px 20px;
font: 15px "DejaVu Sans Mono", monospace; color: {foreground}; background: {background}}}
{stylesheet}</style><pre>{code}</pre>"""

Box = tuple[float, float, float, float]  # left, top, right, bottom, in CSS pixels


def run_demo() -> str:
    """Run `make demo` in this environment, and return its terminal output."""
    command = ["make", "--no-print-directory", "demo", f"VENV={sys.prefix}", f"DEMO={FOLDER}"]
    # Use the existing environment.
    command += [f"--old-file={sys.prefix}/.installed"]
    terminal = {"FORCE_COLOR": "1", "COLUMNS": str(TERMINAL_COLUMNS)}
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "DAGSTER_HOME": str(FOLDER / "dagster"), **terminal},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"error: the demo failed: {done.stderr}")
    return done.stdout


def set_window_size(browser: Browser, width: int, height: int) -> None:
    """Set the window to a size in CSS pixels, at double resolution."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def save_screenshot(browser: Browser, name: str, box: Box | None = None) -> None:
    """Save the content of the window, or a part of it."""
    picture = Image.open(io.BytesIO(browser.driver.get_screenshot_as_png())).convert("RGB")
    if box:
        left, top, right, bottom = (round(2 * side) for side in box)
        picture = picture.crop((left, top, right, bottom))
    # 256 colours are enough for a page, and a quarter of the bytes.
    reduced = picture.quantize(256, dither=Image.Dither.NONE)
    reduced.save(PICTURES / f"{name}.png", optimize=True)


def bounding_box(*elements: WebElement, margin: float = 0) -> Box:
    """Return the bounding box of elements."""
    places = [element.rect for element in elements]
    return (
        min(place["x"] for place in places) - margin,
        min(place["y"] for place in places) - margin,
        max(place["x"] + place["width"] for place in places) + margin,
        max(place["y"] + place["height"] for place in places) + margin,
    )


def terminal(browser: Browser, output: str) -> None:
    """Take a screenshot of a terminal, rendered by the browser."""
    console = Console(width=TERMINAL_COLUMNS, record=True, file=io.StringIO())
    console.print(Text.from_ansi(f"$ make demo\n{output.rstrip()}"))
    page = FOLDER / "terminal.html"
    console.save_html(str(page), theme=MONOKAI, code_format=PAGE)
    set_window_size(browser, WIDTH, 600)
    browser.driver.get(page.as_uri())
    save_screenshot(browser, "demo", bounding_box(browser.see("//pre")))


def report(browser: Browser) -> None:
    """Take screenshots of the top of the camera's report, and of its visits."""
    page = (FOLDER / "results" / CAMERA / "stage3" / "report.html").as_uri()
    set_window_size(browser, WIDTH, 1300)
    browser.driver.get(page)
    save_screenshot(
        browser, "report", (0, 0, WIDTH, bounding_box(browser.see("//figure"))[3] + MARGIN)
    )
    _visits(browser)
    cards = browser.driver.find_elements(By.TAG_NAME, "article")
    save_screenshot(
        browser, "report-visits", (0, 0, WIDTH, _on_screen(browser, *cards)[3] + 2 * MARGIN)
    )


def _visits(browser: Browser) -> None:
    browser.driver.execute_script("document.getElementById('gallery').scrollIntoView()")
    browser.see("//article//img[@src]")
    time.sleep(1)  # until pictures are decoded


def _on_screen(browser: Browser, *elements: WebElement) -> Box:
    left, top, right, bottom = bounding_box(*elements)
    scroll_y: float = browser.driver.execute_script("return scrollY")
    return left, top - scroll_y, right, bottom - scroll_y


def asset_graph(browser: Browser) -> None:
    """Take a screenshot of all assets in their groups, with their states."""
    set_window_size(browser, 1640, 760)
    browser.open("/asset-groups?expanded=global@global:munin,global@global:hugin")
    box = "//*[local-name()='foreignObject']"
    for asset in ASSETS:
        browser.see(f"{box}//*[text()='{asset}']")
    time.sleep(2)  # until the layout is complete
    found = browser.driver.find_elements(By.XPATH, box)
    save_screenshot(browser, "asset-graph", bounding_box(*found, margin=MARGIN))


def observations(browser: Browser) -> None:
    """Take a screenshot of a camera's observations in the UI, without the lists next to them."""
    set_window_size(browser, 1400, 1000)
    browser.open(f"/assets/observations?view=partitions&partition={CAMERA}")
    table = browser.see("//table[.//table]")
    left, _, right, bottom = bounding_box(table)
    above = bounding_box(browser.see("//*[text()='Latest materialization']"))[1]
    save_screenshot(
        browser, "observations", (left - MARGIN, above - 80, right + MARGIN, bottom + MARGIN)
    )


def launch(browser: Browser, ui: DagsterUI) -> None:
    """Take a screenshot of the log of the launch without spot capacity."""
    [run] = ui.runs(tags=[{"key": "dagster/partition", "value": CAMERA_WITHOUT_SPOT}])
    # High enough for the whole log: the page renders only visible lines.
    set_window_size(browser, 1300, 2400)
    browser.open(f"/runs/{run['runId']}?logs=step%3Astages_1_to_3&levels=info")
    first = browser.see("//*[contains(text(), 'to spot: ')]")
    last = browser.see("//*[contains(text(), 'to ondemand: ')]")
    left, top, *_ = bounding_box(first)
    save_screenshot(browser, "launch", (left - MARGIN, top - 4, 1300, bounding_box(last)[3] + 4))


def costs(browser: Browser) -> None:
    """Take a screenshot of the top of the cost report, for the example in docs/costs.md."""
    page = FOLDER / "costs.html"
    write_cost_page(report_of(*EXAMPLE), page)
    set_window_size(browser, WIDTH, 1300)
    browser.driver.get(page.as_uri())
    save_screenshot(
        browser, "costs", (0, 0, WIDTH, bounding_box(browser.see("//figure"))[3] + MARGIN)
    )


def capture_demo() -> None:
    """Take the screenshots of the local demo."""
    output = run_demo()
    with (
        DagsterUI(FOLDER / "dagster", FOLDER / "ui.log") as ui,
        open_browser(ui.url, WIDTH, 800) as browser,
    ):
        terminal(browser, output)
        report(browser)
        asset_graph(browser)
        observations(browser)
        costs(browser)


def capture_sandbox(port: str) -> None:
    """Run the demo of the sandbox, and take the screenshot of its UI."""
    folder = FOLDER / "sandbox"
    folder.mkdir()
    make_footage(folder / "footage")
    demo = Demo(folder, port)
    try:
        if demo.run():
            sys.exit("error: the demo of the sandbox failed")
    finally:
        demo.clean_up()
    with (
        DagsterUI(folder, FOLDER / "sandbox-ui.log") as ui,
        open_browser(ui.url, WIDTH, 800) as browser,
    ):
        launch(browser, ui)


def main() -> None:
    if len(sys.argv) > 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    if missing := missing_browser():
        sys.exit(f"error: {missing}; run tests/support/install_browser.sh")
    if FOLDER.exists():
        sys.exit(f"error: {FOLDER}: exists; remove it, the demo runs in it")
    PICTURES.mkdir(parents=True, exist_ok=True)
    FOLDER.mkdir()
    try:
        capture_demo()
        capture_sandbox(sys.argv[1] if len(sys.argv) == 2 else DEFAULT_PORT)
    finally:
        shutil.rmtree(FOLDER)


if __name__ == "__main__":
    main()
