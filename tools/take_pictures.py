"""Takes the pictures of the README: `python tools/take_pictures.py`, where the tests can run.

Runs `make demo` in an instance of its own, opens the UI on it in headless chromium, and writes
docs/pictures/: the end of the demo in a terminal, the asset graph, a camera's observations and best
crops, and the camera's report.
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

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from dagster_ui import DagsterUI
from selenium.webdriver.common.by import By
from ui_browser import Browser, missing_browser, open_browser

REPOSITORY = Path(__file__).parent.parent
PICTURES = REPOSITORY / "docs" / "pictures"
# The pictures show paths; this one says nothing about the machine they were taken on.
FOLDER = Path(tempfile.gettempdir()) / "odins-ravne"
CAMERA = "demo-camera"
ASSETS = ["footage", "detections", "classifications", "observations", "exports"]
COLUMNS = 80  # of the terminal
MARGIN = 12  # around the graph, in pixels

PAGE = """<!DOCTYPE html><meta charset="utf-8">
<style>body {{margin: 0}} pre {{display: inline-block; margin: 0; padding: 16px 20px;
font: 15px "DejaVu Sans Mono", monospace; color: {foreground}; background: {background}}}
{stylesheet}</style><pre>{code}</pre>"""


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


def terminal(browser: Browser, printed: str) -> None:
    """What a terminal shows, drawn by the browser."""
    console = Console(width=COLUMNS, record=True, file=io.StringIO())
    console.print(Text.from_ansi(f"$ make demo\n{printed.rstrip()}"))
    page = FOLDER / "terminal.html"
    console.save_html(str(page), theme=MONOKAI, code_format=PAGE)
    browser.driver.get(page.as_uri())
    drawn = browser.driver.find_element(By.TAG_NAME, "pre")
    drawn.screenshot(str(PICTURES / "demo.png"))


def asset_graph(browser: Browser) -> None:
    """All assets in their groups, each in the colour of its state, without what is around them."""
    browser.driver.set_window_size(1640, 760)
    browser.open("/asset-groups?expanded=global@global:munin,global@global:hugin")
    box = "//*[local-name()='foreignObject']"
    for asset in ASSETS:
        browser.see(f"{box}//*[text()='{asset}']")
    time.sleep(2)  # the boxes move to their places and take on colours
    places = [found.rect for found in browser.driver.find_elements(By.XPATH, box)]
    corners = (
        min(place["x"] for place in places) - MARGIN,
        min(place["y"] for place in places) - MARGIN,
        max(place["x"] + place["width"] for place in places) + MARGIN,
        max(place["y"] + place["height"] for place in places) + MARGIN,
    )
    page = Image.open(io.BytesIO(browser.driver.get_screenshot_as_png()))
    page.crop(corners).save(PICTURES / "asset-graph.png", optimize=True)


def camera(browser: Browser) -> None:
    """A camera's observations, then its best crops."""
    browser.driver.set_window_size(1640, 940)
    browser.open(f"/assets/observations?view=partitions&partition={CAMERA}")
    browser.see("//table//table")
    browser.driver.save_screenshot(str(PICTURES / "observations.png"))
    browser.open(f"/assets/detections?view=partitions&partition={CAMERA}")
    browser.click("//*[contains(text(), 'Show Markdown')]")
    browser.see("//img[@alt='the best crops']")
    browser.driver.save_screenshot(str(PICTURES / "best-crops.png"))


def report(browser: Browser) -> None:
    """The top of the camera's report, and its gallery."""
    browser.driver.set_window_size(1200, 900)
    browser.driver.get((FOLDER / "results" / CAMERA / "stage3" / "report.html").as_uri())
    browser.see("//h1")
    browser.driver.save_screenshot(str(PICTURES / "report.png"))
    browser.driver.execute_script("document.getElementById('gallery').scrollIntoView()")
    browser.see("//article//img[@src]")
    time.sleep(1)  # pictures are decoded
    browser.driver.save_screenshot(str(PICTURES / "report-visits.png"))


def main() -> None:
    if missing := missing_browser():
        sys.exit(f"error: {missing}; run tests/install_browser.sh")
    if FOLDER.exists():
        sys.exit(f"error: {FOLDER}: is there already; remove it, the demo is run in it")
    PICTURES.mkdir(parents=True, exist_ok=True)
    try:
        printed = run_demo()
        with (
            DagsterUI(FOLDER / "dagster", FOLDER / "ui.log") as ui,
            open_browser(ui.url, 1640, 940) as browser,
        ):
            terminal(browser, printed)
            asset_graph(browser)
            camera(browser)
            report(browser)
    finally:
        shutil.rmtree(FOLDER)


if __name__ == "__main__":
    main()
