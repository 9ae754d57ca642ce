"""The inbox page in a real browser: what it shows, what it switches, who can use it, and that it trusts no message."""

import json
import socket
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from relay.domain.secret import Secret
from relay.sandbox.switches import SandboxAccount
from support.browser import CHROMIUM, CONTRAST, UNNAMED, Watched, new_page, running_browser
from support.relay import free_port
from support.sandbox import BALANCE, FALLBACK, NORMAL, make_query, running_sandbox

VECTORS = Path(__file__).parents[1] / "vectors" / "segments.jsonl"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as running:
        yield running


@pytest.fixture
def sandbox() -> Iterator[running_sandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture
def page(browser: Browser, sandbox: running_sandbox) -> Iterator[Page]:
    opened = new_page(browser)
    watched = Watched(opened, sandbox.base_url)
    yield opened
    opened.close()
    assert watched.trouble == []


def send(sandbox: running_sandbox, path: str = FALLBACK, **change: str) -> None:
    """Send to the stand-in, whatever comes back."""
    httpx.get(f"{sandbox.base_url}{path}?{make_query(**change)}", trust_env=False, timeout=60)


def open_page(page: Page, sandbox: running_sandbox) -> None:
    """Open the inbox and wait until its stream is there."""
    page.goto(sandbox.base_url)
    expect(page.locator("#live")).to_have_text("live")


def test_each_account_is_shown_and_changed_by_itself(browser: Browser) -> None:
    backup = SandboxAccount(name="backup", username="team", password=Secret("p"), units=Decimal(50), price=Decimal(2))
    with running_sandbox(accounts=(backup,)) as sandbox:
        page = new_page(browser)
        open_page(page, sandbox)
        expect(page.locator("#units")).to_have_text("smsclone 10000.00 · backup 50.00")
        page.get_by_label("at the account").select_option("backup")
        page.get_by_role("button", name="No balance").click()
        expect(page.get_by_role("button", name="No balance")).to_have_attribute("aria-pressed", "true")
        page.get_by_text("Password", exact=True).click()
        page.get_by_label("Change the password to").fill("new")
        page.get_by_role("button", name="Set").last.click()
        expect(page.get_by_label("Change the password to")).to_have_value("")
        send(sandbox, username="team", password="new")
        send(sandbox, username="team", password="p")
        send(sandbox)
        expect(page.locator(".card .account")).to_have_text(["smsclone", "backup", "backup"])
        expect(page.locator(".card .verdict")).to_have_text(
            ["Not processed: TG11 (another username or password)", "Not processed: TG17 (switch no_balance)"]
        )
        page.get_by_label("Search by sender").fill("smsclone")
        expect(cards(page)).to_have_count(1)
        page.close()


def cards(page: Page) -> Any:
    """The messages on view."""
    return page.locator(".card:not([hidden])")


def test_messages_stand_newest_first_with_sender_route_encoding_outcome_and_rule(
    page: Page, sandbox: running_sandbox
) -> None:
    send(sandbox, NORMAL, sender="PayApp", message="Your code is 482913", recipient="2348010000002")
    send(sandbox, sender="FOODCO", message="Owó ọjà: ₦500", recipient="2348010000003,2348039999999")

    open_page(page, sandbox)

    expect(cards(page)).to_have_count(2)
    newest, oldest = cards(page).nth(0), cards(page).nth(1)
    expect(newest.locator(".sender")).to_have_text("FOODCO")
    expect(newest.locator(".chip")).to_have_text(["dnd-fallback", "UCS-2", "1 part"])
    expect(newest.locator(".number")).to_have_text(["2348010000003", "2348039999999"])
    expect(newest.locator(".outcome")).to_have_text(["✕ DND rejected", "✓ sent"])
    expect(newest.locator(".rule")).to_have_text(["magic number: rejected for DND on every route", "sent by default"])
    expect(oldest.locator(".chip")).to_have_text(["normal", "GSM-7", "1 part"])
    expect(oldest.locator(".outcome")).to_have_text(["✕ DND rejected"])
    newest.get_by_text("Answer").click()
    expect(newest.locator("pre")).to_contain_text("TG00-MESSAGE PROCESSED:3333|2348010000003|")


def test_a_message_appears_by_itself_and_is_announced(page: Page, sandbox: running_sandbox) -> None:
    open_page(page, sandbox)
    expect(page.locator("#empty")).to_contain_text(f'base_url = "{sandbox.base_url}"')

    send(sandbox, message="one")

    expect(cards(page).locator(".bubble")).to_have_text(["one"])
    expect(page.locator("#empty")).to_be_hidden()
    expect(page.get_by_role("status")).to_have_text("From ACME to 1 recipient: sent")
    expect(page.locator("#units")).to_have_text("9999.00")


def test_what_was_refused_or_failed_says_so(page: Page, sandbox: running_sandbox) -> None:
    send(sandbox, sender="BLOCKED")
    send(sandbox, recipient="2348010000014")

    open_page(page, sandbox)

    expect(cards(page).nth(1).locator(".verdict")).to_have_text("Not processed: TG18 (sender BLOCKED)")
    expect(cards(page).nth(0).locator(".verdict")).to_have_text(
        "On the wire: html (magic number 2348010000014: an HTML page instead of an answer)"
    )


@pytest.mark.parametrize(
    "text",
    ["<img src=x onerror=alert(1)>", "<script>alert(1)</script>", '"><svg onload=alert(1)>', "javascript:alert(1)"],
)
def test_a_message_is_text_wherever_it_is_shown(page: Page, sandbox: running_sandbox, text: str) -> None:
    send(sandbox, message=text, sender=text, recipient=text.replace(",", ""))
    open_page(page, sandbox)
    send(sandbox, message=text, sender=text, recipient=text.replace(",", ""))

    expect(cards(page)).to_have_count(2)
    expect(cards(page).locator(".bubble")).to_have_text([text, text])
    assert page.locator("#list img, #list script, #list svg, #list a").count() == 0


def test_a_text_is_drawn_in_the_parts_it_travels_in(page: Page, sandbox: running_sandbox) -> None:
    send(sandbox, message="A" * 152 + "€" + "B" * 20)

    open_page(page, sandbox)

    expect(cards(page).locator(".bubble")).to_have_count(2)
    expect(cards(page).locator(".part")).to_have_text(
        ["Part 1 of 2: 152 of 153 septets", "Part 2 of 2: 22 of 153 septets"]
    )
    expect(cards(page).get_by_role("progressbar")).to_have_count(2)


def test_the_page_cuts_every_text_of_the_vectors_like_the_rules(page: Page, sandbox: running_sandbox) -> None:
    open_page(page, sandbox)
    script = "async ([text, encoding]) => (await import('/inbox.js')).cutIntoParts(text, encoding)"
    cases = [json.loads(line) for line in VECTORS.read_text().splitlines()]
    assert cases

    for case in cases:
        parts = page.evaluate(script, [case["text"], case["encoding"]])
        assert "".join(part["text"] for part in parts) == case["text"]
        assert len(parts) == case["segments"], case["id"]


def test_search_narrows_by_sender_number_text_and_outcome(page: Page, sandbox: running_sandbox) -> None:
    send(sandbox, sender="ACME", message="order 1204", recipient="2348010000002")
    send(sandbox, sender="PayApp", message="code 77", recipient="2348039999999")
    open_page(page, sandbox)
    search = page.get_by_label("Search by sender, number, text, route or outcome")

    for wanted, sender in (("payapp", "PayApp"), ("0000002", "ACME"), ("ORDER 12", "ACME"), ("sent_dnd", "ACME")):
        search.fill(wanted)
        expect(cards(page).locator(".sender")).to_have_text([sender])
    search.fill("nothing like it")
    expect(page.get_by_text("No message matches.")).to_be_visible()
    search.fill("")
    expect(cards(page)).to_have_count(2)


def test_clear_empties_the_ledger_and_every_page(page: Page, sandbox: running_sandbox) -> None:
    send(sandbox)
    open_page(page, sandbox)

    page.get_by_role("button", name="Clear").click()

    expect(cards(page)).to_have_count(0)
    expect(page.get_by_text("Nothing has arrived yet.")).to_be_visible()
    assert sandbox.ledger() == []


def test_balance_calls_are_out_of_the_way_until_asked_for(page: Page, sandbox: running_sandbox) -> None:
    send(sandbox, BALANCE)
    open_page(page, sandbox)
    expect(page.locator("#total")).to_have_text("1")
    expect(cards(page)).to_have_count(0)

    page.get_by_label("balance calls", exact=True).check()

    expect(cards(page).locator(".verdict")).to_have_text("Balance asked: 10000.00")


@pytest.mark.parametrize(
    ("button", "result", "fault"),
    [
        ("DND on", "processed", None),
        ("No balance", "TG17", None),
        ("Slow", "processed", "slow"),
        ("Garbage", "processed", "garbage"),
        ("Hang", "processed", "hang"),
        ("Reset", "processed", "reset"),
    ],
)
def test_a_button_switches_a_behaviour_for_the_next_call_only(
    page: Page, sandbox: running_sandbox, button: str, result: str, fault: str | None
) -> None:
    open_page(page, sandbox)
    toggle = page.get_by_role("button", name=button)
    expect(toggle).to_have_attribute("aria-pressed", "false")

    toggle.click()
    expect(toggle).to_have_attribute("aria-pressed", "true")
    expect(toggle).to_contain_text("1 call left")
    try_to_send(sandbox)

    expect(toggle).to_have_attribute("aria-pressed", "false")
    [entry] = sandbox.sends()
    assert (entry.result, entry.fault) == (result, fault)
    if button == "DND on":
        assert entry.deliveries[0].outcome == "sent_dnd"


def try_to_send(sandbox: running_sandbox) -> None:
    """Send without waiting for an answer that may never come, and leave once it has arrived."""
    with socket.create_connection(("127.0.0.1", sandbox.port)) as connection:
        query = make_query(recipient="2348039999999")
        connection.sendall(f"GET {FALLBACK}?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        sandbox.wait_for_sends(1)


def test_a_switch_can_hold_until_it_is_switched_off(page: Page, sandbox: running_sandbox) -> None:
    open_page(page, sandbox)
    page.get_by_label("for", exact=True).select_option("")
    toggle = page.get_by_role("button", name="DND on")

    toggle.click()
    expect(toggle).to_contain_text("until switched off")
    for _ in range(3):
        send(sandbox, recipient="2348039999999")
    toggle.click()
    expect(toggle).to_have_attribute("aria-pressed", "false")
    send(sandbox, recipient="2348039999999")

    outcomes = [entry.deliveries[0].outcome for entry in sandbox.sends()]
    assert outcomes == ["sent_dnd", "sent_dnd", "sent_dnd", "sent"]


def test_doubtful_behaviour_and_units_are_set_under_their_headings(page: Page, sandbox: running_sandbox) -> None:
    open_page(page, sandbox)
    page.get_by_text("More faults and doubtful behaviour").click()
    page.get_by_label("for", exact=True).select_option("")

    for label, value in (("Fields of a record", "9"), ("Numbers come back as", "080")):
        page.get_by_label(label).select_option(value)
        expect(page.get_by_label(label)).to_have_attribute("data-changed", "true")  # as the sandbox says
    page.get_by_text("Units", exact=True).click()
    page.get_by_label("Set the units left to").fill("12.5")
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.locator("#units")).to_have_text("12.50")
    send(sandbox)

    [entry] = sandbox.sends()
    assert "|08010000001|" in entry.answer
    assert entry.answer.count("|") == 8
    page.get_by_role("button", name="Back to defaults").click()
    expect(page.get_by_label("Fields of a record")).to_have_value("5")


def test_the_keyboard_alone_reaches_and_works_everything(page: Page, sandbox: running_sandbox) -> None:
    open_page(page, sandbox)

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the messages")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    reached = set()
    for _ in range(20):
        reached.add(page.evaluate("document.activeElement.innerText || document.activeElement.id"))
        if page.evaluate("document.activeElement.dataset.switch") == "dnd":
            page.keyboard.press("Space")
        page.keyboard.press("Tab")

    expect(page.get_by_role("button", name="DND on")).to_have_attribute("aria-pressed", "true")
    assert any("Hang" in name for name in reached)
    assert "Magic numbers, senders and words" in reached


def test_every_control_has_a_name(page: Page, sandbox: running_sandbox) -> None:
    send(sandbox, recipient=",".join(f"23480390000{index:02d}" for index in range(9)))
    open_page(page, sandbox)
    for heading in page.locator(".panel details > summary").all():
        heading.click()

    assert page.evaluate(UNNAMED) == []
    assert page.locator("h1").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground_in_light_and_dark(page: Page, sandbox: running_sandbox, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    everything = ",".join(f"23480100000{index:02d}" for index in range(1, 11))
    for sender in ("ACME", "OPS", "PayApp", "FOODCO", "Zed", "Qi"):
        send(sandbox, sender=sender, recipient=everything)
    send(sandbox, sender="BLOCKED")
    send(sandbox, recipient="2348010000014")
    open_page(page, sandbox)
    page.get_by_role("button", name="DND on").click()
    for heading in page.locator("summary").all():
        heading.click()
    more = page.get_by_role("button", name="more recipients")
    while more.count():
        more.first.click()
    expect(page.get_by_role("button", name="DND on")).to_have_attribute("aria-pressed", "true")

    assert page.evaluate(CONTRAST) == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 18, 24)"
    assert dark == (scheme == "dark")


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_runs_off_the_side_of_a_narrow_screen(page: Page, sandbox: running_sandbox, width: int) -> None:
    send(sandbox, message="W" * 300, sender="A" * 11, recipient="2348010000001,2348010000010")
    page.set_viewport_size({"width": width, "height": 800})
    open_page(page, sandbox)
    for heading in page.locator("summary").all():
        heading.click()

    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_restarted_sandbox_is_found_again_and_starts_empty(browser: Browser) -> None:
    opened, port = new_page(browser), free_port()
    with running_sandbox(port=port) as first:
        send(first, message="before the restart")
        open_page(opened, first)
        expect(cards(opened)).to_have_count(1)
    expect(opened.locator("#live")).to_have_text("lost, trying again")

    with running_sandbox(port=port) as second:
        send(second, message="after the restart")
        expect(opened.locator("#live")).to_have_text("live")
        expect(cards(opened).locator(".bubble")).to_have_text(["after the restart"])
        opened.close()


def test_a_page_open_through_a_flood_keeps_the_newest_and_stays_bounded(page: Page, sandbox: running_sandbox) -> None:
    open_page(page, sandbox)

    with httpx.Client(base_url=sandbox.base_url, trust_env=False, timeout=60) as client:
        for index in range(1200):
            client.get(f"{FALLBACK}?{make_query(message=f'message {index}')}")

    expect(page.locator("#total")).to_have_text("1200")
    expect(cards(page).first.locator(".bubble")).to_have_text("message 1199")
    assert page.locator(".card").count() <= 500
