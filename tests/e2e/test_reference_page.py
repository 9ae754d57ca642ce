"""The reference page in a real browser: it fits a phone, what is read comes first, and the search finds."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from support.browser import CHROMIUM, new_page, running_browser
from support.relay import RelayProcess, make_client, running_relay

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    client = make_client()
    with running_relay(tmp_path_factory.mktemp("relay"), client, upstream="http://127.0.0.1:9") as relay:
        yield relay


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as running:
        yield running


@pytest.fixture
def phone(browser: Browser) -> Iterator[Page]:
    page = new_page(browser, viewport={"width": 390, "height": 844})
    yield page
    page.close()


@pytest.mark.parametrize("path", ["/docs", "/docs/problems", "/docs/webhooks"])
def test_a_page_fits_a_phone_and_begins_with_what_is_read(phone: Page, relay: RelayProcess, path: str) -> None:
    phone.goto(relay.base_url + path)

    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    heading = phone.locator("h1").bounding_box()
    assert heading is not None
    assert heading["y"] < 200


def test_the_address_alone_leads_to_the_reference(phone: Page, relay: RelayProcess) -> None:
    phone.goto(relay.base_url)

    assert phone.url == f"{relay.base_url}/docs"


@pytest.mark.parametrize(
    ("path", "words", "found"),
    [("/docs", "cancel queued", "cancelNotification"), ("/docs/problems", "units ran out", "upstream_no_balance")],
)
def test_the_search_leaves_what_has_every_word(
    phone: Page, relay: RelayProcess, path: str, words: str, found: str
) -> None:
    phone.goto(relay.base_url + path)
    shown = "[...document.querySelectorAll('main section[id]')].filter((s) => !s.hidden).map((s) => s.id)"
    everything = phone.evaluate(shown)
    phone.locator("#search").fill(words)
    left = phone.evaluate(shown)

    assert found in left
    assert len(left) < len(everything) / 2
    phone.locator("#search").fill("")
    assert phone.evaluate(shown) == everything
