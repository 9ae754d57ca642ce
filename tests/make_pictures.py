"""``make pictures``: inbox, reference page, demo and doctor as a person sees them, taken in headless Chromium."""

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.text import Text

from relay.domain.secret import Secret
from support_relay import PASSWORD, USERNAME, make_client, running_relay
from support_sandbox import running_sandbox

PICTURES = Path(__file__).parent / "pictures"
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
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


def photograph_terminal(
    page: Page, directory: Path, words: list[str], environment: Mapping[str, str], name: str
) -> None:
    """Run a command as in a terminal of 100 columns, and keep what it looks like there."""
    done = subprocess.run(
        [sys.executable, "-m", "relay", *words],
        env={**os.environ, **environment, "COLUMNS": "100", "FORCE_COLOR": "1", "TERM": "xterm-256color"},
        capture_output=True,
        text=True,
        check=False,
    )
    terminal = Console(record=True, width=100, file=io.StringIO())
    terminal.print(Text.from_ansi(done.stdout))
    picture = directory / "terminal.svg"
    terminal.save_svg(str(picture), title=f"relay {' '.join(words)}")
    page.goto(picture.as_uri())
    page.locator("svg").first.screenshot(path=PICTURES / name)
    print(PICTURES / name)


def main() -> int:
    """Make the pictures."""
    if not CHROMIUM.exists():
        print("Chromium is not installed (Debian: chromium)")
        return 1
    PICTURES.mkdir(exist_ok=True)
    client = make_client()
    with (
        tempfile.TemporaryDirectory() as directory,
        running_sandbox(username=USERNAME, password=Secret(PASSWORD)) as sandbox,
        running_relay(Path(directory), client, upstream=sandbox.base_url) as relay,
        sync_playwright() as playwright,
    ):
        for body, headers in MESSAGES:
            url = f"{relay.base_url}/v1/notifications"
            httpx.post(url, json=body, headers=client.headers | headers, trust_env=False, timeout=30)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1000, "height": 760})
        photograph(page, sandbox.base_url + "/", "inbox.png")
        photograph(page, relay.base_url + "/docs", "reference.png")
        photograph_terminal(page, Path(directory), ["doctor"], relay.environment, "doctor.png")
        photograph_terminal(page, Path(directory), ["demo"], {}, "demo.png")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
