"""The browser of browser tests: the system's Chromium, driven by Playwright.

Where no Chromium is installed the tests that ask for one are skipped, and the summary of the run
says so in one plain sentence; with FLORIN_REQUIRE_BROWSER=1, as in `.ci/run`, they fail instead.

A click that leads to another page goes through `follow`: a page that is asked right after a click
whether it has loaded says yes, and means the old one. When a test fails, its report tells what
each open page showed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_MISSING = "no Chromium on the path, so browser tests do not run (Debian: apt-get install chromium)"
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
_SHOWN_CHARACTERS = 1500
_running: list[Browser] = []


def follow(page: Page, clicked: Locator) -> None:
    """Click, and wait until the page to which it leads is there with all that belongs to it."""
    with page.expect_navigation():
        clicked.click()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A running Chromium with a fresh profile."""
    executable = next(filter(None, map(shutil.which, _NAMES)), None)
    if executable is None:
        if os.environ.get("FLORIN_REQUIRE_BROWSER") == "1":
            pytest.fail(f"FLORIN_REQUIRE_BROWSER=1, and {_MISSING}")
        pytest.skip(_MISSING)
    from django.db import connections
    from playwright.sync_api import sync_playwright

    # Playwright keeps an event loop in this thread, in which Django refuses its blocking
    # connection; nothing runs concurrently in that loop while a test talks to the database.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=_FLAGS)
        _running.append(chromium)
        yield chromium
        _running.clear()
        chromium.close()
        # Connections opened beside a running event loop are kept apart from the thread's others,
        # so that nobody else can close them once the loop has ended.
        connections.close_all()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in a browser context of its own: no cookies of other tests."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what each open page shows to the report of a test that failed."""
    report = yield
    if report.failed and call.when == "call":
        for browser in _running:
            for context in browser.contexts:
                for page in context.pages:
                    report.sections.append(("Page in the browser", _shown(page)))
    return report


def _shown(page: Page) -> str:
    from playwright.sync_api import Error

    try:
        text = page.inner_text("body", timeout=2000)
        return f"{page.url}\n{page.title()}\n\n{text[:_SHOWN_CHARACTERS]}"
    except Error as error:
        return f"{page.url}\nIt does not answer: {error}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say plainly how many browser tests did not run."""
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if _MISSING in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.write_line(f"Browser tests skipped ({len(skipped)}): {_MISSING}.")
