"""The one judge of the fault scenarios: sends through a relay, and afterwards holds what it says against a ledger.

- **I1** at most one ledger entry for each accepted notification;
- **I2** every accepted notification is terminal within its deadline;
- **I3** who is told ``sent`` has a ledger entry, who is told ``not_sent`` has none (but for a definite refusal);
- **I4** no password, key, message or number in the relay's output, its metrics or the body of an error.
"""

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import parse_qs, quote, quote_plus, urlsplit

import httpx

from support_relay import PASSWORD, ClientKey, RelayProcess

TERMINAL = frozenset({"sent", "rejected", "unknown", "not_sent"})
CANARY_TEXT = 'canary "text" 8Z & +1'
"""Part of every message; it looks different in each form in which it could leak."""

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


@dataclass
class Oracle:
    """Sends through one or more relays that share a journal, and judges what they say.

    Args:
        ledger: gives number → sends that arrived in full.
        deadline_seconds: by when a notification of this relay must be terminal.
    """

    relays: Sequence[RelayProcess]
    client: ClientKey
    ledger: Callable[[], Mapping[str, int]]
    deadline_seconds: float = 10.0
    _sent: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _errors: list[httpx.Response] = field(default_factory=list)

    def send(
        self,
        *numbers: str,
        replica: int = 0,
        timeout: float = 30.0,
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

    def expect(self, reference: str, *numbers: str) -> None:
        """Judge also what was sent under this reference by other means, such as a raw socket."""
        self._sent[reference] = numbers

    def note(self, answer: httpx.Response) -> httpx.Response:
        """Keep an error to look for canaries in."""
        if answer.status_code >= 400:
            self._errors.append(answer)
        return answer

    def check(self, replica: int = 0) -> dict[str, list[str]]:
        """Hold all four invariants.

        Returns:
            Number → the status of each notification that was accepted for it.
        """
        relay = self.relays[replica]
        states: dict[str, list[str]] = {}
        with httpx.Client(base_url=relay.base_url, headers=self.client.headers, trust_env=False, timeout=30) as http:
            for reference, numbers in self._sent.items():
                accepted = self._accepted(http, reference)
                for number in numbers:
                    states.setdefault(number, []).extend(self._judge(accepted, number))
        self._check_leaks(self._sent.values())
        return states

    def _accepted(self, http: httpx.Client, reference: str) -> list[dict[str, Any]]:
        """Every notification under a reference, once it is terminal."""
        give_up = time.monotonic() + self.deadline_seconds
        while True:
            items = http.get("/v1/notifications", params={"reference": reference}).json()["items"]
            found: list[dict[str, Any]] = [http.get(f"/v1/notifications/{item['id']}").json() for item in items]
            if all(one["status"] in TERMINAL | {"partial"} and one["completed_at"] is not None for one in found):
                return found
            assert time.monotonic() < give_up, f"I2: not terminal: {[one['status'] for one in found]}"
            time.sleep(0.05)

    def _judge(self, accepted: list[dict[str, Any]], number: str) -> list[str]:
        entries = [entry for one in accepted for entry in one["recipients"] if entry["recipient"] == number]
        arrived = self.ledger().get(number, 0)
        assert arrived <= len(accepted), f"I1: {arrived} sends for {len(accepted)} accepted"
        for entry in entries:
            told = (entry["status"], entry["code"])
            assert entry["status"] in TERMINAL, f"I2: {told}"
            if told == ("not_sent", "upstream_rejected"):
                continue
            assert entry["status"] != "sent" or arrived, f"I3: {told} without a ledger entry"
            assert entry["status"] != "not_sent" or not arrived or len(entries) > 1, f"I3: {told} with a ledger entry"
        return [str(entry["status"]) for entry in entries]

    def _check_leaks(self, sent: Any) -> None:
        numbers = {number for group in sent for number in group}
        canaries = [PASSWORD, self.client.key, CANARY_TEXT, *numbers, *(number[3:] for number in numbers)]
        told = {f"output of relay {place}": relay.output.read_bytes() for place, relay in enumerate(self.relays)}
        for place, relay in enumerate(self.relays):
            if relay.process.poll() is None:
                told[f"metrics of relay {place}"] = httpx.get(f"{relay.base_url}/metrics", trust_env=False).content
        told |= {f"error {index}": answer.content for index, answer in enumerate(self._errors)}
        forms = {form for canary in canaries for form in forms_of(canary)}
        for where, text in told.items():
            leaked = [form for form in forms if form in text]
            assert not leaked, f"I4: {len(leaked)} canaries in the {where}"
