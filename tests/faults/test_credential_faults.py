"""Credentials that change while the relay sends: proven before they are used, and never a send that nobody knows of."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from support.oracle import fresh_number
from support.relay import USERNAME, RelayProcess, make_client, make_relay
from support.upstream import Request, Upstream, http_answer, running_upstream, send_all
from support.waiting import wait_until

OLD, NEW = "the old password", "the new password"
SENDS_A_SECOND = 50
MOST_SECONDS_WITHOUT = 30.0
"""Until messages go out again, once account and file have the same password: a look a second, and what a busy machine
takes for it. (A fifth of a second on an idle one.)"""


class Guarded:
    """An account with a user name and password of its own, which it may change; and a relay that reads files."""

    def __init__(self, directory: Path, upstream: Upstream) -> None:
        self.pair = (USERNAME, OLD)
        self.upstream = upstream
        upstream.answer = self._answer
        self.username_file, self.password_file = directory / "username", directory / "password"
        self.username_file.write_text(USERNAME)
        self.password_file.write_text(OLD)
        self._client = make_client()
        self.relay = make_relay(directory, self._client, upstream=upstream.base_url)
        environment = dict(self.relay.environment)
        for name in ("USERNAME", "PASSWORD"):
            del environment[f"RELAY_SMSCLONE_{name}"]
            environment[f"RELAY_SMSCLONE_{name}_FILE"] = str(directory / name.lower())
        self.relay = RelayProcess(directory, self.relay.config, self.relay.port, environment)
        self.http = httpx.Client(
            base_url=self.relay.base_url, headers=self._client.headers, trust_env=False, timeout=60
        )

    def _answer(self, request: Request) -> bytes:
        if (request.query["username"], request.query["password"]) == self.pair:
            return send_all(request)
        return http_answer("TG11-INVALID AUTHENTICATION CREDENTIALS")

    def send(self) -> tuple[int, str]:
        """Status, and the code of the recipient or of the problem."""
        body = {"recipients": [fresh_number()], "message": "Your order is on its way."}
        answer = self.http.post("/v1/notifications", json=body)
        told = answer.json()
        return answer.status_code, told["recipients"][0]["code"] if answer.status_code == 200 else told["code"]

    def metric(self) -> str:
        """Whether what stands in the files is used."""
        lines = self.http.get("/metrics").text.splitlines()
        return next(line for line in lines if line.startswith("relay_credentials_reload_success{")).rsplit(" ", 1)[1]


def _has(head: bytes, password: str) -> bool:
    return password.replace(" ", "%20").encode() in head


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    with running_upstream() as upstream:
        scene = Guarded(tmp_path, upstream)
        scene.relay.start()
        try:
            yield scene
        finally:
            scene.http.close()
            scene.relay.stop()


def test_a_password_that_changes_under_load_makes_nothing_unknown_and_is_taken_up(guarded: Guarded) -> None:
    answers: list[tuple[float, int, str]] = []
    over, lock = threading.Event(), threading.Lock()

    def send_on() -> None:
        while not over.wait(8 / SENDS_A_SECOND):
            status, code = guarded.send()
            with lock:
                answers.append((time.monotonic(), status, code))

    with ThreadPoolExecutor(8) as pool:
        for _ in range(8):
            pool.submit(send_on)
        try:
            wait_until(lambda: len(answers) > SENDS_A_SECOND)
            guarded.pair = (USERNAME, NEW)
            wait_until(lambda: any(status == 502 for _, status, _ in answers))
            guarded.password_file.write_text(NEW)
            mended = time.monotonic()
            wait_until(lambda: '"event":"credentials.taken"' in guarded.relay.log())
            taken = len(answers)
            wait_until(lambda: [status for _, status, _ in answers[taken:]].count(200) > SENDS_A_SECOND)
        finally:
            over.set()

    assert {(status, code) for _, status, code in answers} <= {
        (200, "sent"),
        (502, "upstream_credentials"),
        (503, "upstream_unreachable"),
    }
    assert max(at for at, status, _ in answers if status != 200) - mended <= MOST_SECONDS_WITHOUT
    assert sum(guarded.upstream.count().values()) == sum(status in (200, 502) for _, status, _ in answers)
    assert guarded.metric() == "1.0"
    assert OLD not in guarded.relay.log()
    assert NEW not in guarded.relay.log()


def test_a_wrong_new_password_changes_nothing_but_metric_and_log(guarded: Guarded) -> None:
    assert guarded.send() == (200, "sent")
    guarded.password_file.write_text("a wrong password")
    wait_until(lambda: '"event":"credentials.refused"' in guarded.relay.log())

    assert guarded.metric() == "0.0"
    assert guarded.send() == (200, "sent")
    assert [head for head in guarded.upstream.ledger if _has(head, "a wrong password") and b"balance" not in head] == []

    guarded.password_file.write_text(OLD)
    wait_until(lambda: guarded.metric() == "1.0")
    assert guarded.send() == (200, "sent")


def test_a_file_that_changed_before_the_account_did_is_taken_up_at_the_first_refusal(guarded: Guarded) -> None:
    guarded.password_file.write_text(NEW)
    wait_until(lambda: '"event":"credentials.refused"' in guarded.relay.log())
    guarded.pair = (USERNAME, NEW)

    assert guarded.send() == (502, "upstream_credentials")
    wait_until(lambda: guarded.metric() == "1.0")
    assert guarded.send() == (200, "sent")


def test_a_user_name_and_then_a_password_are_proven_together_as_they_then_are(guarded: Guarded) -> None:
    guarded.pair = ("another-name", NEW)
    assert guarded.send() == (502, "upstream_credentials")
    guarded.username_file.write_text("another-name")
    wait_until(lambda: '"event":"credentials.refused"' in guarded.relay.log())
    guarded.password_file.write_text(NEW)
    wait_until(lambda: '"event":"credentials.taken"' in guarded.relay.log())

    assert guarded.send() == (200, "sent")
