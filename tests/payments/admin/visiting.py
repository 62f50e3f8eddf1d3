"""A person at the back office in a real Chromium, who must not see a single console error.

`visit` is a superuser whose session was made on the server; that the login page leads there too is
shown by a test of its own. All visits of a test process share one browser context, so that
styles and scripts are loaded once; each has a page, a person and an empty local storage of its own.

A file that is run alone leaves a picture of each page in `.florin/screenshots`, for people to look
at; the whole suite, whose processes run side by side, takes none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.conf import settings

from tests.browser import follow
from tests.payments.admin.people import Staff, make_staff
from tests.processes import RunningProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page

SCREENSHOTS = Path(settings.BASE_DIR) / ".florin" / "screenshots"

# Every text of our own pages against what is painted behind it, as WCAG 2.2 computes contrast.
LOW_CONTRAST = """() => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const paint = (colours) => {
    context.clearRect(0, 0, 1, 1);
    for (const colour of colours) { context.fillStyle = colour; context.fillRect(0, 0, 1, 1); }
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((c) => c / 255).map(
      (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const low = [];
  for (const element of document.querySelectorAll("#content *, #main h1 *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    const style = getComputedStyle(element);
    if (!own || element.closest("svg, [aria-hidden]") || !element.checkVisibility()) continue;
    if (style.backgroundImage !== "none") continue;
    const behind = [];
    for (let at = element; at; at = at.parentElement) {
      behind.unshift(getComputedStyle(at).backgroundColor);
    }
    const ground = paint(["#ffffff", ...behind]);
    const text = paint([`rgb(${ground.join(",")})`, style.color]);
    const [a, b] = [luminance(ground), luminance(text)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push(`${ratio.toFixed(2)} ${element.textContent.trim().slice(0, 40)}`);
  }
  return [...new Set(low)];
}"""

_IS_IN_THEME = "theme => document.documentElement.classList.contains(theme)"
_NO_TRANSITION_RUNS = "() => !document.getAnimations().some((one) => one instanceof CSSTransition)"


def picture(page: Page, name: str, *, whole: bool = True) -> None:
    """Keep a picture of a page for people, unless test processes run side by side."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=whole)


@dataclass
class Visit:
    """A person at the back office: the page, and everything the console complained about."""

    page: Page
    base_url: str
    person: Staff
    complaints: list[str] = field(default_factory=list)

    @property
    def user_name(self) -> str:
        """The name under which the audit trail knows the person."""
        return self.person.user.username

    def go(self, path: str) -> None:
        """Open a page of the back office, with all that belongs to it."""
        self.page.goto(self.base_url + path)

    def follow(self, clicked: Locator) -> None:
        """Click on what leads to another page, and wait for that."""
        follow(self.page, clicked)

    def press(self, button: str) -> None:
        """Send a form with the button of this name, and wait for the page that answers."""
        self.follow(self.page.get_by_role("button", name=button))

    def assert_that_texts_stand_out(self) -> None:
        """Each text of our own pages has enough contrast, in the dark theme and in the light one,
        between which people switch with a key of Unfold's.
        """
        for theme in ("dark", "light"):
            while not self.page.evaluate(_IS_IN_THEME, theme):
                classes = self.page.evaluate("document.documentElement.className")
                self.page.keyboard.press("Control+e")
                self.page.wait_for_function(
                    "before => document.documentElement.className !== before", arg=classes
                )
            self.page.wait_for_function(_NO_TRANSITION_RUNS)
            assert self.page.evaluate(LOW_CONTRAST) == [], f"{self.page.url} in the {theme} theme"

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(
            self.page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
        )

    def picture(self, name: str, *, whole: bool = True) -> None:
        """Keep a picture of the page for people, where this file is run alone."""
        picture(self.page, name, whole=whole)

    def text(self) -> str:
        """Everything there is to read on the page."""
        return self.page.inner_text("body")

    def complain(self, complaint: str) -> None:
        """Remember something that must not happen on any page."""
        self.complaints.append(complaint)


@pytest.fixture(scope="session")
def back_office(browser: Browser) -> Iterator[BrowserContext]:
    """The browser context of all visits of this process."""
    context = browser.new_context(viewport={"width": 1360, "height": 900})
    yield context
    context.close()


@pytest.fixture
def stranger(back_office: BrowserContext, web: RunningProcess) -> Iterator[Visit]:
    """A superuser who has not signed in yet."""
    page = back_office.new_page()
    visit = Visit(page=page, base_url=web.url, person=make_staff(superuser=True))
    page.on(
        "console",
        lambda message: (
            visit.complain(f"{page.url}: {message.text}")
            if message.type in ("error", "warning")
            else None
        ),
    )
    page.on("pageerror", lambda error: visit.complain(f"{page.url}: {error}"))
    page.on(
        "requestfailed",
        lambda request: (
            visit.complain(f"failed: {request.url}")
            if request.failure and "ERR_ABORTED" not in request.failure
            else None
        ),
    )
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((web.url, "data:", "blob:"))
            else visit.complain(f"foreign address: {request.url}")
        ),
    )
    yield visit
    if page.url.startswith(web.url):
        page.evaluate("localStorage.clear()")
    page.close()
    back_office.clear_cookies()
    assert visit.complaints == []


@pytest.fixture
def visit(stranger: Visit) -> Visit:
    """A superuser who has signed in."""
    name = settings.SESSION_COOKIE_NAME
    session = stranger.person.client.cookies[name].value
    stranger.page.context.add_cookies([{"name": name, "value": session, "url": stranger.base_url}])
    return stranger
