"""The demo: sandbox and relay in one process, sample traffic over real sockets, told as a story. Ends by itself."""

import io
import socket
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from rich.panel import Panel
from rich.table import Table

from relay.cli.terminal import STATUS_STYLES, ExitStatus, console
from relay.domain.secret import Secret
from relay.http.auth import new_key
from relay.settings import Settings, load_settings

if TYPE_CHECKING:
    from relay.sandbox.responder import Responder

SENT = "08010000001"
ON_DND = "08010000002"
DND_REJECTED = "08010000003"
HANGS = "08010000011"
TWO = ("08010000021", "08010000022")
BACKUP = "backup"

_TEMPLATES = """
[[template]]
name = "order_sent"
max_segments = 1
[template.values]
order = 12
[template.text]
en = "Your order {{ order }} is on its way."
pcm = "Your order {{ order }} dey come."
"""

_METRICS = (
    "relay_notifications_total{",
    "relay_recipients_total{",
    "relay_unknown_total{",
    "relay_prefilter_hits_total{",
    "relay_upstream_fallback_total{",
)


async def run_demo() -> int:
    """Tell the story.

    Returns:
        The exit status: 0 where everything went as told.
    """
    from relay.app import start_relay
    from relay.sandbox.server import SandboxConfig, start_sandbox
    from relay.sandbox.switches import SandboxAccount

    key, key_id, digest = new_key()
    backup = SandboxAccount(name=BACKUP, username="reseller", password=Secret("demo"), price=Decimal("1.5"))
    sandbox = await start_sandbox(SandboxConfig(password=Secret("demo"), accounts=(backup,)))
    try:
        with tempfile.TemporaryDirectory(prefix="relay-demo-") as directory:
            settings = _settings(Path(directory), sandbox.base_url, key_id, digest)
            running = await start_relay(settings, log_stream=io.BytesIO())
            try:
                async with httpx.AsyncClient(
                    base_url=running.base_url,
                    headers={"Authorization": f"Bearer {key}"},
                    trust_env=False,
                    timeout=30,
                ) as http:
                    return await _Story(http, sandbox.responder).tell()
            finally:
                await running.stop()
    finally:
        await sandbox.close()


def _settings(directory: Path, base_url: str, key_id: str, digest: str) -> Settings:
    templates = directory / "templates.toml"
    templates.write_text(_TEMPLATES)
    config = directory / "relay.toml"
    config.write_text(
        f"""
[listen]
port = {_free_port()}

[smsclone]
base_url = "{base_url}"
timeout_seconds = 2

[[accounts]]
name = "{BACKUP}"
base_url = "{base_url}"
username = "reseller"
password = "demo"
timeout_seconds = 2
units_per_segment = 1.5

[sending]
accounts = ["smsclone", "{BACKUP}"]

[journal]
url = "sqlite:///{directory / "relay.db"}"

[templates]
files = ["{templates}"]

[[clients]]
name = "demo"
keys = [{{ id = "{key_id}", sha256 = "{digest}" }}]
senders = ["ACME"]
default_sender = "ACME"
message_types = ["otp", "alert", "transactional", "promotional"]
routes = ["auto", "normal"]
"""
    )
    return load_settings({"RELAY_SMSCLONE_USERNAME": "demo", "RELAY_SMSCLONE_PASSWORD": "demo"}, config)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Story:
    """One chapter after another; a chapter that does not go as told makes the demo fail."""

    def __init__(self, http: httpx.AsyncClient, standin: "Responder") -> None:
        self._http = http
        self._standin = standin
        self._failures = 0

    async def tell(self) -> int:
        console.print(
            Panel(
                "An internal service POSTs JSON; the relay checks it, picks the route, calls smsclone (a stand-in "
                "here) once, and tells the truth about each recipient.",
                title="relay demo",
                expand=False,
            )
        )
        await self._sent()
        await self._dnd_fallback()
        await self._dnd_rejected()
        await self._blocked_word()
        await self._bad_number()
        await self._replayed()
        await self._unknown()
        await self._template()
        await self._scheduled()
        await self._balance()
        await self._failover()
        await self._metrics()
        if self._failures:
            console.print(f"[bold red]{self._failures} did not go as told.[/]")
            return ExitStatus.REFUSED
        console.print("\nThat is all. Next: [bold]README.md[/], “One request”.")
        return ExitStatus.DONE

    async def _sent(self) -> None:
        self._chapter("A message goes out", "The plain case: one recipient, the DND-fallback route by default.")
        answer = await self._send({"recipients": [SENT], "message": "Your order 1204 is on its way."})
        self._show(answer, "sent")

    async def _dnd_fallback(self) -> None:
        self._chapter(
            "A number on Do-Not-Disturb", "The normal route would not reach it; the fallback does, and says so."
        )
        answer = await self._send({"recipients": [ON_DND], "message": "Your parcel arrives today."})
        self._show(answer, "sent_dnd")

    async def _dnd_rejected(self) -> None:
        self._chapter(
            "A number that cannot be reached", "smsclone says no for this one; the other one gets its message."
        )
        answer = await self._send({"recipients": [SENT, DND_REJECTED], "message": "Your table is booked for 19:00."})
        self._show(answer, "dnd_rejected")

    async def _blocked_word(self) -> None:
        self._chapter("A blocked word", "Seen through the disguise, before anything is sent: entry, category, place.")
        request = {"recipients": [SENT], "message": "Hello! You have W0N a prize", "message_type": "promotional"}
        answer = await self._send(request)
        body = answer.json()
        self._problem(answer, 422, "blocked_words")
        for hit in body.get("hits", []):
            shown = request["message"][hit["start"] : hit["end"]]
            console.print(
                f"    “{hit['entry']}” ({hit['category']}) at {hit['start']} to {hit['end']}: [yellow]{shown}[/]"
            )

    async def _bad_number(self) -> None:
        self._chapter(
            "A bad number among good ones", "It does not sink the others; the same person twice is sent to once."
        )
        answer = await self._send({"recipients": [SENT, "0801-234", "+234 801 000 0001"], "message": "Meeting at 10."})
        self._show(answer, "invalid_number")

    async def _replayed(self) -> None:
        self._chapter("The caller timed out and asks again", "Same Idempotency-Key: the stored answer, no second SMS.")
        request = {"recipients": [SENT], "message": "Your code is 482913.", "message_type": "otp"}
        headers = {"Idempotency-Key": "demo-order-1204"}
        first = await self._send(request, headers)
        second = await self._send(request, headers)
        self._show(second, "sent")
        same = first.json()["id"] == second.json()["id"]
        console.print(f"    replayed: {second.json()['replayed']}, same id: {same}")
        self._expect(same and second.json()["replayed"])

    async def _unknown(self) -> None:
        self._chapter(
            "smsclone takes the request and never answers",
            "Nobody can know whether it went out. The relay says so and never sends it again (2 s deadline here).",
        )
        answer = await self._send({"recipients": [HANGS], "message": "Your invoice is ready."})
        self._show(answer, "no_answer")

    async def _failover(self) -> None:
        self._chapter(
            "The first account runs dry",
            "It says so (TG17), so certainly nothing was sent: the next account sends, and each number gets it once.",
        )
        before = self._standin.ledger.total
        self._standin.registry.change("smsclone", {"units": "0"})
        answer = await self._send({"recipients": list(TWO), "message": "Your ticket: gate 12, 18:40."})
        self._show(answer, "sent")
        arrived = self._standin.ledger.since(before)
        for entry in arrived:
            took = f"{entry.units} units" if entry.result == "processed" else f"{entry.result}: nothing sent"
            if entry.route != "balance":
                console.print(f"    {entry.account:<10}{len(entry.recipients)} numbers, {took}")
        taken = Counter(each.recipient for entry in arrived for each in entry.deliveries)
        told = {(each["account"], each["status"]) for each in answer.json().get("recipients", [])}
        self._expect(list(taken.values()) == [1, 1] and told == {(BACKUP, "sent")})

    async def _template(self) -> None:
        self._chapter(
            "Words that were judged before",
            "The caller names a template and its values; a value that looks like a template stays text.",
        )
        template = {"name": "order_sent", "language": "pcm", "values": {"order": "{{ 7 * 7 }}"}}
        answer = await self._send({"recipients": [SENT], "template": template})
        self._show(answer, "sent")
        too_long = {"name": "order_sent", "values": {"order": "1204" * 4}}
        self._problem(await self._send({"recipients": [SENT], "template": too_long}), 422, "validation_failed")

    async def _scheduled(self) -> None:
        self._chapter(
            "Later, and at a decent hour", "It waits until tomorrow, is moved to the day after, and then called off."
        )
        tomorrow, day_after = ((datetime.now(UTC) + timedelta(days=days)).isoformat() for days in (1, 2))
        request: dict[str, Any] = {"recipients": [SENT], "message": "We open at 9.", "send_at": tomorrow}
        request |= {"delivery_window": {"from": "08:00", "to": "20:00"}}
        accepted = await self._send(request, {"Prefer": "respond-async"})
        self._show(accepted, "scheduled")
        path = f"/v1/notifications/{accepted.json()['id']}"
        moved = await self._http.patch(path, json={"send_at": day_after})
        console.print(f"    moved to {moved.json().get('send_at')}")
        self._show(await self._http.delete(path), "cancelled")

    async def _balance(self) -> None:
        self._chapter("What is left", "Units at each account, as text: they are not floats.")
        body = (await self._http.get("/v1/balance")).json()
        for account in body.get("accounts", []):
            console.print(f"    {account['account']:<10}{account['units']} units, read at {account['read_at']}")
        self._expect("units" in body)

    async def _metrics(self) -> None:
        self._chapter("What Prometheus sees", "GET /metrics, the lines that are not 0:")
        text = (await self._http.get("/metrics")).text
        lines = [line for line in text.splitlines() if line.startswith(_METRICS) and not line.endswith(" 0.0")]
        for line in lines:
            console.print(f"    {line}", markup=False, soft_wrap=True)
        self._expect(bool(lines))

    async def _send(self, request: dict[str, Any], headers: dict[str, str] | None = None) -> httpx.Response:
        return await self._http.post("/v1/notifications", json=request, headers=headers)

    def _chapter(self, title: str, text: str) -> None:
        console.print(f"\n[bold]{title}[/]\n[dim]{text}[/]")

    def _show(self, answer: httpx.Response, code: str) -> None:
        body = answer.json()
        status = body.get("status", "?")
        route = body.get("route") or {}
        instead = f"  by {route.get('account')} ({route['account_reason']})" if route.get("account_reason") else ""
        console.print(
            f"    HTTP {answer.status_code}  [{STATUS_STYLES.get(status, '')}]{status}[/]"
            f"  route {route.get('used')} ({route.get('reason')}){instead}"
        )
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1))
        for recipient in body.get("recipients", []):
            style = STATUS_STYLES.get(recipient["status"], "")
            again = "safe to repeat" if recipient["retry_safe"] else "do not repeat"
            table.add_row("   ", recipient["input"], f"[{style}]{recipient['status']}[/]", recipient["code"], again)
        console.print(table)
        self._expect(any(recipient["code"] == code for recipient in body.get("recipients", [])))

    def _problem(self, answer: httpx.Response, status: int, code: str) -> None:
        body = answer.json()
        console.print(f"    HTTP {answer.status_code}  [red]{body.get('code')}[/]  {body.get('detail')}")
        for error in body.get("errors", ()):
            console.print(f"    {error['field']}: {error['message']}", markup=False)
        self._expect(answer.status_code == status and body.get("code") == code)

    def _expect(self, went_as_told: bool) -> None:
        if not went_as_told:
            self._failures += 1
            console.print("    [bold red]this did not go as told[/]")
