"""One relay with everything switched on, every path of its API, an upstream that repeats what it is told; then every
place where something comes out is searched for password, keys, secrets, numbers and texts, in every form.

What callers are told of their own notifications holds numbers, and so do callbacks and the journal: that is what they
are for. A text stands nowhere once its notification has ended.
"""

import base64
import json
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.oracle import CANARY_TEXT, TERMINAL, forms_of
from support.relay import AT_DEBUG, COVERED, PASSWORD, ClientKey, RelayProcess, make_client, running_relay
from support.senders import sign_standard
from support.upstream import Request, http_answer, processed, running_upstream, send_all
from support.waiting import wait_until
from support.webhooks import alertmanager_alert, alertmanager_body

pytestmark = pytest.mark.slow

SECRET = "whsec_" + base64.b64encode(b"canary-callback-secret-01234567").decode()
OTHER_NAME, OTHER_PASSWORD = "the reseller's name 3Q", "canary of the reseller 5J"
NEW_PASSWORD, REFUSED_PASSWORD = "canary of a new day 6K", "canary of a typing error 8L"
ACCOUNT_SECRETS = [OTHER_NAME, OTHER_PASSWORD, NEW_PASSWORD, REFUSED_PASSWORD]
STRANGE_KEY = "rk_canary_c2VjcmV0LW9mLW5vYm9keQ"
TEXT = f"Hello, {CANARY_TEXT}"
LATER = {"Prefer": "respond-async"}
NUMBERS = [f"23480355500{place:02}" for place in range(43)]

UPSTREAM_SAYS: dict[str, Callable[[Request], bytes | None]] = {
    "00": send_all,
    "01": lambda request: None,
    "03": lambda request: http_answer("TG18-BLOCKED WORDS " + repeat(request)),
    "04": lambda request: http_answer(f"<html>{repeat(request)}</html>"),
    "05": lambda request: http_answer(repeat(request), status="500 " + request.query["password"]),
    "06": lambda request: http_answer(processed(dict.fromkeys(request.numbers, "dnd_rejected")) + repeat(request)),
    "07": lambda request: http_answer(f"TG00-MESSAGE PROCESSED:0000|{request.numbers[0]}|{repeat(request)}|SENT|x"),
    "08": lambda request: http_answer("x", content_type=f"text/{request.query['password']}"),
    "09": lambda request: b"HTTP/1.1 200 OK\r\nX-Canary: " + repeat(request).encode() + b"\r\n\r\n",
    "10": lambda request: repeat(request).encode(),
    "02": lambda request: http_answer("", status=f"302 Found\r\nLocation: http://127.0.0.1/{request.query['message']}"),
    "39": lambda request: http_answer("TG11-INVALID USERNAME OR PASSWORD " + repeat(request)),
}
"""By the last digits of the first number. The last one is asked for last: it stops all sending."""


def repeat(request: Request) -> str:
    """All that the request told, as a careless upstream writes it into its answers."""
    return " ".join(request.query.values())


def say(request: Request) -> bytes | None:
    if request.path.endswith("/balance"):
        refused = request.query["password"] == REFUSED_PASSWORD
        return http_answer(f"TG11-INVALID USERNAME OR PASSWORD {repeat(request)}" if refused else "256.21")
    return UPSTREAM_SAYS.get(request.numbers[0][-2:], send_all)(request)


@dataclass
class Catcher:
    """A server that keeps every body that is posted to it."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)


@contextmanager
def running_catcher() -> Iterator[Catcher]:
    catcher = Catcher()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            catcher.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    catcher.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield catcher
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Sweep:
    """Asks, and keeps every answer."""

    http: httpx.Client
    callback_url: str
    answers: list[httpx.Response] = field(default_factory=list)

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        answer = self.http.request(method, path, **request)
        self.answers.append(answer)
        return answer

    def send(
        self, *numbers: str, headers: dict[str, str] | None = None, fields: dict[str, Any] | None = None
    ) -> httpx.Response:
        body = {"recipients": list(numbers), "message": TEXT} | (fields or {})
        if headers == LATER:
            body["callback_url"] = self.callback_url
        return self.ask("POST", "/v1/notifications", json=body, headers=headers)

    def wait_ended(self) -> None:
        """Wait until every notification has ended."""

        def statuses() -> set[str]:
            items = self.http.get("/v1/notifications", params={"limit": 100}).json()["items"]
            return {item["status"] for item in items}

        wait_until(lambda: statuses() <= TERMINAL | {"partial"}, statuses)


def go_every_way(sweep: Sweep) -> None:
    """What callers do, well and badly."""
    for place in range(11):
        sweep.send(NUMBERS[place])
        sweep.send(NUMBERS[place], headers=LATER)
    key = {"Idempotency-Key": "order-1204"}
    for message in (TEXT, TEXT, f"another {CANARY_TEXT}"):
        sweep.send(NUMBERS[20], headers=key, fields={"message": message})
    sweep.send(NUMBERS[21], NUMBERS[22], headers=LATER)
    sweep.send(NUMBERS[23], fields={"expires_at": "2020-01-01T00:00:00Z"})
    sweep.send("0803", CANARY_TEXT, NUMBERS[24], fields={"strict": True})
    for field_name in ("sender", "message_type", "route", "reference", "callback_url", "recipients", "max_segments"):
        sweep.send(NUMBERS[25], fields={field_name: TEXT})
        sweep.send(NUMBERS[25], fields={field_name: [NUMBERS[25]]})
    sweep.send(NUMBERS[26], fields={CANARY_TEXT: NUMBERS[26], NUMBERS[26]: TEXT})
    sweep.send(NUMBERS[26], fields={"message": f"{CANARY_TEXT}: you have won a lottery"})
    name_templates(sweep)
    for text in (
        f'{{"message": "{NUMBERS[26]}',
        f'["{CANARY_TEXT}"]',
        f'{{"message": "a", "message": "{NUMBERS[26]}"}}',
    ):
        sweep.ask("POST", "/v1/notifications", content=text, headers={"Content-Type": "application/json"})
    item: dict[str, Any] = {"recipients": [NUMBERS[27]], "message": TEXT}
    sweep.ask("POST", "/v1/notifications/batch", json=[item, item | {"recipients": [CANARY_TEXT]}, NUMBERS[27], item])
    sweep.ask("POST", "/v1/notifications/preview", json=item | {"sender": CANARY_TEXT})


def name_templates(sweep: Sweep) -> None:
    """What callers send by template, well and badly."""
    good = {"name": "hello", "values": {"who": CANARY_TEXT}}
    path = "/v1/notifications"
    for template in (
        good,
        good | {"name": CANARY_TEXT},
        good | {"language": CANARY_TEXT},
        good | {"version": NUMBERS[28]},
        good | {CANARY_TEXT: 1},
        good | {"values": {NUMBERS[28]: CANARY_TEXT, CANARY_TEXT: NUMBERS[28]}},
        good | {"values": {"who": CANARY_TEXT * 9}},
        good | {"values": {"who": CANARY_TEXT + "\u20a6"}},
        good | {"values": {"who": [CANARY_TEXT]}},
        CANARY_TEXT,
    ):
        body = {"recipients": [NUMBERS[28]], "template": template}
        sweep.ask("POST", path, json=body)
        sweep.ask("POST", path, json=body, headers=LATER)
        sweep.ask("POST", f"{path}/preview", json=body)


def suppress(sweep: Sweep) -> None:
    """What callers say of who is not to be written to, well and badly."""
    path, good = "/v1/suppressions", {"recipient": NUMBERS[40], "reason": f"she called from {NUMBERS[40]}"}
    kept = sweep.ask("POST", path, json=good).json()["id"]
    wrong = (
        good | {"recipient": CANARY_TEXT},
        good | {"reason": CANARY_TEXT * 20},
        good | {"until": NUMBERS[40]},
        good | {"message_types": [CANARY_TEXT]},
        good | {"scope": NUMBERS[40]},
        {CANARY_TEXT: NUMBERS[40]},
        NUMBERS[40],
    )
    for body in wrong:
        sweep.ask("POST", path, json=body)
    sweep.ask("POST", path, json=good | {"scope": "all"})
    for items in ([good, *wrong[:2]], [good | {"recipient": NUMBERS[41]}], wrong, [CANARY_TEXT], NUMBERS[40]):
        sweep.ask("POST", f"{path}/import", json={"items": items})
    for query in ("", f"?recipient={NUMBERS[40]}", f"?recipient={CANARY_TEXT}", f"?cursor={PASSWORD}", "?scope=all"):
        sweep.ask("GET", f"{path}{query}")
    for headers in (None, LATER):
        sweep.send(NUMBERS[42], NUMBERS[41], headers=headers)
    for unknown in (NUMBERS[40], CANARY_TEXT, PASSWORD):
        sweep.ask("DELETE", f"{path}/{unknown}")
        sweep.ask("GET", f"/v1/templates/{unknown}")
    sweep.ask("DELETE", f"{path}/{kept}")


def look_everywhere(sweep: Sweep) -> None:
    """What callers ask of what is there, and of what is not."""
    for path in (
        f"/v1/notifications?reference={NUMBERS[0]}",
        f"/v1/notifications?recipient={NUMBERS[0]}",
        f"/v1/notifications?recipient={CANARY_TEXT}&expand={NUMBERS[0]}",
        f"/v1/notifications?status={NUMBERS[0]}&cursor={PASSWORD}",
        f"/v1/notifications/{NUMBERS[0]}",
        f"/v1/{NUMBERS[0]}/{PASSWORD}",
        "/v1/balance",
        "/v1/templates",
        "/v1/operator/unknown",
        "/readyz",
        "/healthz",
        "/metrics",
        "/openapi.json",
    ):
        sweep.ask("GET", path)
    for query in (
        "from=2026-01-01&to=2027-01-01&by=client,billing_code,account",
        f"from={NUMBERS[0]}&to={CANARY_TEXT}&by={OTHER_PASSWORD}",
        f"from=2026-01-01&to=2027-01-01&{CANARY_TEXT}={NUMBERS[0]}",
    ):
        sweep.ask("GET", f"/v1/usage?{query}")
        sweep.ask("GET", f"/v1/usage?{query}", headers={"Accept": "text/csv"})
    sweep.ask("DELETE", f"/v1/notifications/{NUMBERS[0]}")
    sweep.ask("PATCH", f"/v1/notifications/{NUMBERS[0]}", json={"send_at": CANARY_TEXT, CANARY_TEXT: NUMBERS[0]})
    for key in (STRANGE_KEY, PASSWORD, NUMBERS[0]):
        sweep.ask("GET", "/v1/balance", headers={"Authorization": f"Bearer {key}"})
    for key in (STRANGE_KEY, NUMBERS[0], f"+{NUMBERS[0]}"):
        sweep.ask("GET", "/v1/balance", headers={"X-Request-Id": key})


def settle(sweep: Sweep) -> None:
    """What the operator does."""
    [*unknown] = sweep.ask("GET", "/v1/operator/unknown").json()["items"]
    assert len(unknown) >= 4
    first, second, third, *_ = (f"/v1/operator/unknown/{item['id']}" for item in unknown)
    sweep.ask("POST", f"{first}/resolve", json={"outcome": "sent", "reason": f"she called from {NUMBERS[31]}"})
    sweep.ask("POST", f"{first}/resolve", json={"outcome": CANARY_TEXT, "recipients": [NUMBERS[30]]})
    sweep.ask("POST", f"{second}/resend", json={"message": f"not the text {CANARY_TEXT}"})
    sweep.ask("POST", f"{third}/resend", json={"message": TEXT})
    many = {"filter": {}, "outcome": "sent", "reason": f"{NUMBERS[31]} called", "dry_run": True}
    for body in (
        many,
        many | {"reason": CANARY_TEXT * 20},
        many | {"filter": {CANARY_TEXT: 1}},
        many | {"ids": [NUMBERS[0]]},
    ):
        sweep.ask("POST", "/v1/operator/unknown/resolve", json=body)
    for state in ("open", "resent", "settled", CANARY_TEXT):
        sweep.ask("GET", f"/v1/operator/unknown?state={state}&client={NUMBERS[0]}")
        sweep.ask("GET", f"/v1/operator/unknown?state=open&account={OTHER_PASSWORD}")
    some = unknown[0]["id"]
    for path in (f"?recipient={NUMBERS[1]}", f"?recipient={CANARY_TEXT}", f"?message_id={NUMBERS[0]}", f"/{some}"):
        sweep.ask("GET", f"/v1/operator/notifications{path}")
    sweep.ask("GET", f"/v1/operator/notifications/{some}/timeline")
    sweep.ask("GET", "/v1/operator/audit?limit=200")
    sweep.wait_ended()
    said = f"she called from {NUMBERS[31]}"
    rows = (
        f"number,date,status\n{NUMBERS[1]},2026-11-29 14:05,{CANARY_TEXT} {NUMBERS[3]}\n{CANARY_TEXT},{NUMBERS[4]},x\n"
    )
    for wanted in ({"csv": rows}, {"csv": rows, "settle": True, "reason": said}, {"csv": CANARY_TEXT + NUMBERS[5]}):
        sweep.ask("POST", "/v1/operator/unknown/match", json=wanted)
    sweep.ask("POST", "/v1/operator/erase", json={"recipient": NUMBERS[21]})
    sweep.ask("POST", "/v1/operator/erase", json={"recipient": CANARY_TEXT})
    for asked in ({"recipient": NUMBERS[22]}, {"recipient": CANARY_TEXT}, {"recipient": NUMBERS[22], "cursor": TEXT}):
        sweep.ask("POST", "/v1/operator/export", json=asked)
    sweep.ask("POST", "/v1/operator/pause", json={"reason": said, "client": "other"})
    sweep.ask("POST", "/v1/operator/pause", json={"reason": said, "for": CANARY_TEXT, "client": NUMBERS[31]})
    sweep.ask("POST", "/v1/operator/pause", json={"reason": said, "message_type": "promotional", "for": "1h"})
    sweep.ask("GET", "/readyz")
    sweep.ask("GET", "/v1/operator/now")
    sweep.ask("POST", "/v1/operator/resume")
    for account in ("smsclone", OTHER_PASSWORD, NUMBERS[31]):
        sweep.ask("POST", "/v1/operator/pause", json={"reason": said, "account": account})
    sweep.send(NUMBERS[35], NUMBERS[36], fields={"billing_code": "by-the-second"})
    sweep.send(NUMBERS[4])
    sweep.ask("POST", "/v1/operator/resume")
    sweep.send(NUMBERS[39])


def change_passwords(relay: RelayProcess, file: Path) -> None:
    """What a person does who mistypes the second account's new password, and then does not."""
    for password, event in ((REFUSED_PASSWORD, "credentials.refused"), (NEW_PASSWORD, "credentials.taken")):
        file.write_text(password)
        wait_until(partial(_is_logged, relay, f'"event":"{event}"'))


def _is_logged(relay: RelayProcess, words: str) -> bool:
    return words in relay.log()


def spend_too_much(sweep: Sweep, poor: ClientKey) -> None:
    """What a client sends whose budget is used up."""
    body = {"recipients": [NUMBERS[37]], "message": TEXT, "billing_code": "poor"}
    item = sweep.ask("POST", "/v1/notifications", json=body, headers=poor.headers)
    assert item.status_code == 429, item.text
    sweep.ask("POST", "/v1/notifications/batch", json=[body], headers=poor.headers)
    sweep.ask("POST", "/v1/notifications", json=body | {"billing_code": CANARY_TEXT}, headers=poor.headers)


def alert(sweep: Sweep, monitoring: ClientKey) -> None:
    """What a monitoring system sends."""
    body = alertmanager_body(alertmanager_alert(CANARY_TEXT, instance=NUMBERS[31]))
    for content in (json.dumps(body), json.dumps({"alerts": CANARY_TEXT}), f'{{"{NUMBERS[31]}'):
        sweep.ask(
            "POST",
            "/v1/webhooks/alertmanager/ops",
            content=content,
            headers=monitoring.headers | {"Content-Type": "application/json"},
        )


def log_in(sweep: Sweep) -> None:
    """What an identity provider sends, which signs; and who only looks, or signs with something else."""
    body = json.dumps({"user": {"id": "u-1", "phone": NUMBERS[33]}, "sms": {"otp": CANARY_TEXT}}).encode()
    good = sign_standard(body, SECRET)
    for headers in (good, sign_standard(body, SECRET), good | {"webhook-signature": f"v1,{CANARY_TEXT}"}):
        with httpx.Client(base_url=sweep.http.base_url, trust_env=False, timeout=60) as stranger:
            answer = stranger.post("/v1/webhooks/generic/login", content=body, headers=headers)
            sweep.answers.append(answer)
    sweep.ask("GET", "/v1/webhooks/generic/login")
    sweep.ask("GET", "/v1/webhooks/alertmanager/ops")


def read_journal(path: Path) -> bytes:
    """Every column of every row."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as journal:
        tables = [name for (name,) in journal.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = [row for table in tables for row in journal.execute(f'SELECT * FROM "{table}"')]
    assert len(rows) > 20
    return b"\n".join(cell if isinstance(cell, bytes) else str(cell).encode() for row in rows for cell in row)


def assert_clean(where: str, said: bytes, canaries: list[str]) -> None:
    leaked = [canary[:6] for canary in canaries if any(form in said for form in forms_of(canary))]
    assert leaked == [], f"I4: {len(leaked)} canaries in {where}"


@pytest.fixture(scope="module")
def swept(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[RelayProcess, Sweep, Catcher, Catcher, list[str]]]:
    """A relay that has been through all of it and has ended, with all that came out."""
    with (
        running_catcher() as callbacks,
        running_catcher() as spans,
        running_upstream(say) as upstream,
        running_upstream(say) as other,
        ExitStack() as stack,
    ):
        client = make_client(
            permissions='["send", "read", "preview", "balance", "operate", "usage", "suppress"]',
            callback_hosts=f'["{callbacks.url}"]',
            callback_secrets=f'["{SECRET}"]',
        )
        monitoring = make_client("monitoring", message_types='["alert"]')
        poor = make_client("poor", units_per_month="0.5")
        directory = tmp_path_factory.mktemp("relay")
        password_file = directory / "password"
        password_file.write_text(OTHER_PASSWORD)
        templates = directory / "templates.toml"
        templates.write_text('[[template]]\nname = "hello"\nvalues = {who = 60}\ntext = {en = "Hello {{ who }}"}\n')
        toml = f"""
[callbacks]
allowed_networks = ["127.0.0.1/32"]

[breaker]
failures = 100

[smsclone]
timeout_seconds = 2

[[accounts]]
name = "backup"
base_url = "{other.base_url}"
username = "{OTHER_NAME}"
password_file = "{password_file}"
timeout_seconds = 2

[sending]
accounts = ["smsclone", "backup"]

[templates]
files = ["{templates}"]

[[receivers]]
name = "ops"
client = "monitoring"
recipients = ["{NUMBERS[32]}"]

[[receivers]]
name = "login"
client = "{client.name}"
preset = "supabase"
hmac_secret = "{SECRET}"
recipients = ["{NUMBERS[34]}"]
"""
        tracing = {"OTEL_EXPORTER_OTLP_ENDPOINT": spans.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        relay = stack.enter_context(
            running_relay(
                directory, client, monitoring, poor, upstream=upstream.base_url, toml=toml, environment=tracing
            )
        )
        with httpx.Client(base_url=relay.base_url, headers=client.headers, trust_env=False, timeout=60) as http:
            sweep = Sweep(http, f"{callbacks.url}/sms-status")
            go_every_way(sweep)
            alert(sweep, monitoring)
            log_in(sweep)
            suppress(sweep)
            sweep.wait_ended()
            look_everywhere(sweep)
            spend_too_much(sweep, poor)
            change_passwords(relay, password_file)
            settle(sweep)
            wait_until(lambda: len(callbacks.bodies) >= 12 and b"unknown" in b"".join(callbacks.bodies))
            sweep.ask("GET", "/metrics")
        assert relay.stop() == 0
        yield relay, sweep, callbacks, spans, [client.key, monitoring.key, poor.key]


def test_nothing_that_must_stay_inside_comes_out_anywhere(
    swept: tuple[RelayProcess, Sweep, Catcher, Catcher, list[str]],
) -> None:
    relay, sweep, callbacks, spans, keys = swept
    secrets = [PASSWORD, *ACCOUNT_SECRETS, SECRET, SECRET.removeprefix("whsec_"), *keys, STRANGE_KEY]
    numbers = [*NUMBERS, *(number[3:] for number in NUMBERS)]

    assert_clean("the output", relay.output.read_bytes(), [*secrets, CANARY_TEXT, *numbers])
    for answer in sweep.answers:
        head = "\n".join(f"{name}: {value}" for name, value in answer.headers.items()).encode()
        masked = answer.status_code >= 400 or answer.request.url.path.startswith(("/v1/suppressions", "/v1/templates"))
        told = [*secrets, CANARY_TEXT, *(numbers if masked else ())]
        where = f"the answer {answer.status_code} to {answer.request.method} {answer.request.url.path[:20]}"
        assert_clean(where, answer.content, told)
        assert_clean(where, head, [*secrets, CANARY_TEXT, *numbers])
    assert_clean("callbacks", b"\n".join(callbacks.bodies), [*secrets, CANARY_TEXT])
    assert_clean("spans", b"\n".join(spans.bodies), [*secrets, CANARY_TEXT, *numbers])
    assert_clean(
        "the journal", read_journal(relay.directory / "relay.db"), [*secrets, CANARY_TEXT, NUMBERS[21], NUMBERS[40]]
    )


def test_the_sweep_went_everywhere(swept: tuple[RelayProcess, Sweep, Catcher, Catcher, list[str]]) -> None:
    relay, sweep, _, spans, _ = swept
    problems = {
        answer.json()["code"] for answer in sweep.answers if "problem" in answer.headers.get("content-type", "")
    }
    outcomes = {
        entry["code"]
        for answer in sweep.answers
        if answer.status_code == 200
        and answer.request.url.path == "/v1/notifications"
        and answer.request.method == "POST"
        for entry in answer.json()["recipients"]
    }

    assert {answer.status_code for answer in sweep.answers} >= {200, 202, 400, 401, 404, 422, 502}
    assert problems >= {"invalid_json", "validation_failed", "unauthenticated", "not_found", "idempotency_mismatch"}
    assert {"non_gsm_value", "budget_exceeded"} <= problems
    accounts = [
        entry["account"]
        for answer in sweep.answers
        if answer.status_code == 200 and answer.request.url.path == "/v1/notifications"
        if answer.request.method == "POST"
        for entry in answer.json()["recipients"]
    ]
    assert {"smsclone", "backup"} <= set(accounts)
    assert len(outcomes) >= 3
    assert "suppressed" in outcomes
    assert relay.log().count('"level":"debug"') > 20
    assert len(b"".join(spans.bodies)) > 1_000


def test_libraries_that_say_all_they_can_say_nothing_here() -> None:
    script = """
        import logging
        from relay.observability.logs import Log
        Log("debug").take_over()
        logging.getLogger("httpx").info("HTTP Request: GET http://smsclone/?password=canary-password-7Q")
        logging.getLogger("httpcore.connection").debug("connect_tcp.started host='canary-password-7Q'")
        print("root at", logging.getLogger().level)
    """
    told = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**COVERED, "PATH": os.environ["PATH"], "PYTHONPATH": f"{AT_DEBUG}:{Path(__file__).parents[2]}"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert told.stdout == "root at 10\n"
    assert told.stderr == ""
