"""The browser of browser tests: the system's Chromium, driven by Playwright.

Where no Chromium is installed the tests that ask for one are skipped, and the summary of the run
says so in one plain sentence; with FLORIN_REQUIRE_BROWSER=1, as in `.ci/run`, they fail instead.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

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
        yield chromium
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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say plainly how many browser tests did not run."""
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if _MISSING in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.write_line(f"Browser tests skipped ({len(skipped)}): {_MISSING}.")
