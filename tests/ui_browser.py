"""The Dagster UI as its users meet it: `munin ui` as a process, seen through headless chromium."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import psutil
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, CHROMEDRIVER = "chromium", "chromedriver"
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]
# Where the code location of `munin ui` keeps its jobs and assets.
LOCATION = {
    "repositoryName": "__repository__",
    "repositoryLocationName": "odins_ravne_assets.definitions",
}
# What a busy machine may take to start the UI, to show a page, and to end.
STARTS_WITHIN, SHOWS_WITHIN, ENDS_WITHIN = 60.0, 30.0, 20.0

Found = TypeVar("Found")


def missing_browser() -> str | None:
    """Why there is no browser to look through; None when there is one."""
    missing = [name for name in (CHROMIUM, CHROMEDRIVER) if shutil.which(name) is None]
    return f"{' and '.join(missing)} not installed" if missing else None


def wait_for(what: str, found: Callable[[], Found | None], seconds: float) -> Found:
    """Ask again and again until there is an answer that is true."""
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)
    return answer


class DagsterUI:
    """`munin ui` on an instance, started as a shell starts what it puts into the background.

    Args:
        home: DAGSTER_HOME.
        log: where what it prints is written to.
    """

    def __init__(self, home: Path, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).parent / "munin"), "ui", "--port", str(self.port)],
                env={**os.environ, "DAGSTER_HOME": str(home)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
            )

    def wait_until_ready(self) -> None:
        """Wait for the server and for the assets that it shows."""
        query = "{workspaceOrError {... on Workspace {locationEntries {loadStatus}}}}"

        def loaded() -> bool:
            assert self._process.poll() is None, self._log.read_text()
            try:
                answer = self.graphql(query)
            except (urllib.error.URLError, ConnectionError):
                return False
            entries = answer["workspaceOrError"]["locationEntries"]
            return [entry["loadStatus"] for entry in entries] == ["LOADED"]

        wait_for("the UI with its code location", loaded, STARTS_WITHIN)

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """Ask what the pages ask, where they ask it."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    def stop(self) -> None:
        """Ask it to end, as `kill` does, and see that it and all that it started are gone."""
        started = psutil.Process(self._process.pid).children(recursive=True)
        self._process.terminate()
        try:
            self._process.wait(ENDS_WITHIN)
            _, alive = psutil.wait_procs(started, timeout=ENDS_WITHIN)
            assert not alive, f"left behind: {[process.cmdline() for process in alive]}"
        finally:
            for process in started:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            if self._process.poll() is None:
                self._process.kill()


class Browser:
    """Headless chromium on one UI."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self._url = url

    def open(self, path: str) -> None:
        """Go to a page of the UI, by its path."""
        self.driver.get(self._url + path)

    def see(self, xpath: str) -> WebElement:
        """Wait until an element can be seen."""

        def visible(driver: webdriver.Chrome) -> WebElement | Literal[False]:
            found = driver.find_elements(By.XPATH, xpath)
            return next((element for element in found if element.is_displayed()), False)

        message = f"not to be seen on {self.driver.current_url}: {xpath}"
        wait = WebDriverWait(
            self.driver, SHOWS_WITHIN, ignored_exceptions=[StaleElementReferenceException]
        )
        return wait.until(visible, message)

    def read(self, *texts: str) -> str:
        """Wait until the page says all of these; all that it says."""

        def says(driver: webdriver.Chrome) -> str | Literal[False]:
            page = driver.find_element(By.TAG_NAME, "body").text
            return page if all(text in page for text in texts) else False

        message = f"not said on {self.driver.current_url}: {texts}"
        return WebDriverWait(self.driver, SHOWS_WITHIN).until(says, message)

    def click(self, xpath: str) -> None:
        """Wait for an element and click it."""
        self.see(xpath).click()


def button(text: str) -> str:
    """The XPath of a button that says this."""
    return f"//button[contains(., {text!r})]"


@contextmanager
def open_browser(url: str, width: int, height: int) -> Iterator[Browser]:
    """A browser with nothing remembered, its window of a size in pixels."""
    with tempfile.TemporaryDirectory(prefix="munin-browser-") as folder:
        options = Options()
        options.binary_location = str(shutil.which(CHROMIUM))
        for flag in (*FLAGS, f"--user-data-dir={folder}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options, Service(str(shutil.which(CHROMEDRIVER))))
        try:
            yield Browser(driver, url)
        finally:
            driver.quit()
