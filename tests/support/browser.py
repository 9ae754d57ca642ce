"""Debian's Chromium for tests of pages, and what every good page passes."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from support.waiting import PATIENCE_SECONDS

CHROMIUM = shutil.which("chromium")
DESK: ViewportSize = {"width": 1280, "height": 900}
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

CONTRAST = """() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const back = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = Array.from(element.childNodes).some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !element.checkVisibility()) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(back(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push(`${element.className || element.tagName}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""
"""Gives every text that does not stand out from its ground (WCAG 2.2, contrast of 4.5)."""

UNNAMED = """() => Array.from(document.querySelectorAll('input, select, textarea, button, a, progress'))
    .filter((e) => e.checkVisibility() && !(e.labels?.length || e.innerText?.trim() || e.getAttribute('aria-label')))
    .map((e) => e.outerHTML)"""
"""Gives every control that has no name."""


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A browser without a window, and with as much patience as the other tests have."""
    patience_ms = PATIENCE_SECONDS * 1000
    expect.set_options(timeout=patience_ms)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=patience_ms)
        yield running
        running.close()


def new_page(browser: Browser, viewport: ViewportSize = DESK) -> Page:
    """An empty page, as large as an operator's screen."""
    page = browser.new_page(viewport=viewport)
    page.set_default_timeout(PATIENCE_SECONDS * 1000)
    return page


class Watched:
    """A page with everything noted that a good page never does."""

    def __init__(self, page: Page, base_url: str) -> None:
        self.page = page
        self.trouble: list[str] = []
        page.on("pageerror", lambda error: self.trouble.append(f"error: {error}"))
        page.on("dialog", lambda dialog: self.trouble.append(f"dialog: {dialog.message}"))
        page.on("console", lambda line: self.trouble.append(line.text) if line.type in ("error", "warning") else None)
        page.on("request", lambda request: self._check(request.url, base_url))

    def _check(self, url: str, base_url: str) -> None:
        if urlsplit(url).netloc != urlsplit(base_url).netloc:
            self.trouble.append(f"request: {url}")
