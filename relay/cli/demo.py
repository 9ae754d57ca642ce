"""The demo: sandbox and relay in one process, sample traffic over real sockets, told as a story. Ends by itself."""

import io
import socket
import tempfile
from pathlib import Path
from typing import Any

import httpx
from rich.panel import Panel
from rich.table import Table

from relay.cli.console import STATUS_STYLES, ExitStatus, console
from relay.domain.secret import Secret
from relay.http.auth import new_key
from relay.settings import Settings, load_settings

SENT = "08010000001"
ON_DND = "08010000002"
DND_REJECTED = "08010000003"
HANGS = "08010000011"

_METRICS = (
    "relay_notifications_total{",
    "relay_recipients_total{",
    "relay_unknown_total{",
    "relay_prefilter_hits_total{",
)


async def run_demo() -> int:
    """Tell the story.

    Returns:
        The exit status: 0 where everything went as told.
    """
    from relay.app import start_relay
    from relay.sandbox.server import SandboxConfig, start_sandbox

    key, key_id, digest = new_key()
    sandbox = await start_sandbox(SandboxConfig(password=Secret("demo")))
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
                    return await _Story(http).tell()
            finally:
                await running.stop()
    finally:
        await sandbox.close()


def _settings(directory: Path, base_url: str, key_id: str, digest: str) -> Settings:
    config = directory / "relay.toml"
    config.write_text(
        f"""
[listen]
port = {_free_port()}

[smsclone]
base_url = "{base_url}"
timeout_seconds = 2

[journal]
url = "sqlite:///{directory / "relay.db"}"

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

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
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
        await self._balance()
        await self._metrics()
        if self._failures:
            console.print(f"[bold red]{self._failures} chapter(s) did not go as told.[/]")
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

    async def _balance(self) -> None:
        self._chapter("What is left", "Units at smsclone, as text: they are not floats.")
        body = (await self._http.get("/v1/balance")).json()
        console.print(f"    {body.get('units')} units, read at {body.get('read_at')}")
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
        console.print(
            f"    HTTP {answer.status_code}  [{STATUS_STYLES.get(status, '')}]{status}[/]"
            f"  route {route.get('used')} ({route.get('reason')})"
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
        self._expect(answer.status_code == status and body.get("code") == code)

    def _expect(self, went_as_told: bool) -> None:
        if not went_as_told:
            self._failures += 1
            console.print("    [bold red]this did not go as told[/]")
