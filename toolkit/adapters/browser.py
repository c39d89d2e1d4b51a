"""A page in a real headless browser: what a person would see of it, and what its scripts complain of.

The only importer of playwright, which is an extra (`rollback-drills[browser]`). The browser is the one that playwright
installed, or one that the machine has. It opens one page and ends; it never writes, and keeps no profile.
"""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from playwright.sync_api import Page

INSTALLED = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_WITHIN_MS = 20_000
OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking")


class NoBrowserError(ToolkitError):
    """There is no browser to look with."""


@dataclass(frozen=True)
class SeenPage:
    """What the browser showed: the answer's status, the text that can be read, and what went wrong in it.

    `complaints` are uncaught errors of scripts and requests for parts of the page that failed.
    """

    status: int | None
    title: str
    text: str
    complaints: tuple[str, ...]
    seconds: float


def see_page(url: str, *, within_s: float) -> SeenPage:
    """Open a page and read it. NoBrowserError without the extra or a browser; ToolkitError when it does not load.

    In a thread of its own: playwright refuses to work where a notebook's event loop runs.
    """
    with ThreadPoolExecutor(1) as alone:
        return alone.submit(_see, url, within_s).result()


def _see(url: str, within_s: float) -> SeenPage:
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise NoBrowserError(
            "The extra `browser` is not installed", next="pip install 'rollback-drills[browser]'"
        ) from None
    began = time.monotonic()
    try:
        with sync_playwright() as playwright:
            program = _program(playwright.chromium.executable_path)
            browser = playwright.chromium.launch(
                executable_path=program, args=list(OPTIONS), timeout=START_WITHIN_MS, headless=True
            )
            try:
                return _read(browser.new_page(), url, within_s, began)
            finally:
                browser.close()
    except Error as error:
        raise ToolkitError(f"The page does not load in a browser: {str(error).splitlines()[0]}") from None


def _read(page: "Page", url: str, within_s: float, began: float) -> SeenPage:
    complaints: list[str] = []
    page.set_default_timeout(within_s * 1000)
    page.on("pageerror", lambda error: complaints.append(f"a script failed: {error.name}"))
    page.on("requestfailed", lambda request: complaints.append(f"a {request.resource_type} did not load"))
    answer = page.goto(url, wait_until="load")
    text, title = page.inner_text("body"), page.title()
    return SeenPage(answer.status if answer else None, title, text, tuple(complaints), time.monotonic() - began)


def _program(own: str) -> str:
    """Playwright's own browser where it is installed, else one of the machine's."""
    if Path(own).exists():
        return own
    found = next((path for name in INSTALLED if (path := shutil.which(name))), None)
    if found is None:
        raise NoBrowserError("There is no Chromium here", next="playwright install chromium, or install one")
    return found
