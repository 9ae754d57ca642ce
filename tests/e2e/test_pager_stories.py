"""What an operator with a pager asks, each answered at the command line in at most three steps (SPEC section 15)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.commands import run_command
from support.relay import ClientKey, RelayProcess, make_client, running_relay
from support.upstream import Upstream, http_answer, running_upstream, send_all
from support.waiting import wait_until

pytestmark = pytest.mark.slow

TEXT = "Your code is on its way."
NUMBER = "2348031234578"
MASKED = "23480•••••78"
MOST_STEPS = 3
OPERATES = '["send", "read", "operate"]'


class Pager:
    """An operator at a shell, a client that sends, and the upstream between them and nobody."""

    def __init__(self, relay: RelayProcess, operator: ClientKey, shop: ClientKey, upstream: Upstream) -> None:
        self.relay = relay
        self.upstream = upstream
        self._commands = 0
        self._environment = {"RELAY_CLIENT_URL": relay.base_url, "RELAY_CLIENT_KEY": operator.key}
        self.shop = httpx.Client(base_url=relay.base_url, headers=shop.headers, trust_env=False, timeout=60.0)
        self.http = httpx.Client(base_url=relay.base_url, headers=operator.headers, trust_env=False, timeout=60.0)

    def run(self, *words: str, typed: str = "", expect: int = 0) -> str:
        """Run ``relay`` with these words; what it printed."""
        self._commands += 1
        done = run_command(*words, typed=typed, environment=self._environment)
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def story(self) -> Iterator[None]:
        """What an operator does: no more commands than this."""
        before = self._commands
        yield
        assert self._commands - before <= MOST_STEPS

    def json(self, *words: str, **options: Any) -> Any:
        return json.loads(self.run(*words, "--json", **options))

    def send(self, number: str = NUMBER, *, lost: bool = False, answer: str | None = None, **fields: Any) -> str:
        """Send by the shop; where ``lost``, the answer never comes."""
        given = None if answer is None else http_answer(answer)
        self.upstream.answer = (lambda _: given) if lost or given is not None else send_all
        try:
            body = {"recipients": [number], "message": TEXT, "message_type": "transactional"} | fields
            reply = self.shop.post("/v1/notifications", json=body)
        finally:
            self.upstream.answer = send_all
        return str(reply.json()["id"])

    def actions(self) -> list[str]:
        return [row["action"] for row in self.json("audit", "list")]


@pytest.fixture(scope="module")
def pager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pager]:
    operator, shop = make_client("desk", permissions=OPERATES), make_client("shop")
    directory = tmp_path_factory.mktemp("relay")
    with (
        running_upstream() as upstream,
        running_relay(
            directory,
            operator,
            shop,
            upstream=upstream.base_url,
            toml="[breaker]\nfailures = 1000\n[smsclone]\nbalance_interval_seconds = 1\n",
        ) as relay,
    ):
        pager = Pager(relay, operator, shop, upstream)
        with pager.shop, pager.http:
            yield pager


def test_she_got_no_code_at_five_past_two(pager: Pager) -> None:
    sent = pager.send(reference="login-77")
    lost = pager.send(lost=True)

    with pager.story():
        found = pager.run("find", "--recipient", "0803 123 4578", "--from", "00:00").splitlines()
        shown = pager.run("show", lost)

    rows = [line.split("\t") for line in found]
    assert [(row[0], row[2], row[3], row[5], row[7]) for row in rows] == [
        (lost, "shop", "unknown", f"{MASKED} no_answer", "smsclone"),
        (sent, "shop", "sent", f"{MASKED} sent", "smsclone"),
    ]
    [person] = [line.split("\t") for line in shown.splitlines() if line.startswith("recipient\t")]
    assert person[-1] == "smsclone"
    assert "account=smsclone" in next(line for line in shown.splitlines() if "\tdialled\t" in line)
    events = [line.split("\t")[2] for line in shown.splitlines() if line.startswith("event\t")]
    assert events == ["accepted", "claimed", "dialled", "answered"]
    assert NUMBER not in "".join(found) + shown
    assert pager.actions()[:3] == ["timeline", "open", "search"]


def test_a_timeline_tells_the_raw_answer_with_its_milliseconds(pager: Pager) -> None:
    sent = pager.send()

    timeline = pager.json("show", sent)["timeline"]

    [answered] = [event for event in timeline if event["event"] == "answered"]
    assert (answered["code"], answered["actor"]) == ("0000", "relay")
    assert "SENT" in answered["words"]
    assert answered["milliseconds"] >= 0
    assert [event["at"] for event in timeline] == sorted(event["at"] for event in timeline)


def test_settling_leaves_what_the_upstream_said_in_place(pager: Pager) -> None:
    odd = pager.send("2348066600049", answer="TG00-DONE:4444|2348066600049|1|QUEUED|LATER")
    before = [event for event in pager.json("show", odd)["timeline"] if event["event"] == "answered"]
    pager.run("unknown", "resolve", odd, "--sent", "--reason", "she has it")
    shown = pager.json("show", odd)

    [answered] = [event for event in shown["timeline"] if event["event"] == "answered"]
    [person] = shown["recipients"]
    assert (answered["code"], answered["words"]) == ("4444", before[0]["words"])
    assert (person["code"], person["resolved_by"], person["upstream"]["code"]) == ("sent", "operator", "4444")


def test_whole_numbers_are_shown_where_they_are_asked_for_and_the_audit_says_so(pager: Pager) -> None:
    sent = pager.send()

    assert NUMBER in pager.run("show", sent, "--full")
    assert pager.actions()[:2] == ["full_numbers", "full_numbers"]
    assert NUMBER in pager.run("find", "--recipient", NUMBER, "--full")
    [row] = pager.json("audit", "list", "--limit", "1")
    assert (row["action"], row["client"], row["count"] > 0) == ("full_numbers", "desk", True)
    assert "recipient" in row["reason"]
    assert NUMBER[-7:] not in json.dumps(pager.json("audit", "list"))


@pytest.mark.parametrize(
    "filters", ["reference=login-77", "message_id=nothing", "status=unknown", "client=shop", "", "client=nobody"]
)
def test_every_filter_finds_what_it_names(pager: Pager, filters: str) -> None:
    pager.send(reference="login-77")
    pager.send(lost=True)

    items = pager.http.get(f"/v1/operator/notifications?{filters}&limit=2").json()["items"]

    name, _, value = filters.partition("=")
    assert all(item[name] == value for item in items if name in ("reference", "status", "client"))
    assert bool(items) == (value not in ("nothing", "nobody"))
    assert all("recipients" not in item and item["client"] for item in items)


def test_pages_over_all_clients_neither_repeat_nor_skip(pager: Pager) -> None:
    sent = {pager.send("2348055500001") for _ in range(5)}

    found: list[str] = []
    query = "recipient=2348055500001&limit=2"
    while True:
        page = pager.http.get(f"/v1/operator/notifications?{query}").json()
        found += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        query = f"recipient=2348055500001&limit=2&cursor={page['next_cursor']}"
    assert (len(found), set(found)) == (5, sent)


def test_a_message_id_of_the_upstreams_leads_to_its_notification(pager: Pager) -> None:
    sent = pager.send()
    message_id = pager.shop.get(f"/v1/notifications/{sent}").json()["recipients"][0]["upstream"]["message_id"]

    assert pager.run("find", "--message-id", message_id).split("\t")[0] == sent


@pytest.mark.parametrize("recipient", ["nonsense", "0803", "%2B"])
def test_a_search_for_a_number_that_is_none_says_so(pager: Pager, recipient: str) -> None:
    problem = pager.http.get(f"/v1/operator/notifications?recipient={recipient}").json()

    assert (problem["status"], problem["errors"][0]["field"]) == (422, "recipient")


def test_who_may_not_operate_finds_nothing(pager: Pager) -> None:
    sent = pager.send()

    for path in ("", f"/{sent}", f"/{sent}/timeline"):
        assert pager.shop.get(f"/v1/operator/notifications{path}").status_code == 403
    assert pager.http.get("/v1/operator/notifications/0192f3c4-5b1e-7c3a-9d2f-000000000001").status_code == 404


def test_smsclone_hangs_stop_it_see_it_and_start_it(pager: Pager) -> None:
    reason = "smsclone hangs, says 08031234578"
    with pager.story():
        [pause] = pager.json("pause", "--client", "shop", "--reason", reason, "--for", "2h")["pauses"]
        refused = pager.shop.post("/v1/notifications", json={"recipients": [NUMBER], "message": TEXT})
        seen = httpx.get(f"{pager.relay.base_url}/readyz", trust_env=False, timeout=60).json()
        resumed = pager.run("resume").strip()

    assert (refused.status_code, refused.json()["code"]) == (503, "paused")
    assert (seen["paused"], seen["pauses"]) == (False, [pause])
    assert (pause["by"], pause["client"], pause["reason"]) == ("desk", "shop", "smsclone hangs, says •••••••")
    assert pause["until"] > pause["since"]
    assert resumed == "sending again"
    assert pager.shop.get("/v1/notifications").status_code == 200
    assert pager.send()
    told = [json.loads(line) for line in pager.relay.log().splitlines() if '"sending.' in line]
    assert [(line["event"], line["by"], line["client"]) for line in told[:2]] == [
        ("sending.paused", "desk", "shop"),
        ("sending.resumed", "desk", "shop"),
    ]


def test_several_pauses_hold_at_once_and_each_ends_by_itself_or_by_hand(pager: Pager) -> None:
    try:
        pager.run("pause", "--message-type", "promotional", "--reason", "a drill")
        pager.run("pause", "--client", "shop", "--message-type", "otp", "--reason", "a drill", "--for", "1s")
        queued = pager.shop.post(
            "/v1/notifications",
            json={"recipients": ["2348055500077"], "message": TEXT, "message_type": "otp"},
            headers={"Prefer": "respond-async"},
        ).json()["id"]
        assert pager.send()  # of another type
        wait_until(lambda: pager.shop.get(f"/v1/notifications/{queued}").json()["status"] == "sent")
        left = pager.json("resume", "--message-type", "promotional")
    finally:
        pager.run("resume")

    assert left["pauses"] == []


def test_unknowns_after_an_incident_are_listed_counted_and_settled_at_once(pager: Pager) -> None:
    lost = {pager.send(f"23480666000{number:02}", lost=True) for number in range(7)}
    first = min(lost)

    counted = ("unknown", "resolve", *lost, "--sent", "--dry-run")
    choice = ("unknown", "resolve", *lost, "--sent", "--reason", "in smsclone's list")
    with pager.story():
        listed = [line.split("\t")[0] for line in pager.run("unknown", "list", "--client", "shop").splitlines()]
        dry = pager.json(*counted)  # settles nothing, so that it needs no reason
        done = pager.json(*choice)

    assert lost <= set(listed)
    assert (dry["matched"], dry["settled"]) == (7, 0)
    assert (done["matched"], done["settled"], {item["id"] for item in done["items"]}) == (7, 7, lost)
    assert {item["status"] for item in done["items"]} == {"sent"}
    assert pager.json(*choice)["matched"] == 0
    assert lost <= {item["id"] for item in pager.json("unknown", "list", "--state", "settled")}
    [settled] = [event for event in pager.json("show", first)["timeline"] if event["event"] == "settled"]
    assert (settled["outcome"], settled["reason"]) == ("sent", "in smsclone's list")
    assert settled["actor"].startswith("desk, key ")


def test_settling_by_filter_takes_what_matches_and_nothing_else(pager: Pager) -> None:
    before = pager.send("2348066600031", lost=True)
    start = pager.shop.get(f"/v1/notifications/{before}").json()["completed_at"]
    after = pager.send("2348066600032", lost=True)

    choice = ("unknown", "resolve", "--all", "--client", "shop", "--from", start, "--not-sent", "--reason", "a drill")
    done = pager.json(*choice)

    assert [item["id"] for item in done["items"]] == [after]
    assert before in {item["id"] for item in pager.json("unknown", "list")}
    for words in (("--sent",), ("--all",), ("--all", "x", "--sent"), ("x", "--client", "shop", "--sent")):
        pager.run("unknown", "resolve", *words, "--reason", "x", expect=2)


def test_what_was_sent_again_and_its_original_name_each_other_and_are_open_no_more(pager: Pager) -> None:
    lost = pager.send("2348066600041", lost=True)
    again = pager.json("unknown", "resend", lost, typed=TEXT)["id"]

    original = pager.json("show", lost)
    new = pager.json("show", again)

    assert (original["recipients"][0]["status"], original["recipients"][0]["resent_as"]) == ("unknown", again)
    assert new["resend_of"] == lost
    [event] = [event for event in original["timeline"] if event["event"] == "resent"]
    assert event["resent_as"] == again
    assert lost not in {item["id"] for item in pager.json("unknown", "list")}
    assert lost in {item["id"] for item in pager.json("unknown", "list", "--state", "resent")}
    pager.run("unknown", "resolve", lost, "--sent", "--reason", "seen", expect=1)
    assert [row["other_id"] for row in pager.json("audit", "list", "--notification", lost) if row["other_id"]] == [
        again
    ]
    pager.json("unknown", "resend", lost, typed=TEXT)
    assert pager.upstream.count()["2348066600041"] == 2


def test_the_balance_around_a_lost_call_is_shown_beside_it(pager: Pager) -> None:
    wait_until(lambda: pager.http.get("/v1/operator/now").json()["accounts"][0]["units"])
    lost = pager.send("2348066600045", lost=True)

    def look() -> dict[str, Any]:
        """It, once the balance was read again: every second."""
        [item] = [each for each in pager.json("unknown", "list") if each["id"] == lost]
        return item if item.get("evidence") else {}

    item = wait_until(look)
    evidence = item["evidence"]

    assert (evidence["before"], evidence["after"], evidence["fell"]) == ("256.21", "256.21", "0.00")
    assert evidence["before_at"] <= item["dialled_at"] < evidence["after_at"]
    assert 0 <= item["age_seconds"] <= 600


def test_smsclones_own_list_settles_what_is_certain_and_nothing_else(pager: Pager, tmp_path: Path) -> None:
    numbers = {
        name: f"23480777000{place}" for place, name in enumerate(("sent", "rejected", "odd", "twice", "late"), 21)
    }
    lost = {name: pager.send(number, lost=True) for name, number in numbers.items()}
    pager.send(numbers["twice"])
    now = datetime.now(UTC)
    rows = [
        f"0{numbers['sent'][3:]},{now:%Y-%m-%dT%H:%M:%SZ},DELIVERED",
        f"{numbers['rejected']},{now:%Y-%m-%dT%H:%M:%SZ},REJECTED",
        f"{numbers['odd']},{now:%Y-%m-%dT%H:%M:%SZ},PENDING",
        f"{numbers['twice']},{now:%Y-%m-%dT%H:%M:%SZ},SENT",
        f"{numbers['late']},{now + timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ},SENT",
        f"{numbers['sent']},when,SENT",
        f"08055500999,{now - timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ},SENT",
    ]
    file = tmp_path / "messages.csv"
    file.write_text("Mobile,Date Sent,Status\n" + "\n".join(rows))

    shown = {item["id"]: item for item in pager.json("unknown", "match", str(file))["items"]}
    settled = pager.json("unknown", "match", str(file), "--settle", "--reason", "their list of today")

    assert {name for name, each in lost.items() if each in shown} == {"sent", "rejected", "odd", "twice"}
    assert [shown[lost[name]]["certain"] for name in ("sent", "rejected", "odd", "twice")] == [True, True, False, False]
    assert "another message" in shown[lost["twice"]]["doubt"]
    assert (settled["rows"], settled["unreadable"], settled["matched"], settled["settled"]) == (7, 1, 4, 2)
    assert settled["missing"] >= 1
    assert pager.json("show", lost["sent"])["status"] == "sent"
    assert pager.json("show", lost["rejected"])["status"] == "not_sent"
    open_ones = {item["id"] for item in pager.json("unknown", "list")}
    assert {name for name, each in lost.items() if each in open_ones} == {"odd", "twice", "late"}
    assert numbers["sent"] not in json.dumps(settled)
    for words in ((str(file), "--settle"), (str(tmp_path / "none.csv"),)):
        pager.run("unknown", "match", *words, expect=2)


def test_unknowns_are_written_as_csv_that_a_spreadsheet_opens(pager: Pager) -> None:
    pager.send("2348066600051", lost=True, reference="=cmd|x")

    lines = pager.run("unknown", "list", "--csv").splitlines()

    assert lines[0].startswith("notification,client,created,unknown")
    assert any("'=cmd|x" in line and "23480•••••51" in line for line in lines)


def test_what_each_team_used_this_month_is_one_command(pager: Pager) -> None:
    pager.send()

    with pager.story():
        rows = [line.split("\t") for line in pager.run("usage", "--by", "client").splitlines()]

    assert [(row[0], int(row[2]) > 0) for row in rows] == [("shop", True)]


def test_a_number_is_exported_and_erased_with_a_receipt_and_the_audit_shows_who_looked(pager: Pager) -> None:
    number = "2348077700001"
    sent = pager.send(number)
    pager.run("show", sent)

    with pager.story():
        [held] = pager.json("export", "--recipient", "0807 770 0001")["items"]
        receipt = pager.json("erase", "--recipient", number)
        looked = {row["action"] for row in pager.json("audit", "list", "--notification", sent)}

    assert (held["id"], held["input"], held["status"], held["text_held"]) == (sent, number, "sent", False)
    assert (receipt["recipient"], receipt["notifications"], receipt["not_ended"]) == ("23480•••••01", 1, 0)
    rows = pager.json("audit", "list", "--limit", "3")
    assert [row["action"] for row in rows] == ["erased", "erase", "export"]
    assert rows[0]["hash"] == receipt["hash"]
    assert pager.json("export", "--recipient", number)["items"] == []
    assert looked == {"open", "timeline"}
    assert pager.json("audit", "verify")["ok"]


@pytest.mark.parametrize(
    "body",
    [
        {"outcome": "sent", "reason": "x"},
        {"outcome": "sent", "reason": "x", "ids": [], "dry_run": True},
        {"outcome": "sent", "reason": "x", "ids": ["x"], "filter": {}},
        {"outcome": "sent", "filter": {}},
        {"outcome": "sent", "reason": " ", "filter": {}, "dry_run": True},
        {"outcome": "lost", "reason": "x", "filter": {}},
        {"outcome": "sent", "reason": "x", "filter": {"recipient": NUMBER}},
    ],
)
def test_a_bulk_verdict_that_is_none_is_refused(pager: Pager, body: dict[str, Any]) -> None:
    assert pager.http.post("/v1/operator/unknown/resolve", json=body).status_code == 422


@pytest.mark.parametrize("words", [["--client", "nobody", "--reason", "x"], ["--reason", "x" * 201], ["--reason", " "]])
def test_a_pause_that_stops_nothing_or_says_nothing_is_refused(pager: Pager, words: list[str]) -> None:
    pager.run("pause", *words, expect=1)


def test_the_audit_is_whole_and_says_so(pager: Pager) -> None:
    pager.run("find", "--recipient", NUMBER)
    newest = pager.json("audit", "list", "--limit", "1")[0]["hash"]

    assert pager.json("audit", "verify", "--expect", newest)["ok"]
    assert not pager.json("audit", "verify", "--expect", "f" * 64, expect=1)["ok"]
    assert "audit.sealed" in pager.relay.log()
