"""The one judge of the fault scenarios: sends through a relay, and afterwards holds what it says against a ledger.

- **I1** at most one ledger entry for each accepted notification;
- **I2** every accepted notification is terminal within its deadline;
- **I3** who is told ``sent`` has a ledger entry, who is told ``not_sent`` has none (but for a definite refusal);
- **I4** no password, key, message or number in the relay's output, its metrics or the body of an error.
"""

import base64
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, quote_plus, urlsplit

import httpx

from support.relay import PASSWORD, TRIES, ClientKey, RelayProcess
from support.waiting import PATIENCE_SECONDS

VERDICTS = os.environ.get("RELAY_TEST_VERDICTS")
"""A file that takes a line for every time that an oracle judged."""

TERMINAL = frozenset({"sent", "rejected", "unknown", "not_sent"})
CANARY_TEXT = 'canary "text" 8Z & +1'
"""Part of every message; it looks different in each form in which it could leak."""

LEAK_SAMPLE = 100
"""Numbers to look for, of those that one test sent to."""

_numbers = count(2348060000000)
_references = count(1)


def fresh_number() -> str:
    """A number that no other scenario of this process sends to."""
    return str(next(_numbers))


def fresh_reference() -> str:
    """A reference under which nothing was sent yet."""
    return f"fault-{next(_references)}"


def make_body(reference: str, *numbers: str) -> dict[str, Any]:
    """A request whose message holds the canary."""
    return {"recipients": list(numbers), "message": f"Hello, {CANARY_TEXT}", "reference": reference}


def count_heads(heads: Sequence[bytes]) -> dict[str, int]:
    """How many sends arrived for each number, from the heads of requests as ``fault_server`` keeps them."""
    counts: dict[str, int] = {}
    for number in numbers_of(b"\n".join(heads)):
        counts[number] = counts.get(number, 0) + 1
    return counts


def numbers_of(heads: bytes) -> Iterator[str]:
    """The recipients that requests name in their targets."""
    for line in heads.split(b"\n"):
        if line.startswith(b"GET ") and b"recipient=" in line:
            query = parse_qs(urlsplit(line.split(b" ")[1].decode("ascii")).query)
            yield from query["recipient"][0].split(",")


def forms_of(canary: str) -> set[bytes]:
    """How a text may look where it leaks: raw, percent-, form-, JSON- and base64-encoded."""
    raw = canary.encode()
    forms = {raw, quote(canary, safe="").encode(), quote_plus(canary).encode(), json.dumps(canary)[1:-1].encode()}
    for offset in range(3):
        # Only the characters that do not depend on what stands before and after.
        encoded = base64.b64encode(b"\0" * offset + raw)
        forms.add(encoded[-(-offset * 8 // 6) : len(encoded) - 4])
    return forms


def judge(told: Sequence[Sequence[Mapping[str, Any]]], arrived: int) -> list[str]:
    """Hold what was told about one number against how often it arrived.

    Args:
        told: the entries of each notification that was accepted for this number.
        arrived: sends in the ledger.

    Returns:
        The status that each notification tells.
    """
    assert arrived <= len(told), f"I1: {arrived} sends for {len(told)} accepted"
    for entry in (entry for entries in told for entry in entries):
        assert entry["status"] in TERMINAL, f"I2: {entry['status']}, {entry['code']}"
    sure = sum(any(entry["status"] == "sent" for entry in entries) for entries in told)
    # A refusal by smsclone is a request that arrived, and of which nothing was sent.
    possible = sum(any(entry["status"] != "not_sent" or entry["upstream"] for entry in entries) for entries in told)
    codes = [entry["code"] for entries in told for entry in entries]
    assert sure <= arrived, f"I3: told sent {sure} times, {arrived} in the ledger: {codes}"
    assert arrived <= possible, f"I3: told not_sent, {arrived} in the ledger: {codes}"
    return [str(entries[0]["status"]) for entries in told]


def write_verdict(told: Mapping[str, int], arrived: int) -> None:
    """For ``make faults``: what the running test's relay told, as counts by status, and how many sends arrived."""
    if VERDICTS is None:
        return
    test = os.environ["PYTEST_CURRENT_TEST"].partition("[")[0].partition(" ")[0]
    with Path(VERDICTS).open("a") as file:
        file.write(json.dumps({"test": test, "told": dict(told), "arrived": arrived}) + "\n")


@dataclass
class Oracle:
    """Sends through one or more relays that share a journal, and judges what they say.

    Args:
        ledger: gives number → sends that arrived in full.
        deadline_seconds: by when a notification of this relay must be terminal, on a busy machine.
        text: part of every message.
    """

    relays: Sequence[RelayProcess]
    client: ClientKey
    ledger: Callable[[], Mapping[str, int]]
    deadline_seconds: float = PATIENCE_SECONDS
    text: str = CANARY_TEXT
    _sent: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _ids: set[str] = field(default_factory=set)
    _errors: list[httpx.Response] = field(default_factory=list)

    def send(
        self,
        *numbers: str,
        replica: int = 0,
        timeout: float = 180.0,
        headers: Mapping[str, str] | None = None,
        reference: str = "",
    ) -> httpx.Response:
        """Send to these numbers (a fresh one by default) and remember it; its reference is its own if left out.

        Raises:
            httpx.TransportError: no answer came; what became of it is judged all the same.
        """
        chosen = numbers or (fresh_number(),)
        reference = reference or fresh_reference()
        self.expect(reference, *chosen)
        answer = httpx.post(
            f"{self.relays[replica].base_url}/v1/notifications",
            json=make_body(reference, *chosen),
            headers=self.client.headers | dict(headers or {}),
            trust_env=False,
            timeout=timeout,
        )
        return self.note(answer)

    def send_that_counts(self, seconds: float, expected: str = "sent") -> tuple[str, httpx.Response]:
        """Send to a fresh number, and again where time alone decided what came of it; number and answer of the last.

        A call that had its answer in time says what the upstream said. One that a busy machine kept beyond its timeout
        may truly be unknown, or not sent if it never got to the upstream: that is judged as well, and tried again.

        Args:
            seconds: the timeout of a call.
            expected: ``unknown`` where the timeout itself may be what the test is about: it counts if it arrived.
        """
        for _ in range(TRIES):
            number, started = fresh_number(), time.monotonic()
            answer = self.send(number)
            is_in_time = time.monotonic() - started < seconds
            if is_in_time or (expected == "unknown" and number in self.ledger()):
                return number, answer
        raise AssertionError(f"none of {TRIES} calls took less than {seconds} s")

    def expect(self, reference: str, *numbers: str) -> None:
        """Judge also what was sent under this reference by other means, such as a raw socket."""
        self._sent[reference] = numbers

    def note(self, answer: httpx.Response) -> httpx.Response:
        """Judge also what this answer accepts, and look for canaries in it if it is an error; a hook of httpx, too."""
        answer.read()
        if answer.status_code >= 400:
            self._errors.append(answer)
        if answer.request.method == "POST" and "json" in answer.headers["content-type"]:
            body = answer.json()
            self._ids.update(item["id"] for item in body.get("items", [body]) if "id" in item)
        return answer

    def check(self, replica: int = 0) -> dict[str, list[str]]:
        """Hold all four invariants.

        Returns:
            Number → the status of each notification that was accepted for it.
        """
        relay = self.relays[replica]
        with httpx.Client(base_url=relay.base_url, headers=self.client.headers, trust_env=False, timeout=60) as http:
            ids = set(self._ids)
            for reference in self._sent:
                items = http.get("/v1/notifications", params={"reference": reference}).json()["items"]
                ids.update(item["id"] for item in items)
            accepted = [self._ended(http, notification_id) for notification_id in sorted(ids)]
        told: dict[str, list[list[dict[str, Any]]]] = {number: [] for group in self._sent.values() for number in group}
        for notification in accepted:
            by_number: dict[str, list[dict[str, Any]]] = {}
            for entry in notification["recipients"]:
                if entry["recipient"] is not None:
                    by_number.setdefault(entry["recipient"], []).append(entry)
            for number, entries in by_number.items():
                told.setdefault(number, []).append(entries)
        arrived = self.ledger()
        states = {number: judge(entries, arrived.get(number, 0)) for number, entries in told.items()}
        self._check_leaks(list(states))
        write_verdict(
            Counter(status for each in states.values() for status in each),
            sum(arrived.get(number, 0) for number in states),
        )
        return states

    def _ended(self, http: httpx.Client, notification_id: str) -> dict[str, Any]:
        """A notification, once it is terminal."""
        give_up = time.monotonic() + self.deadline_seconds
        while True:
            found: dict[str, Any] = http.get(f"/v1/notifications/{notification_id}").json()
            if found["status"] in TERMINAL | {"partial"} and found["completed_at"] is not None:
                return found
            assert time.monotonic() < give_up, f"I2: not terminal: {found['status']}"
            time.sleep(0.05)

    def _check_leaks(self, sent: Sequence[str]) -> None:
        numbers = sent[:LEAK_SAMPLE]
        canaries = [PASSWORD, self.client.key, self.text, *numbers, *(number[3:] for number in numbers)]
        told = {f"output of relay {place}": relay.output.read_bytes() for place, relay in enumerate(self.relays)}
        for place, relay in enumerate(self.relays):
            if relay.process.poll() is None:
                told[f"metrics of relay {place}"] = httpx.get(
                    f"{relay.base_url}/metrics", trust_env=False, timeout=60
                ).content
        told |= {f"error {index}": answer.content for index, answer in enumerate(self._errors)}
        forms = {form for canary in canaries for form in forms_of(canary)}
        for where, text in told.items():
            leaked = [form for form in forms if form in text]
            assert not leaked, f"I4: {len(leaked)} canaries in the {where}"
