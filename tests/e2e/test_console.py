"""The operator's console through a real relay: the page, its policy, and the key."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from relay.http.console import FILES, HEADERS
from support.browser import CHROMIUM, Watched, new_page, running_browser
from support.relay import ClientKey, RelayProcess, make_client, running_relay
from support.upstream import Request, Upstream, running_upstream, send_all

SILENT = "2348099900001"
"""smsclone takes what is for this number, and says nothing."""
LISTED = "2348099900002"
"""So is what is for this one."""
UNANSWERED = 40
"""So many calls in a row without an answer open the breaker."""
MOST_STEPS = 3


def answer(request: Request) -> bytes | None:
    """What smsclone says while all is well."""
    return None if request.numbers in ([SILENT], [LISTED]) else send_all(request)


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream(answer) as running:
        yield running


@pytest.fixture(scope="module")
def client() -> ClientKey:
    return make_client()


@pytest.fixture(scope="module")
def operator() -> ClientKey:
    return make_client("operators", permissions='["read", "balance", "operate"]')


@pytest.fixture(scope="module")
def relay(
    tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, client: ClientKey, operator: ClientKey
) -> Iterator[RelayProcess]:
    directory = tmp_path_factory.mktemp("relay")
    breaker = f"[breaker]\nfailures = {UNANSWERED}\n"
    with running_relay(directory, client, operator, upstream=upstream.base_url, toml=breaker) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as running:
        yield running


@pytest.fixture
def page(browser: Browser, relay: RelayProcess) -> Iterator[Page]:
    opened = new_page(browser)
    watched = Watched(opened, relay.base_url)
    opened.goto(f"{relay.base_url}/console")
    yield opened
    opened.close()
    assert [line for line in watched.trouble if "Failed to load resource" not in line] == []


def sign_in(page: Page, key: str) -> None:
    page.get_by_label("Key", exact=True).fill(key)
    page.keyboard.press("Enter")


def open_view(page: Page, name: str) -> None:
    page.get_by_role("button", name=re.compile(f"^{name}")).click()


class Desk:
    """The console of an operator who has signed in. Counts the steps: something chosen, with what it then asks for."""

    def __init__(self, page: Page, relay: RelayProcess, client: ClientKey, operator: ClientKey) -> None:
        self.page = page
        self.steps = 0
        self._url = f"{relay.base_url}/v1/notifications"
        self._client, self.key = client, operator.key
        sign_in(page, operator.key)
        self.word = page.locator("#verdict .verdict-word")
        expect(self.word).to_have_text(re.compile(r"\w"))

    def open(self, view: str) -> None:
        """Choose a view."""
        self.steps += 1
        open_view(self.page, view)

    def press(self, name: str | re.Pattern[str], confirm: str = "", **answers: str) -> None:
        """Choose a button; answer what its dialog asks for, the key among it, and confirm."""
        self.steps += 1
        self.page.get_by_role("button", name=name).first.click()
        if not confirm:
            return
        dialog = self.page.get_by_role("dialog")
        for label, text in answers.items():
            dialog.get_by_label(label).fill(text)
        if dialog.get_by_label("Your key again").count():
            dialog.get_by_label("Your key again").fill(self.key)
        dialog.get_by_role("button", name=confirm, exact=True).click()

    def send(self, number: str, **fields: str) -> Any:
        """Send as the client; what it was answered."""
        request = {"recipients": [number], "message": "Your code is 482913."} | fields
        return httpx.post(self._url, json=request, headers=self._client.headers, trust_env=False, timeout=60).json()


@pytest.fixture
def desk(page: Page, relay: RelayProcess, client: ClientKey, operator: ClientKey) -> Iterator[Desk]:
    desk = Desk(page, relay, client, operator)
    yield desk
    assert desk.steps <= MOST_STEPS


@pytest.mark.parametrize("path", FILES)
def test_page_and_assets_come_with_their_policy_over_the_wire(relay: RelayProcess, path: str) -> None:
    reply = httpx.get(f"{relay.base_url}{path}", trust_env=False, timeout=60)

    assert reply.status_code == 200
    assert reply.headers["content-type"] == FILES[path][1]
    assert {name: reply.headers[name] for name in HEADERS} == HEADERS


def test_a_client_without_the_permission_is_told_so(page: Page, client: ClientKey) -> None:
    sign_in(page, client.key)

    expect(page.get_by_role("alert").filter(has_text="no permission “operate”")).to_be_visible()
    expect(page.get_by_role("button", name="Audit")).to_be_hidden()


def test_she_got_no_code_is_answered_by_her_number_with_what_happened(desk: Desk, page: Page) -> None:
    sent = desk.send("2348010000077", reference="code-for-bola")
    desk.open("Find")
    page.get_by_label("Number, id").fill("0801 000 0077")
    desk.press("Search")
    desk.press(f"Open {sent['id']}")

    timeline = page.get_by_role("list", name="Timeline")
    for event in ("Accepted", "Called smsclone", "Answered"):
        expect(timeline.get_by_text(event)).to_be_visible()
    expect(page.locator("#detail")).to_contain_text("code-for-bola")
    assert "2348010000077" not in page.content()


def test_a_whole_number_is_shown_for_the_key_and_the_audit_names_who_looked(
    desk: Desk, page: Page, operator: ClientKey
) -> None:
    sent = desk.send("2348010000078", reference="code-for-chidi")
    page.goto(f"{page.url.partition('#')[0]}#find")
    page.get_by_label("Number, id").fill(sent["id"])
    page.keyboard.press("Enter")
    desk.press("Show full numbers…", confirm="Show full numbers")
    expect(page.locator("#detail")).to_contain_text("2348010000078")
    desk.press("Who looked at it")

    expect(page.locator("#audit-rows tbody tr").first).to_contain_text(operator.name)
    expect(page.locator("#audit-rows tbody")).to_contain_text("full numbers")
    assert "2348010000078" not in page.content()


def test_thirty_seven_unknown_outcomes_are_seen_at_a_glance_and_settled_at_once(desk: Desk, page: Page) -> None:
    lost = [desk.send(SILENT, reference=f"code-{number}") for number in range(37)]
    assert {each["status"] for each in lost} == {"unknown"}
    expect(page.locator("#open-unknown")).to_contain_text("37")
    expect(page.locator("#unknown-badge")).to_have_text("37")
    desk.open("Unknown")
    expect(page.locator("#unknown-tally")).to_have_text("37 notifications")
    desk.steps += 1
    page.get_by_label("all that match the filter").check()
    desk.press("Settle as sent…")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", name="Settle 37 outcomes as sent?")).to_be_visible()
    dialog.get_by_label("Reason").fill("their list shows them")
    dialog.get_by_label("Your key again").fill(desk.key)
    page.keyboard.press("Enter")

    expect(page.locator("#unknown-tally")).to_have_text("None.")
    open_view(page, "Now")
    expect(page.locator("#open-unknown")).to_contain_text("Every outcome is known")


def test_smsclones_own_list_settles_what_is_certain(desk: Desk, page: Page) -> None:
    lost = desk.send(LISTED, reference="code-in-the-list")
    desk.open("Unknown")
    expect(page.locator("#unknown-rows > li").filter(has_text="code-in-the-list")).to_be_visible()
    rows = f"Mobile,Date,Status\n{LISTED},{lost['completed_at']},SENT\nx,y,z\n"
    with page.expect_file_chooser() as chooser:
        desk.press("Compare with smsclone's list…")
    chooser.value.set_files({"name": "list.csv", "mimeType": "text/csv", "buffer": rows.encode()})

    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Settle 1 outcome by this list?")
    expect(dialog).to_contain_text("Line 2, 23480•••••02: sent")
    assert LISTED not in page.content()
    dialog.get_by_label("Reason").fill("their list of today")
    dialog.get_by_label("Your key again").fill(desk.key)
    desk.steps += 1
    page.keyboard.press("Enter")
    expect(page.locator("#unknown-rows > li").filter(has_text="code-in-the-list")).to_have_count(0)


def test_what_each_team_used_this_month_as_chart_table_and_csv(desk: Desk, page: Page, client: ClientKey) -> None:
    assert desk.send("2348010000079")["status"] == "sent"
    desk.open("Usage")
    expect(page.get_by_role("row", name=re.compile(f"^{client.name} [1-9]"))).to_be_visible()
    with page.expect_download() as download:
        desk.press("Download CSV")

    lines = download.value.path().read_text().splitlines()
    assert lines[0] == "client,messages,recipients,segments,units"
    assert any(line.startswith(f"{client.name},") for line in lines[1:])


def test_a_number_is_erased_and_who_looked_at_it_is_shown(desk: Desk, page: Page, operator: ClientKey) -> None:
    desk.send("2348010000080")
    desk.open("Find")
    desk.press("Erase a number…", confirm="Erase", Number="0801 000 0080")
    receipt = page.get_by_role("dialog")
    expect(receipt).to_contain_text("notifications: 1")
    expect(receipt).to_contain_text("23480•••••80")
    page.keyboard.press("Escape")
    desk.open("Audit")

    rows = page.locator("#audit-rows tbody tr")
    expect(rows.filter(has_text="erased").first).to_contain_text(operator.name)
    assert "2348010000080" not in page.content()


def test_smsclone_hangs_is_seen_stopped_and_started_again(desk: Desk, page: Page, upstream: Upstream) -> None:
    upstream.answer = lambda _: None
    try:
        expect(desk.word).to_have_text("Messages can be sent")
        for _ in range(UNANSWERED):
            desk.send(SILENT)
        expect(desk.word).to_have_text("Nothing can be sent")
        expect(page.locator("#verdict")).to_contain_text("smsclone does not answer")
        desk.press("Pause sending…", confirm="Pause", Reason="smsclone hangs, a drill")
        expect(desk.word).to_have_text("Paused")
        expect(page.locator("#verdict")).to_contain_text("smsclone hangs, a drill")
        assert desk.send("2348010000001")["code"] == "paused"
    finally:
        upstream.answer = answer
    desk.press("Resume all sending…", confirm="Resume")
    expect(desk.word).not_to_have_text("Paused")
    desk.open("Audit")
    expect(page.locator("#audit-rows tbody tr").filter(has_text="pause").first).to_contain_text("smsclone hangs")
    expect(page.locator("#audit-rows tbody tr").first).to_contain_text("resume")


def test_the_key_is_in_no_line_of_the_log(page: Page, relay: RelayProcess, operator: ClientKey) -> None:
    sign_in(page, operator.key)
    open_view(page, "Unknown")
    expect(page.get_by_role("heading", name="Outcomes that nobody knows")).to_be_visible()

    assert operator.key not in relay.log()
