"""Headless Chromium for tests and tools."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

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
# On a busy machine.
PAGE_TIMEOUT_SECONDS = 30.0


def missing_browser() -> str | None:
    """Return the reason why there is no browser, or None."""
    missing = [name for name in (CHROMIUM, CHROMEDRIVER) if shutil.which(name) is None]
    return f"{' and '.join(missing)} not installed" if missing else None


class Browser:
    """Headless Chromium on one UI."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self._url = url

    def open(self, path: str) -> None:
        """Open a page of the UI, by its path."""
        self.driver.get(self._url + path)

    def see(self, xpath: str) -> WebElement:
        """Wait until an element is visible."""

        def visible(driver: webdriver.Chrome) -> WebElement | Literal[False]:
            found = driver.find_elements(By.XPATH, xpath)
            return next((element for element in found if element.is_displayed()), False)

        message = f"not visible on {self.driver.current_url}: {xpath}"
        wait = WebDriverWait(
            self.driver, PAGE_TIMEOUT_SECONDS, ignored_exceptions=[StaleElementReferenceException]
        )
        return wait.until(visible, message)

    def read(self, *texts: str) -> str:
        """Wait until the page contains all of these texts; return its text."""

        def contains(driver: webdriver.Chrome) -> str | Literal[False]:
            page = driver.find_element(By.TAG_NAME, "body").text
            return page if all(text in page for text in texts) else False

        message = f"missing on {self.driver.current_url}: {texts}"
        return WebDriverWait(self.driver, PAGE_TIMEOUT_SECONDS).until(contains, message)

    def click(self, xpath: str) -> None:
        """Wait for an element and click it."""
        self.see(xpath).click()


def button(text: str) -> str:
    """Return the XPath of a button with a text."""
    return f"//button[contains(., {text!r})]"


@contextmanager
def open_browser(url: str, width: int, height: int) -> Iterator[Browser]:
    """Open a browser with an empty profile and a window size in pixels."""
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
