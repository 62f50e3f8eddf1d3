"""The web process as it is run: on the right database, with its static files, in a browser."""

from __future__ import annotations

import urllib3
from playwright.sync_api import Page

from tests.processes import RunningProcess


def test_the_web_process_answers_that_it_is_ready(web: RunningProcess) -> None:
    answer = urllib3.request("GET", f"{web.url}/readyz")
    assert answer.status == 200
    assert answer.json()["checks"]["database"]["status"] == "ok"


def test_the_web_process_serves_the_static_files_itself(web: RunningProcess) -> None:
    answer = urllib3.request("GET", f"{web.url}/static/admin/js/core.js")
    assert answer.status == 200
    assert "javascript" in answer.headers["content-type"]


def test_the_login_page_comes_up_in_a_browser_with_its_styles(
    web: RunningProcess, page: Page
) -> None:
    failed: list[str] = []
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.on("response", lambda got: failed.append(got.url) if got.status >= 400 else None)
    page.goto(f"{web.url}/admin/")
    page.get_by_label("Username").fill("nobody")
    assert page.locator("button[type=submit]").is_visible()
    assert not failed
