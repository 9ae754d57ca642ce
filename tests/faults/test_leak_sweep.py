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
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from support_oracle import CANARY_TEXT, TERMINAL, forms_of
from support_relay import AT_DEBUG, COVERED, PASSWORD, ClientKey, RelayProcess, make_client, running_relay
from support_upstream import Request, http_answer, processed, running_upstream, send_all
from support_webhooks import alertmanager_alert, alertmanager_body

pytestmark = pytest.mark.slow

SECRET = "whsec_" + base64.b64encode(b"canary-callback-secret-01234567").decode()
STRANGE_KEY = "rk_canary_c2VjcmV0LW9mLW5vYm9keQ"
TEXT = f"Hello, {CANARY_TEXT}"
LATER = {"Prefer": "respond-async"}
PATIENCE_SECONDS = 30.0
NUMBERS = [f"23480355500{place:02}" for place in range(40)]

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
        return http_answer("256.21")
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
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            items = self.http.get("/v1/notifications", params={"limit": 100}).json()["items"]
            if all(item["status"] in TERMINAL | {"partial"} for item in items):
                return
            assert time.monotonic() < give_up, [item["status"] for item in items]
            time.sleep(0.05)


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
    for text in (
        f'{{"message": "{NUMBERS[26]}',
        f'["{CANARY_TEXT}"]',
        f'{{"message": "a", "message": "{NUMBERS[26]}"}}',
    ):
        sweep.ask("POST", "/v1/notifications", content=text, headers={"Content-Type": "application/json"})
    item: dict[str, Any] = {"recipients": [NUMBERS[27]], "message": TEXT}
    sweep.ask("POST", "/v1/notifications/batch", json=[item, item | {"recipients": [CANARY_TEXT]}, NUMBERS[27], item])
    sweep.ask("POST", "/v1/notifications/preview", json=item | {"sender": CANARY_TEXT})


def look_everywhere(sweep: Sweep) -> None:
    """What callers ask of what is there, and of what is not."""
    for path in (
        f"/v1/notifications?reference={NUMBERS[0]}",
        f"/v1/notifications?status={NUMBERS[0]}&cursor={PASSWORD}",
        f"/v1/notifications/{NUMBERS[0]}",
        f"/v1/{NUMBERS[0]}/{PASSWORD}",
        "/v1/balance",
        "/v1/operator/unknown",
        "/readyz",
        "/healthz",
        "/metrics",
        "/openapi.json",
    ):
        sweep.ask("GET", path)
    sweep.ask("DELETE", f"/v1/notifications/{NUMBERS[0]}")
    for key in (STRANGE_KEY, PASSWORD, NUMBERS[0]):
        sweep.ask("GET", "/v1/balance", headers={"Authorization": f"Bearer {key}"})
    for key in (STRANGE_KEY, NUMBERS[0], f"+{NUMBERS[0]}"):
        sweep.ask("GET", "/v1/balance", headers={"X-Request-Id": key})


def settle(sweep: Sweep) -> None:
    """What the operator does."""
    [*unknown] = sweep.ask("GET", "/v1/operator/unknown").json()["items"]
    assert len(unknown) >= 4
    first, second, third, *_ = (f"/v1/operator/unknown/{item['id']}" for item in unknown)
    sweep.ask("POST", f"{first}/resolve", json={"outcome": "sent"})
    sweep.ask("POST", f"{first}/resolve", json={"outcome": CANARY_TEXT, "recipients": [NUMBERS[30]]})
    sweep.ask("POST", f"{second}/resend", json={"message": f"not the text {CANARY_TEXT}"})
    sweep.ask("POST", f"{third}/resend", json={"message": TEXT})
    sweep.wait_ended()
    sweep.ask("POST", "/v1/operator/erase", json={"recipient": NUMBERS[21]})
    sweep.ask("POST", "/v1/operator/erase", json={"recipient": CANARY_TEXT})
    for act in ("pause", "resume"):
        sweep.ask("POST", f"/v1/operator/{act}")
    sweep.send(NUMBERS[39])


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
        ExitStack() as stack,
    ):
        client = make_client(
            permissions='["send", "read", "preview", "balance", "operate"]',
            callback_hosts=f'["{callbacks.url}"]',
            callback_secrets=f'["{SECRET}"]',
        )
        monitoring = make_client("monitoring", message_types='["alert"]')
        toml = f"""
[callbacks]
allowed_networks = ["127.0.0.1/32"]

[breaker]
failures = 100

[smsclone]
timeout_seconds = 2

[[receivers]]
name = "ops"
client = "monitoring"
recipients = ["{NUMBERS[32]}"]
"""
        tracing = {"OTEL_EXPORTER_OTLP_ENDPOINT": spans.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        directory = tmp_path_factory.mktemp("relay")
        relay = stack.enter_context(
            running_relay(directory, client, monitoring, upstream=upstream.base_url, toml=toml, environment=tracing)
        )
        with httpx.Client(base_url=relay.base_url, headers=client.headers, trust_env=False, timeout=30) as http:
            sweep = Sweep(http, f"{callbacks.url}/sms-status")
            go_every_way(sweep)
            alert(sweep, monitoring)
            sweep.wait_ended()
            look_everywhere(sweep)
            settle(sweep)
            give_up = time.monotonic() + PATIENCE_SECONDS
            while len(callbacks.bodies) < 12 or b"unknown" not in b"".join(callbacks.bodies):
                assert time.monotonic() < give_up, f"{len(callbacks.bodies)} callbacks came"
                time.sleep(0.05)
            sweep.ask("GET", "/metrics")
        assert relay.stop() == 0
        yield relay, sweep, callbacks, spans, [client.key, monitoring.key]


def test_nothing_that_must_stay_inside_comes_out_anywhere(
    swept: tuple[RelayProcess, Sweep, Catcher, Catcher, list[str]],
) -> None:
    relay, sweep, callbacks, spans, keys = swept
    secrets = [PASSWORD, SECRET, SECRET.removeprefix("whsec_"), *keys, STRANGE_KEY]
    numbers = [*NUMBERS, *(number[3:] for number in NUMBERS)]

    assert_clean("the output", relay.output.read_bytes(), [*secrets, CANARY_TEXT, *numbers])
    for answer in sweep.answers:
        head = "\n".join(f"{name}: {value}" for name, value in answer.headers.items()).encode()
        told = [*secrets, CANARY_TEXT, *(numbers if answer.status_code >= 400 else ())]
        where = f"the answer {answer.status_code} to {answer.request.method} {answer.request.url.path[:20]}"
        assert_clean(where, answer.content, told)
        assert_clean(where, head, [*secrets, CANARY_TEXT, *numbers])
    assert_clean("callbacks", b"\n".join(callbacks.bodies), [*secrets, CANARY_TEXT])
    assert_clean("spans", b"\n".join(spans.bodies), [*secrets, CANARY_TEXT, *numbers])
    assert_clean("the journal", read_journal(relay.directory / "relay.db"), [*secrets, CANARY_TEXT, NUMBERS[21]])


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
    assert len(outcomes) >= 3
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
