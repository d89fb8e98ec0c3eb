"""Takes all pictures of the README and the docs: `python tools/take_pictures.py [PORT]`.

Where the tests can run, in some three minutes. It runs `make demo` and the demo of the sandbox
(which listens on PORT, 4599 if not given), opens what they made in headless chromium, and writes
docs/pictures/. Pictures are as wide as a README on GitHub, and twice as fine, so that they can be
read there and on a phone.
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
# The pictures show paths; this one says nothing about the machine they were taken on.
FOLDER = Path(tempfile.gettempdir()) / "odins-ravne"
CAMERA, STARVED = "demo-camera", "camera-b"
ASSETS = ["footage", "detections", "classifications", "observations", "exports"]
COLUMNS = 80  # of the terminal
WIDTH = 830  # of a README on GitHub, in pixels of the page
MARGIN = 12  # around the graph, the same

PAGE = """<!DOCTYPE html><meta charset="utf-8">
<style>body {{margin: 0}} pre {{display: inline-block; margin: 0; padding: 16px 20px;
font: 15px "DejaVu Sans Mono", monospace; color: {foreground}; background: {background}}}
{stylesheet}</style><pre>{code}</pre>"""

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels of the page


def run_demo() -> str:
    """Run `make demo` in this environment; what it prints on a terminal."""
    command = ["make", "--no-print-directory", "demo", f"VENV={sys.prefix}", f"DEMO={FOLDER}"]
    # The environment is there, however it was made.
    command += [f"--old-file={sys.prefix}/.demo"]
    terminal = {"FORCE_COLOR": "1", "COLUMNS": str(COLUMNS)}
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


def sized(browser: Browser, width: int, height: int) -> None:
    """A window of this size, drawn twice as fine."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def keep(browser: Browser, name: str, box: Box | None = None) -> None:
    """Write what the window shows, or a part of it."""
    picture = Image.open(io.BytesIO(browser.driver.get_screenshot_as_png())).convert("RGB")
    if box:
        left, top, right, bottom = (round(2 * side) for side in box)
        picture = picture.crop((left, top, right, bottom))
    # 256 colours are enough for a page, and a quarter of the bytes.
    few = picture.quantize(256, dither=Image.Dither.NONE)
    few.save(PICTURES / f"{name}.png", optimize=True)


def box_of(*elements: WebElement, margin: float = 0) -> Box:
    """What holds all of some elements."""
    places = [element.rect for element in elements]
    return (
        min(place["x"] for place in places) - margin,
        min(place["y"] for place in places) - margin,
        max(place["x"] + place["width"] for place in places) + margin,
        max(place["y"] + place["height"] for place in places) + margin,
    )


def terminal(browser: Browser, printed: str) -> None:
    """What a terminal shows, drawn by the browser."""
    console = Console(width=COLUMNS, record=True, file=io.StringIO())
    console.print(Text.from_ansi(f"$ make demo\n{printed.rstrip()}"))
    page = FOLDER / "terminal.html"
    console.save_html(str(page), theme=MONOKAI, code_format=PAGE)
    sized(browser, WIDTH, 600)
    browser.driver.get(page.as_uri())
    keep(browser, "demo", box_of(browser.see("//pre")))


def report(browser: Browser) -> None:
    """The top of the camera's report, and its visits."""
    page = (FOLDER / "results" / CAMERA / "stage3" / "report.html").as_uri()
    sized(browser, WIDTH, 1300)
    browser.driver.get(page)
    keep(browser, "report", (0, 0, WIDTH, box_of(browser.see("//figure"))[3] + MARGIN))
    _visits(browser)
    cards = browser.driver.find_elements(By.TAG_NAME, "article")
    keep(browser, "report-visits", (0, 0, WIDTH, _on_screen(browser, *cards)[3] + 2 * MARGIN))


def _visits(browser: Browser) -> None:
    browser.driver.execute_script("document.getElementById('gallery').scrollIntoView()")
    browser.see("//article//img[@src]")
    time.sleep(1)  # pictures are decoded


def _on_screen(browser: Browser, *elements: WebElement) -> Box:
    left, top, right, bottom = box_of(*elements)
    scrolled: float = browser.driver.execute_script("return scrollY")
    return left, top - scrolled, right, bottom - scrolled


def asset_graph(browser: Browser) -> None:
    """All assets in their groups, each in the colour of its state, without what is around them."""
    sized(browser, 1640, 760)
    browser.open("/asset-groups?expanded=global@global:munin,global@global:hugin")
    box = "//*[local-name()='foreignObject']"
    for asset in ASSETS:
        browser.see(f"{box}//*[text()='{asset}']")
    time.sleep(2)  # the boxes move to their places and take on colours
    found = browser.driver.find_elements(By.XPATH, box)
    keep(browser, "asset-graph", box_of(*found, margin=MARGIN))


def observations(browser: Browser) -> None:
    """A camera's observations in the UI, without the lists beside them."""
    sized(browser, 1400, 1000)
    browser.open(f"/assets/observations?view=partitions&partition={CAMERA}")
    table = browser.see("//table[.//table]")
    left, _, right, bottom = box_of(table)
    above = box_of(browser.see("//*[text()='Latest materialization']"))[1]
    keep(browser, "observations", (left - MARGIN, above - 80, right + MARGIN, bottom + MARGIN))


def launch(browser: Browser, ui: DagsterUI) -> None:
    """The log of the launch for which there was no spot capacity."""
    [run] = ui.runs(tags=[{"key": "dagster/partition", "value": STARVED}])
    # High enough for all of the log: the page draws only the lines that are to be seen.
    sized(browser, 1300, 2400)
    browser.open(f"/runs/{run['runId']}?logs=step%3Astages_1_to_3&levels=info")
    first = browser.see("//*[contains(text(), 'to spot: ')]")
    last = browser.see("//*[contains(text(), 'to ondemand: ')]")
    left, top, *_ = box_of(first)
    keep(browser, "launch", (left - MARGIN, top - 4, 1300, box_of(last)[3] + 4))


def costs(browser: Browser) -> None:
    """The top of the page of costs, of the example that docs/costs.md works out by hand."""
    page = FOLDER / "costs.html"
    write_cost_page(report_of(*EXAMPLE), page)
    sized(browser, WIDTH, 1300)
    browser.driver.get(page.as_uri())
    keep(browser, "costs", (0, 0, WIDTH, box_of(browser.see("//figure"))[3] + MARGIN))


def of_the_demo() -> None:
    """What one camera on this machine shows."""
    printed = run_demo()
    with (
        DagsterUI(FOLDER / "dagster", FOLDER / "ui.log") as ui,
        open_browser(ui.url, WIDTH, 800) as browser,
    ):
        terminal(browser, printed)
        report(browser)
        asset_graph(browser)
        observations(browser)
        costs(browser)


def of_the_sandbox(port: str) -> None:
    """What a cloud shows: the demo of the sandbox, then its UI."""
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
        sys.exit(f"error: {FOLDER}: is there already; remove it, the demo is run in it")
    PICTURES.mkdir(parents=True, exist_ok=True)
    FOLDER.mkdir()
    try:
        of_the_demo()
        of_the_sandbox(sys.argv[1] if len(sys.argv) == 2 else DEFAULT_PORT)
    finally:
        shutil.rmtree(FOLDER)


if __name__ == "__main__":
    main()
