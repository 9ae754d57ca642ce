"""``make pictures``: inbox, reference, console, demo and doctor as a person sees them, taken in headless Chromium."""

import io
import os
import pty
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import httpx
from playwright.sync_api import Browser, Page
from rich.console import Console
from rich.text import Text

from relay.domain.secret import Secret
from support.browser import CHROMIUM, running_browser
from support.operator_api import KEY, running_operator_api
from support.relay import PASSWORD, USERNAME, make_client, running_relay
from support.sandbox import running_sandbox

PICTURES = Path(__file__).parents[1] / "pictures"
MESSAGES: tuple[tuple[dict[str, Any], dict[str, str]], ...] = (
    ({"recipients": ["08010000001"], "message": "Your order 1204 is on its way."}, {}),
    ({"recipients": ["08010000002"], "message": "Your parcel arrives today between 14:00 and 16:00."}, {}),
    ({"recipients": ["08010000003"], "message": "Your table is booked for 19:00."}, {}),
    ({"recipients": ["08010000001"], "message": "Ẹ kú àárọ̀! Owó yín ti dé: ₦5,000."}, {}),
    ({"recipients": ["08010000001"], "message": "Your code is 482913. Do not share it.", "message_type": "otp"}, {}),
    ({"recipients": ["08010000012"], "message": "Your invoice is ready."}, {}),
)


def photograph(page: Page, url: str, name: str) -> None:
    """Open a page, wait until it is there, and keep what it looks like."""
    page.goto(url)
    page.wait_for_load_state("load")
    page.wait_for_timeout(500)
    page.screenshot(path=PICTURES / name)
    print(PICTURES / name)


def photograph_console(browser: Browser, name: str, view: str, *, width: int, scheme: Literal["light", "dark"]) -> None:
    """Open a view of the console over an incident that is made up, and keep what it looks like."""
    with running_operator_api() as (url, _incident):
        page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
        page.goto(f"{url}/console")
        page.get_by_label("Key", exact=True).fill(KEY)
        page.keyboard.press("Enter")
        page.get_by_role("button", name=view).first.click()
        if view == "Find":
            page.keyboard.type("0803 123 4578")
            page.keyboard.press("Enter")
            page.get_by_role("button", name="Open").first.click()
        page.wait_for_load_state("networkidle")
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=PICTURES / name)
        page.close()
    print(PICTURES / name)


def photograph_terminal(
    page: Page, directory: Path, words: list[str], environment: Mapping[str, str], name: str
) -> None:
    """Run a command as in a terminal of 100 columns, and keep what it looks like there."""
    near, far = pty.openpty()  # where standard output is no terminal, commands print plain lines
    running = subprocess.Popen(
        [sys.executable, "-m", "relay", *words],
        env={**os.environ, **environment, "COLUMNS": "100", "TERM": "xterm-256color"},
        stdout=far,
    )
    os.close(far)
    output = b""
    with suppress(OSError):  # which is how a terminal ends
        while part := os.read(near, 65_536):
            output += part
    os.close(near)
    running.wait()
    terminal = Console(record=True, width=100, file=io.StringIO())
    terminal.print(Text.from_ansi(output.decode().replace("\r\n", "\n")))
    picture = directory / "terminal.svg"
    terminal.save_svg(str(picture), title=f"relay {' '.join(words)}")
    page.goto(picture.as_uri())
    width, height = page.evaluate(
        "[document.rootElement.viewBox.baseVal.width, document.rootElement.viewBox.baseVal.height]"
    )
    page.set_viewport_size({"width": 1000, "height": round(1000 * height / width)})
    page.screenshot(path=PICTURES / name)
    print(PICTURES / name)


def main() -> int:
    """Make the pictures."""
    if CHROMIUM is None:
        print("Chromium is not installed (Debian: chromium)")
        return 1
    PICTURES.mkdir(exist_ok=True)
    client = make_client()
    with (
        tempfile.TemporaryDirectory() as directory,
        running_sandbox(username=USERNAME, password=Secret(PASSWORD)) as sandbox,
        running_relay(Path(directory), client, upstream=sandbox.base_url) as relay,
        running_browser() as browser,
    ):
        for body, headers in MESSAGES:
            url = f"{relay.base_url}/v1/notifications"
            httpx.post(url, json=body, headers=client.headers | headers, trust_env=False, timeout=30)
        page = browser.new_page(viewport={"width": 1000, "height": 760})
        photograph(page, sandbox.base_url + "/", "inbox.png")
        photograph(page, relay.base_url + "/docs", "reference.png")
        photograph_console(browser, "console-now.png", "Now", width=1280, scheme="light")
        photograph_console(browser, "console-find.png", "Find", width=1280, scheme="light")
        photograph_console(browser, "console-unknown.png", "Unknown", width=1280, scheme="dark")
        photograph_console(browser, "console-phone.png", "Now", width=390, scheme="dark")
        photograph_console(browser, "console-phone-find.png", "Find", width=390, scheme="light")
        photograph_console(browser, "console-usage.png", "Usage", width=1280, scheme="dark")
        photograph_console(browser, "console-phone-audit.png", "Audit", width=390, scheme="light")
        photograph_terminal(page, Path(directory), ["doctor"], relay.environment, "doctor.png")
        photograph_terminal(page, Path(directory), ["demo"], {}, "demo.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
