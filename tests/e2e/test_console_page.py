"""The operator's console in a real browser: what it shows, what it asks before it acts, and that it trusts nobody.

Against a stand-in with an incident in it, so that every state can be had at will; ``test_console.py`` has a real relay.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from relay.http.audit_list import AuditPageBody
from relay.http.console import FILES, HEADERS, read_file
from relay.http.now import NowBody
from relay.http.unknowns import UnknownPageBody
from support.browser import CHROMIUM, CONTRAST, UNNAMED, Watched, new_page, running_browser
from support.operator_api import FULL, KEY, MASKED, Incident, make_id, make_pause, running_operator_api

VIEWS = ("Now", "Find", "Unknown", "Usage", "Audit")
HOSTILE = "<img src=x onerror=alert(1)>\u202e \u2066"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as running:
        yield running


@pytest.fixture
def served() -> Iterator[tuple[str, Incident]]:
    with running_operator_api() as running:
        yield running


@pytest.fixture
def incident(served: tuple[str, Incident]) -> Incident:
    return served[1]


@pytest.fixture
def page(browser: Browser, served: tuple[str, Incident]) -> Iterator[Page]:
    opened = new_page(browser)
    watched = Watched(opened, served[0])
    opened.goto(f"{served[0]}/console")
    yield opened
    opened.close()
    refused_on_purpose = "Failed to load resource"  # the browser's own line for every answer that is none of 2xx
    assert [line for line in watched.trouble if refused_on_purpose not in line] == []


def sign_in(page: Page, key: str = KEY) -> None:
    page.get_by_label("Key", exact=True).fill(key)
    page.keyboard.press("Enter")


def open_view(page: Page, name: str) -> None:
    page.get_by_role("button", name=re.compile(f"^{name}")).click()


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog")


def confirm(page: Page, key: str = KEY, reason: str | None = None) -> None:
    """Give what a dialog asks for, and go on."""
    if reason is not None:
        dialog(page).get_by_label("Reason").fill(reason)
    dialog(page).get_by_label("Your key again").fill(key)
    page.keyboard.press("Enter")


def made(incident: Incident, method: str = "POST") -> list[Any]:
    return [(call, body) for call, _, body in incident.calls if call.startswith(method)]


def test_the_stand_in_speaks_as_the_relay_does(incident: Incident) -> None:
    incident.pauses.append(make_pause(client="marketing"))
    answers = {"now": NowBody, "unknown": UnknownPageBody, "audit": AuditPageBody}
    for place, body in answers.items():
        status, given = incident.answer("GET", f"/v1/operator/{place}", {}, None)
        assert status == 200
        assert json.loads(msgspec.json.encode(msgspec.convert(given, body))) == given, place


# --- the key ---------------------------------------------------------------------------------------------------------


def test_without_a_key_nothing_is_shown_and_nothing_is_asked(page: Page, incident: Incident) -> None:
    expect(page.get_by_label("Key", exact=True)).to_be_focused()

    assert incident.calls == []
    assert page.locator("main > section:visible").count() == 0
    for name in VIEWS:
        expect(page.get_by_role("button", name=re.compile(f"^{name}"))).to_have_count(0)


def test_a_key_that_the_relay_does_not_know_opens_nothing(page: Page, incident: Incident) -> None:
    sign_in(page, "rk_x_y")

    expect(page.get_by_role("alert").filter(has_text="does not know this key")).to_be_visible()
    assert page.locator("main > section:visible").count() == 0
    assert [call for call, _, _ in incident.calls] == ["GET /v1/operator/unknown"]


def test_the_key_is_in_no_storage_cookie_or_address_and_a_reload_forgets_it(page: Page) -> None:
    sign_in(page)
    expect(page.get_by_role("heading", name="Accounts")).to_be_visible()
    for name in VIEWS:
        open_view(page, name)

    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")
    assert "rk_" not in kept
    assert KEY not in page.content()
    assert page.context.cookies() == []
    page.reload()
    expect(page.get_by_label("Key", exact=True)).to_be_empty()
    assert page.locator("main > section:visible").count() == 0


def test_signing_out_leaves_nothing_on_the_page(page: Page) -> None:
    sign_in(page)
    open_view(page, "Find")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("listitem").first).to_be_visible()
    page.get_by_role("button", name="Sign out").click()

    expect(page.get_by_label("Key", exact=True)).to_be_focused()
    assert MASKED not in page.content()
    assert page.locator("main > section:visible").count() == 0


def test_a_session_that_nobody_uses_forgets_its_key(browser: Browser, served: tuple[str, Incident]) -> None:
    page = new_page(browser)
    page.clock.install()
    page.goto(f"{served[0]}/console")
    sign_in(page)
    expect(page.get_by_role("heading", name="Accounts")).to_be_visible()
    page.clock.fast_forward("29:00")
    page.keyboard.press("Tab")
    page.clock.fast_forward("29:00")
    expect(page.get_by_role("heading", name="Accounts")).to_be_visible()
    page.clock.fast_forward("31:00")

    expect(page.get_by_role("alert").filter(has_text="30 minutes")).to_be_visible()
    assert page.locator("main > section:visible").count() == 0
    page.close()


def test_a_key_that_is_taken_out_ends_the_session(page: Page) -> None:
    sign_in(page)
    expect(page.get_by_role("heading", name="Accounts")).to_be_visible()
    problem = json.dumps({"status": 401, "code": "unauthenticated", "detail": "No."})
    page.route("**/v1/operator/audit*", lambda route: route.fulfill(status=401, body=problem))
    open_view(page, "Audit")

    expect(page.get_by_role("alert").filter(has_text="no longer accepts this key")).to_be_visible()
    expect(page.get_by_label("Key", exact=True)).to_be_visible()


# --- the pager stories -----------------------------------------------------------------------------------------------


def test_she_got_no_code_at_14_05(page: Page, incident: Incident) -> None:
    sign_in(page)
    open_view(page, "Find")
    page.keyboard.type("0803 123 4578")
    page.keyboard.press("Enter")
    page.get_by_role("button", name=f"Open {make_id(1)}").click()

    timeline = page.get_by_role("list", name="Timeline").get_by_role("listitem")
    expect(timeline).to_have_count(6)
    expect(timeline.nth(0)).to_contain_text("Accepted")
    expect(timeline.nth(3)).to_contain_text("Called smsclone")
    expect(timeline.nth(4)).to_contain_text("412 ms")
    expect(page.locator("#detail")).to_contain_text(MASKED)
    assert FULL not in page.content()
    [(_, query, _)] = [call for call in incident.calls if call[0] == "GET /v1/operator/notifications"]
    assert "recipient=0803" in query
    assert "created_from=" in query


def test_smsclone_hangs_stop_it_and_start_it(page: Page, incident: Incident) -> None:
    for account in incident.accounts:
        account["breaker"] = "open"
    sign_in(page)
    expect(page.locator("#verdict")).to_contain_text("Nothing can be sent")
    page.get_by_role("button", name="Pause sending…").click()
    dialog(page).get_by_label("Reason").fill("smsclone hangs")
    dialog(page).get_by_role("button", name="Pause", exact=True).click()

    expect(page.locator("#verdict")).to_contain_text("Paused")
    expect(page.locator("#verdict")).to_contain_text("smsclone hangs")
    assert made(incident) == [("POST /v1/operator/pause", {"reason": "smsclone hangs", "for": "15m"})]
    page.get_by_role("button", name="Resume all sending…").click()
    dialog(page).get_by_role("button", name="Resume", exact=True).click()
    expect(page.locator("#verdict")).to_contain_text("Nothing can be sent")
    assert made(incident)[1] == ("POST /v1/operator/resume", {})


def test_37_unknowns_are_settled_at_once_after_a_dry_run(page: Page, incident: Incident) -> None:
    sign_in(page)
    open_view(page, "Unknown")
    expect(page.locator("#unknown-tally")).to_have_text("37 notifications")
    expect(page.locator("#unknown-rows li").first).to_contain_text(
        "balance 4,260.50 → 4,258.50: fell by 2, known calls explain 1"
    )
    page.get_by_label("all that match the filter").check()
    page.get_by_role("button", name="Settle as sent…").click()
    expect(dialog(page).get_by_role("heading", name="Settle 37 outcomes as sent?")).to_be_visible()
    assert incident.settled == []
    confirm(page, reason="their list shows them")

    expect(page.locator("#unknown-tally")).to_have_text("None.")
    bodies = [body for call, body in made(incident) if call.endswith("/unknown/resolve")]
    assert [body["dry_run"] for body in bodies] == [True, False]
    assert bodies[1] == {"filter": {}, "outcome": "sent", "reason": "their list shows them", "dry_run": False}


def test_one_unknown_is_sent_again_with_the_text_and_the_pages_point_at_each_other(
    page: Page, incident: Incident
) -> None:
    sign_in(page)
    open_view(page, "Unknown")
    page.get_by_role("button", name="Send order-1205 again").click()
    dialog(page).get_by_label("The text, exactly as it was").fill("Your code is 482913.")
    confirm(page)

    expect(page.locator("#detail")).to_contain_text(make_id(99))
    path = f"POST /v1/operator/unknown/{make_id(5)}/resend"
    assert made(incident) == [(path, {"message": "Your code is 482913."})]


def test_what_each_team_used_in_november_as_chart_table_and_csv(page: Page, incident: Incident) -> None:
    sign_in(page)
    open_view(page, "Usage")
    page.get_by_label("From", exact=True).fill("2026-11-01")
    page.get_by_label("Up to, not including").fill("2026-12-01")
    page.get_by_role("button", name="Show").click()

    expect(page.get_by_role("row", name="marketing 270 300 360 360.5")).to_be_visible()
    expect(page.get_by_role("row", name="all 540 600 720")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename == "usage-2026-11-01-to-2026-12-01.csv"
    assert download.value.path().read_bytes() == b"client,units\r\nbilling,120.50\r\n"
    page.get_by_label("By", exact=True).select_option("day")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("img", name=re.compile("Units by day"))).to_be_visible()


def test_erase_this_number_and_show_who_looked_at_it(page: Page, incident: Incident) -> None:
    sign_in(page)
    open_view(page, "Find")
    page.get_by_role("button", name="Erase a number…").click()
    dialog(page).get_by_label("Number").fill("08031234578")
    confirm(page)

    expect(dialog(page)).to_contain_text("notifications: 4")
    assert made(incident) == [("POST /v1/operator/erase", {"recipient": "08031234578"})]
    page.keyboard.press("Escape")
    open_view(page, "Audit")
    expect(page.get_by_role("cell", name="open", exact=True)).to_be_visible()
    expect(page.get_by_role("cell", name="operators · ada").first).to_be_visible()


def test_a_notifications_own_page_leads_to_who_looked_at_it(page: Page) -> None:
    sign_in(page)
    open_view(page, "Find")
    page.get_by_label("Number, id").fill(make_id(1))
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Who looked at it").click()

    expect(page.locator("#audit-rows tbody tr")).to_have_count(1)
    expect(page.locator("#audit-rows")).to_contain_text("operators · ada")
    page.get_by_role("button", name="Show all rows").click()
    expect(page.locator("#audit-rows tbody tr")).to_have_count(4)


# --- what must be hard to do by accident -----------------------------------------------------------------------------


def _settle(page: Page) -> None:
    open_view(page, "Unknown")
    page.get_by_label("Choose order-1203").check()
    page.get_by_role("button", name="Settle as not sent…").click()
    dialog(page).get_by_label("Reason").fill("because")


def _resend(page: Page) -> None:
    open_view(page, "Unknown")
    page.get_by_role("button", name="Send order-1203 again").click()
    dialog(page).get_by_label("The text").fill("text")


def _erase(page: Page) -> None:
    open_view(page, "Find")
    page.get_by_role("button", name="Erase a number…").click()
    dialog(page).get_by_label("Number").fill("08031234578")


def _full_numbers(page: Page) -> None:
    open_view(page, "Find")
    page.get_by_label("Number, id").fill(make_id(1))
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Show full numbers…").click()


@pytest.mark.parametrize("begin", [_settle, _resend, _erase, _full_numbers])
def test_a_dangerous_act_needs_the_key_again(page: Page, incident: Incident, begin: Any) -> None:
    sign_in(page)
    begin(page)
    asked_before = [call for call in incident.calls if "dry_run" not in str(call) or "False" in str(call)]
    confirm(page, "rk_ops1_another")
    expect(dialog(page).get_by_role("alert")).to_have_text("This is not the key that this session began with.")
    page.keyboard.press("Escape")
    expect(dialog(page)).to_be_hidden()

    after = [call for call in incident.calls if "dry_run" not in str(call) or "False" in str(call)]
    assert [call for call in after if call not in asked_before and "now" not in call[0]] == []
    assert FULL not in page.content()
    assert KEY not in page.content()


def test_full_numbers_are_shown_after_the_key_and_gone_with_the_detail(page: Page) -> None:
    sign_in(page)
    _full_numbers(page)
    confirm(page)
    expect(page.locator("#detail")).to_contain_text(FULL)
    page.get_by_role("button", name="Close").click()

    assert FULL not in page.content()


def test_what_a_refusal_says_is_shown(page: Page) -> None:
    problem = {"status": 409, "code": "already_dialled", "detail": HOSTILE}
    sign_in(page)
    expect(page.get_by_role("heading", name="Accounts")).to_be_visible()
    page.route("**/v1/operator/audit*", lambda route: route.fulfill(status=422, body=json.dumps(problem)))
    open_view(page, "Audit")

    expect(page.locator("#trouble")).to_have_text(HOSTILE.strip())
    assert page.locator("main img").count() == 0


def test_what_others_wrote_is_text_wherever_it_is_shown(page: Page, incident: Incident) -> None:
    incident.others[0] |= {"reference": HOSTILE, "client": HOSTILE, "sender": HOSTILE}
    incident.audit[0] |= {"reason": HOSTILE, "client": HOSTILE}
    incident.pauses.append(make_pause(by=HOSTILE, reason=HOSTILE, since="x"))
    sign_in(page)
    expect(page.locator("#pauses")).to_contain_text("<img src=x")
    open_view(page, "Audit")
    expect(page.get_by_role("table")).to_contain_text("<img src=x")
    open_view(page, "Find")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("button", name=f"Open {make_id(1)}").click()

    expect(page.locator("#detail")).to_contain_text("<img src=x")
    assert page.locator("main img").count() == 0


# --- live, while somebody looks --------------------------------------------------------------------------------------


def test_now_is_asked_again_while_somebody_looks_and_only_then(browser: Browser, served: tuple[str, Incident]) -> None:
    url, incident = served
    page = new_page(browser)

    def asked() -> int:
        return len([call for call, _, _ in incident.calls if call.endswith("/now")])

    def look(state: str) -> None:
        page.evaluate(
            "(state) => { Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });"
            " document.dispatchEvent(new Event('visibilitychange')); }",
            state,
        )

    page.clock.install()
    page.goto(f"{url}/console")
    sign_in(page)
    expect(page.locator("#live")).to_have_text("live")
    late: list[Route] = []
    page.route("**/now", lambda route: late.append(route))
    with page.expect_request("**/now"):
        page.clock.run_for(5_000)
    look("hidden")
    expect(page.locator("#live")).to_have_text("stopped while nobody looks")
    with page.expect_response("**/now"):
        late[0].continue_()
    page.unroute("**/now")
    page.evaluate("() => fetch('/livez').then((answer) => answer.text())")  # by then the page has read the late one
    assert page.locator("#live").text_content() == "stopped while nobody looks"
    before = asked()
    page.clock.run_for(60_000)
    assert asked() == before
    with page.expect_response("**/now"):
        look("visible")
    open_view(page, "Audit")
    expect(page.get_by_role("table")).to_be_visible()
    before = asked()
    page.clock.run_for(60_000)
    assert asked() == before
    page.close()


def test_a_relay_that_does_not_answer_is_said_at_once_and_found_again(page: Page) -> None:
    page.route("**/v1/operator/now", lambda route: route.abort())
    sign_in(page)
    expect(page.get_by_text("The relay does not answer")).to_be_visible()
    page.unroute("**/v1/operator/now")

    expect(page.locator("#live")).to_have_text("live")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "Sending, but not by every account"),
        ({"journal": "unreachable"}, "Nothing is accepted"),
        ({"breaker": "closed"}, "Messages can be sent"),
        ({"units": "0.00"}, "Nothing can be sent"),
        ({"pause": {"client": "marketing"}, "breaker": "closed"}, "Sending, with exceptions"),
        ({"pause": {"account": "smsclone"}, "breaker": "closed"}, "Sending, but not by every account"),
        ({"pause": {}}, "Paused"),
    ],
    ids=str,
)
def test_the_first_line_says_whether_messages_go_out(page: Page, incident: Incident, change: Any, said: str) -> None:
    incident.journal = change.get("journal", "ok")
    for account in incident.accounts:
        account |= {name: change[name] for name in ("breaker", "units") if name in change}
    if "pause" in change:
        incident.pauses.append(make_pause(**change["pause"]))
    sign_in(page)

    expect(page.locator("#verdict .verdict-word")).to_have_text(said)


def test_pages_of_a_list_are_asked_for_one_after_another(page: Page) -> None:
    sign_in(page)
    open_view(page, "Find")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#find-results > li")).to_have_count(20)
    page.get_by_role("button", name="Older ones").click()

    expect(page.locator("#find-results > li")).to_have_count(40)
    expect(page.locator("#find-tally")).to_have_text("40 notifications")


def test_a_number_that_nobody_was_sent_to_says_so(page: Page) -> None:
    sign_in(page)
    open_view(page, "Find")
    page.keyboard.type("08099999999")
    page.keyboard.press("Enter")

    expect(page.locator("#find-tally")).to_contain_text("Nothing was found")


# --- for everybody ---------------------------------------------------------------------------------------------------


def test_the_keyboard_alone_reaches_every_view_and_acts(page: Page, incident: Incident) -> None:
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Accounts")).to_be_visible()

    def tab_to(name: str) -> None:
        for _ in range(200):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.innerText").startswith(name):
                return
        raise AssertionError(f"{name} cannot be reached")

    for name in VIEWS:
        page.evaluate("document.activeElement.blur()")
        tab_to(name)
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name=re.compile(f"^{name}"))).to_have_attribute("aria-current", "page")
    page.evaluate("document.activeElement.blur()")
    tab_to("Now")
    page.keyboard.press("Enter")
    tab_to("Pause sending")
    page.keyboard.press("Enter")
    expect(dialog(page).get_by_label("Reason")).to_be_focused()
    page.keyboard.type("by keyboard")
    page.keyboard.press("Enter")
    expect(page.locator("#verdict")).to_contain_text("by keyboard")
    assert len(made(incident)) == 1


def visit_all(page: Page) -> Iterator[str]:
    """Every view, and every dialog, one after another."""
    yield "sign-in"
    sign_in(page)
    expect(page.get_by_role("heading", name="Accounts")).to_be_visible()
    yield "now"
    page.get_by_role("button", name="Pause sending…").click()
    yield "pause"
    dialog(page).get_by_label("Reason").fill("r")
    dialog(page).get_by_role("button", name="Pause", exact=True).click()
    expect(page.get_by_role("button", name="Resume all sending…")).to_be_visible()
    yield "paused"
    open_view(page, "Find")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("button", name=f"Open {make_id(1)}").click()
    expect(page.get_by_role("list", name="Timeline")).to_be_visible()
    yield "find"
    _settle(page)
    yield "settle"
    page.keyboard.press("Escape")
    yield "unknown"
    open_view(page, "Usage")
    expect(page.get_by_role("table")).to_be_visible()
    yield "usage"
    open_view(page, "Audit")
    expect(page.get_by_role("table")).to_be_visible()
    yield "audit"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_and_every_control_has_a_name(page: Page, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    for place in visit_all(page):
        assert page.evaluate(CONTRAST) == [], place
        assert page.evaluate(UNNAMED) == [], place
        assert page.locator("h1").count() == 1
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 18, 24)"
    assert dark == (scheme == "dark")


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_runs_off_the_side(page: Page, incident: Incident, width: int) -> None:
    incident.others[0] |= {"reference": "W" * 64, "client": "w" * 64}
    page.set_viewport_size({"width": width, "height": 844})
    for place in visit_all(page):
        assert page.evaluate("document.documentElement.scrollWidth") <= width, place


# --- what a stolen page could do -------------------------------------------------------------------------------------


def test_the_policy_lets_the_page_reach_this_relay_alone_and_nobody_frame_or_keep_it() -> None:
    policy = dict(part.strip().split(" ", 1) for part in HEADERS["content-security-policy"].split(";"))

    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assert HEADERS["cache-control"] == "no-store"
    assert "unsafe" not in HEADERS["content-security-policy"]


def test_page_and_assets_are_small_and_name_no_other_place() -> None:
    assert sum(len(read_file(path)) for path in FILES) < 150_000
    for path in FILES:
        text = read_file(path).decode().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, path
        assert "https://" not in text, path
        assert "innerHTML" not in text, path
        assert " style=" not in text, path
        assert not re.search(r" on\w+=\"", text), path
