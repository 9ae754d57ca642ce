"""A stand-in for the relay's operator API, as far as the console asks it, with an incident in it. For the page alone.

Its answers have the shapes of the contract (section 15); the numbers are made up, and masked as the relay masks them.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from relay.http.console import FILES, HEADERS, read_file

KEY = "rk_ops1_not-a-real-key"
FULL, MASKED = "2348031234578", "23480•••••78"


def stamp(seconds_ago: float) -> str:
    """A time of the contract, so long ago."""
    return (
        (datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def make_id(number: int) -> str:
    """The id of a notification."""
    return f"0192f3c4-5b1e-7c3a-9d2f-{number:012x}"


def make_notification(number: int, status: str, **fields: Any) -> dict[str, Any]:
    """A notification as an operator sees it."""
    code = {"sent": "sent", "rejected": "dnd_rejected", "unknown": "no_answer", "not_sent": "expired"}[status]
    upstream = {
        "code": "0000",
        "status": "SENT",
        "description": "MESSAGE SENT TO PROVIDER",
        "message_id": "9967534522177818",
    }
    recipient = {
        "input": MASKED,
        "recipient": MASKED,
        "status": status,
        "code": code,
        "retry_safe": status == "not_sent",
        "attempts": 1,
        "upstream": upstream if status == "sent" else None,
        "account": "smsclone",
    }
    counts = {"sent": 0, "rejected": 0, "unknown": 0, "not_sent": 0, "queued": 0} | {status: 1}
    return {
        "id": make_id(number),
        "client": "billing",
        "reference": f"order-{1200 + number}",
        "status": status,
        "replayed": False,
        "sandbox": False,
        "message_type": "otp",
        "sender": "ACME",
        "route": {"requested": "auto", "used": "dnd-fallback", "reason": "default"},
        "text": {"encoding": "gsm-7", "characters": 42, "segments": 1, "replaced": []},
        "warnings": [],
        "counts": counts,
        "recipients": [recipient],
        "created_at": stamp(600 + 97 * number),
        "completed_at": stamp(575 + 97 * number),
    } | fields


EVIDENCE = {
    "before": "4260.50",
    "before_at": stamp(4300),
    "after": "4258.50",
    "after_at": stamp(540),
    "fell": "2.00",
    "explained": "1.00",
    "unknown": "37.00",
}


def make_pause(**fields: Any) -> dict[str, Any]:
    """A pause, by default of everything."""
    whole = {"client": None, "message_type": None, "account": None}
    return whole | {"by": "operators", "key": "ada", "reason": "r", "since": stamp(0), "until": None} | fields


class Incident:
    """What the stand-in knows, and every call that it got."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Any]] = []
        self.pauses: list[dict[str, Any]] = []
        self.accounts: list[dict[str, Any]] = [
            {
                "account": "smsclone",
                "breaker": "closed",
                "units": "4210.50",
                "read_at": stamp(31),
                "hours_left": 52.4,
                "in_flight": 3,
            },
            {
                "account": "backup",
                "breaker": "open",
                "units": "960.00",
                "read_at": stamp(44),
                "hours_left": None,
                "in_flight": 0,
            },
        ]
        self.journal = "ok"
        self.unknown = [
            make_notification(
                n,
                "unknown",
                state="open",
                open=1,
                age_seconds=599 + 97 * n,
                dialled_at=stamp(599 + 97 * n),
                evidence=EVIDENCE,
            )
            for n in range(3, 40)
        ]
        self.settled: list[str] = []
        self.others = [
            make_notification(1, "sent"),
            make_notification(2, "rejected", client="marketing", message_type="promotional", sender="FOODCO"),
            make_notification(40, "not_sent", client="orders", reference=None),
        ]
        self.audit = [
            self._audit(1, "pause", reason="smsclone hangs, their status page says so"),
            self._audit(2, "open", notification_id=make_id(1)),
            self._audit(3, "resend", notification_id=make_id(3), other_id=make_id(99), count=1),
            self._audit(4, "resolve_sent", count=12, reason="their message list shows them as delivered"),
        ]

    def _audit(self, number: int, action: str, **fields: Any) -> dict[str, Any]:
        empty = {"notification_id": None, "other_id": None, "count": None, "reason": None}
        row = {"id": number, "at": stamp(700 * number), "client": "operators", "key": "ada", "action": action}
        return row | empty | fields | {"previous_hash": f"{number:064x}", "hash": f"{number + 0xABCDEF12:064x}"}

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        """The status and body of one call."""
        place = path.removeprefix("/v1/operator/")
        if place.startswith("notifications"):
            return self._notifications(place.split("/")[1:], query)
        fixed: dict[tuple[str, str], Callable[[], Any]] = {
            ("GET", "now"): self._now,
            ("GET", "unknown"): lambda: self._page(self._open() if query.get("state", "open") == "open" else [], query),
            ("GET", "audit"): lambda: (
                self._page(
                    [row for row in self.audit if query.get("notification_id") in (None, row["notification_id"])], query
                )
                | {"newest_hash": self.audit[0]["hash"]}
            ),
        }
        if (method, place) in fixed:
            return 200, fixed[method, place]()
        if path == "/v1/usage":
            return 200, self._usage(query)
        return self._change(place, body) if method == "POST" else (404, {"status": 404, "detail": "No such path."})

    def _notifications(self, parts: list[str], query: dict[str, str]) -> tuple[int, Any]:
        everything = [*self.others, *self.unknown]
        if not parts:
            number = query.get("recipient", FULL).replace(" ", "").lstrip("0+").removeprefix("234")
            if number != FULL.removeprefix("234"):
                return 200, {"items": [], "next_cursor": None}
            wanted = [each for each in everything if query.get("client", each["client"]) == each["client"]]
            wanted = [each for each in wanted if query.get("status", each["status"]) == each["status"]]
            return 200, self._page(sorted(wanted, key=lambda each: each["created_at"], reverse=True), query)
        named = [each for each in everything if each["id"] == parts[0]]
        if not named:
            return 404, {"status": 404, "code": "not_found", "detail": "There is no notification with this id."}
        shown = json.loads(json.dumps(named[0]))
        if query.get("numbers") == "full":
            shown["recipients"][0]["recipient"] = FULL
        return 200, {"items": self._timeline(shown)} if parts[1:] == ["timeline"] else shown

    def _timeline(self, shown: dict[str, Any]) -> list[dict[str, Any]]:
        sent = shown["status"] == "sent"
        ended: dict[str, Any] = {"event": "answered", "at": stamp(576), "actor": "relay", "account": "smsclone"}
        ended |= {"code": "0000", "words": "SENT", "milliseconds": 412} if sent else {"outcome": "no_answer"}
        return [
            {"event": "accepted", "at": stamp(600), "actor": "billing", "route": "dnd-fallback", "reason": "default"},
            {"event": "held", "at": stamp(600), "actor": "relay", "reason": "queued"},
            {"event": "claimed", "at": stamp(599), "actor": "relay", "replica": "relay-7c9d"},
            {"event": "dialled", "at": stamp(599), "actor": "relay", "account": "smsclone", "call": 1},
            ended,
            {"event": "called_back", "at": stamp(574), "actor": "relay", "outcome": "delivered", "attempt": 1},
        ]

    def _open(self) -> list[dict[str, Any]]:
        return [each for each in self.unknown if each["id"] not in self.settled]

    def _page(self, items: list[Any], query: dict[str, str]) -> dict[str, Any]:
        begin, limit = int(query.get("cursor", "0")), int(query.get("limit", "50"))
        more = begin + limit < len(items)
        return {"items": items[begin : begin + limit], "next_cursor": str(begin + limit) if more else None}

    def _now(self) -> dict[str, Any]:
        return {
            "at": stamp(0),
            "version": "0.1.0",
            "draining": False,
            "paused": any(each["client"] is each["message_type"] is each["account"] is None for each in self.pauses),
            "journal": self.journal,
            "word_lists": "ok",
            "pauses": self.pauses,
            "accounts": self.accounts,
            "queue": [
                {"state": "queued", "count": 340, "oldest_seconds": 412},
                {"state": "held", "count": 1200, "oldest_seconds": None},
                {"state": "claimed", "count": 3, "oldest_seconds": None},
            ],
            "refusals": [{"code": "overloaded", "count": 41}, {"code": "blocked_words", "count": 7}],
            "unknown": {"open": len(self._open()), "last_hour": 31, "oldest_at": stamp(4200)},
            "places": [{"client": "billing", "in_use": 61}, {"client": "marketing", "in_use": 22}],
            "max_places": 200,
        }

    def _usage(self, query: dict[str, str]) -> Any:
        by = query["by"].split(",")
        names = {"day": [f"2026-11-{day:02}" for day in range(1, 30)]}.get(by[0], ["billing", "orders", "marketing"])
        rows = [
            dict.fromkeys(by, name)
            | {"messages": 90 * n, "recipients": 100 * n, "segments": 120 * n, "units": f"{120 * n}.50"}
            for n, name in enumerate(names, 1)
        ]
        return {"from": query["from"], "to": query["to"], "by": by, "estimate": True, "rows": rows}

    def _change(self, place: str, body: Any) -> tuple[int, Any]:
        if place == "unknown/resolve":
            ids = body.get("ids", [each["id"] for each in self._open()])
            matched = [each for each in self._open() if each["id"] in ids]
            if not body["dry_run"]:
                self.settled += [each["id"] for each in matched]
            return 200, {"matched": len(matched), "settled": 0 if body["dry_run"] else len(matched), "items": []}
        if place.endswith("/resend"):
            again = make_notification(99, "sent")
            self.others.append(again)
            return 202, again
        if place == "pause":
            asked = {name: value for name, value in body.items() if name != "for"}
            self.pauses.append(make_pause(until=stamp(-900) if "for" in body else None, **asked))
        elif place == "resume":
            self.pauses = [each for each in self.pauses if not body.items() <= each.items()]
        elif place == "erase":
            return 200, {"notifications": 4, "at": stamp(0), "hash": "ab" * 32}
        return 200, {"pauses": self.pauses}


@contextmanager
def running_operator_api() -> Iterator[tuple[str, Incident]]:
    """The console's page and a stand-in for what it asks, on the loopback interface."""
    incident = Incident()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            address = urlsplit(self.path)
            length = int(self.headers.get("Content-Length", "0"))
            content = self.rfile.read(length)
            if address.path in FILES:
                return self._reply(200, read_file(address.path), FILES[address.path][1], HEADERS)
            query = dict(parse_qsl(address.query))
            body = json.loads(content) if content else None
            incident.calls.append((f"{self.command} {address.path}", address.query, body))
            if self.headers.get("Authorization") != f"Bearer {KEY}":
                problem = {"status": 401, "code": "unauthenticated", "detail": "Send a current key."}
                return self._reply(401, json.dumps(problem).encode(), "application/problem+json", {})
            status, answer = incident.answer(self.command, address.path, query, body)
            if self.headers.get("Accept") == "text/csv":
                return self._reply(200, b"client,units\r\nbilling,120.50\r\n", "text/csv", {})
            return self._reply(status, json.dumps(answer).encode(), "application/json", {})

        def _reply(self, status: int, body: bytes, kind: str, headers: Any) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _serve

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", incident
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
