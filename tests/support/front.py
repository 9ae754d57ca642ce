"""The front for tests: driven in the test's own loop, with a fake core behind it. Every answer is held against the
OpenAPI document: its status must be there, and its body must be what the document says."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from relay.app.routes import SERVICES, openapi_document
from relay.domain.clients import Client
from relay.domain.codes import MessageType, Permission, RequestedRoute
from relay.http.application import Controllers, ServedPages, Surroundings, build_application
from relay.http.asgi import Message
from relay.http.auth import Gate, KeyEntry, KeyRing, new_key
from relay.http.now import NowController, Situation
from relay.observability.history import History
from relay.observability.metric_table import ACCOUNTS
from relay.observability.metrics import Metrics
from relay.sending.events import Event, Refused
from support.fake_core import NOW_MS, FakeCore

DOCUMENT = openapi_document()
BILLING_KEY, BILLING_ID, BILLING_SHA256 = new_key()
ORDERS_KEY, ORDERS_ID, ORDERS_SHA256 = new_key()

REQUEST: dict[str, Any] = {"recipients": ["08012345678"], "message": "Your order 1204 is on its way."}


def make_clients() -> dict[str, Client]:
    """One client that may do everything, and one that may send a little."""
    return {
        "billing": Client(
            name="billing",
            senders=frozenset({"ACME"}),
            default_sender="ACME",
            message_types=frozenset(MessageType),
            routes=frozenset(RequestedRoute),
            permissions=frozenset(Permission),
            callback_hosts=frozenset({"orders.internal"}),
        ),
        "orders": Client(name="orders", default_sender="ORDERS", permissions=frozenset({Permission.SEND})),
    }


class FixedClock:
    """The wall clock stands at one time; the other one goes forward a little at each look."""

    def __init__(self) -> None:
        self.wall_ms = NOW_MS
        self._monotonic = 0.0

    def now_ms(self) -> int:
        return self.wall_ms

    def monotonic(self) -> float:
        self._monotonic += 0.001
        return self._monotonic


class CountedIds:
    """Ids in order."""

    def __init__(self) -> None:
        self._count = 0

    def new_id(self) -> str:
        self._count += 1
        return f"fresh-{self._count}"


class Witness:
    """Takes events and access records; renders metrics."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.records: list[dict[str, Any]] = []
        self.accepted: list[str] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def record_request(self, **fields: Any) -> None:
        self.records.append(fields)

    def render(self, accept: str) -> tuple[bytes, str]:
        self.accepted.append(accept)
        return b"relay_paused 0\n", "text/plain; version=1.0.0; charset=utf-8"

    @property
    def refusals(self) -> list[tuple[str, str, str | None]]:
        """Stage, code and client of what the front refused."""
        return [(event.stage, event.code.value, event.client) for event in self.events if isinstance(event, Refused)]


@dataclass
class Reply:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Of the problem that it is."""
        return str(self.json()["code"])


@cache
def nothing_counted() -> Metrics:
    """Metrics at 0, for every front that counts nothing: they are a quarter of what a front costs."""
    return make_metrics()


def make_metrics() -> Metrics:
    """Metrics of one front alone, to be counted in."""
    metrics = Metrics(version="1.2.3", system=False)
    metrics.follow(ACCOUNTS, ["smsclone"])
    return metrics


@dataclass
class Front:
    """The whole front with a fake core behind it."""

    core: FakeCore = field(default_factory=FakeCore)
    witness: Witness = field(default_factory=Witness)
    clock: FixedClock = field(default_factory=FixedClock)
    clients: dict[str, Client] = field(default_factory=make_clients)
    keys: KeyRing = field(
        default_factory=lambda: KeyRing(
            [KeyEntry("billing", BILLING_ID, BILLING_SHA256), KeyEntry("orders", ORDERS_ID, ORDERS_SHA256)]
        )
    )
    pages: ServedPages = field(default_factory=ServedPages)
    metrics: Metrics = field(default_factory=nothing_counted)
    key: str | None = BILLING_KEY
    more: Controllers = (NowController,)

    def __post_init__(self) -> None:
        surroundings = Surroundings(events=self.witness, recorder=self.witness, clock=self.clock, ids=CountedIds())
        history = History(self.metrics, self.clock)
        situation = Situation(
            self.core,
            self.metrics,
            history,
            self.clock,
            count_unknown=self.core.count_unknown,
            word_lists=lambda: "ok",
            max_places=200,
            version="1.2.3",
        )
        self.gate = Gate(lambda: self.keys, lambda: self.clients, self.clock)
        self.app = build_application(
            surroundings,
            sending=self.core,
            operations=self.core,
            gate=self.gate,
            metrics=self.witness,
            word_lists=lambda: "ok",
            template_state=lambda: "ok",
            templates=lambda: self.core.rules.templates,
            document=openapi_document,
            pages=self.pages,
            more=self.more,
            services=dict.fromkeys(SERVICES) | {"situation": situation},
        )

    async def request(
        self,
        method: str,
        target: str,
        body: Any = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        *,
        chunks: Sequence[bytes] | None = None,
        until: asyncio.Event | None = None,
        key: str | None = "",
        documented: bool = True,
        hang_up: bool = False,
    ) -> Reply:
        """Make one request.

        Args:
            body: bytes, or a value to encode as JSON.
            headers: above the usual ones; one with the value ``-`` takes a usual one away.
            chunks: the body piece by piece, without Content-Length.
            until: when its end comes, after all of its pieces.
            key: an API key; empty: this front's own; ``None``: no header.
            documented: whether the answer must be one that the OpenAPI document has.
            hang_up: whether the client goes away before the end of its body.
        """
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        pieces = [content] if chunks is None else list(chunks)
        usual = {"host": "relay"}
        if body is not None and chunks is None:
            usual |= {"content-type": "application/json", "content-length": str(len(content))}
        key = self.key if key == "" else key
        if key is not None:
            usual["authorization"] = f"Bearer {key}"
        given = [
            (name.lower(), value) for name, value in (headers.items() if isinstance(headers, Mapping) else headers)
        ]
        usual = {name: value for name, value in usual.items() if name not in dict(given)}
        wire = [(n.encode(), v.encode("latin-1")) for n, v in (*usual.items(), *given) if v != "-"]
        reply = await self._run(method, target, wire, pieces, until, hang_up=hang_up)
        assert "x-request-id" in reply.headers
        if documented and method != "HEAD":
            check_against_document(method, target, reply)
        return reply

    async def _run(
        self,
        method: str,
        target: str,
        headers: list[tuple[bytes, bytes]],
        pieces: list[bytes],
        until: asyncio.Event | None,
        *,
        hang_up: bool,
    ) -> Reply:
        path, _, query = target.partition("?")
        sent: list[Message] = []
        waiting: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        if not hang_up:
            waiting.append({"type": "http.request", "body": b"", "more_body": False})

        async def receive() -> Message:
            if until is not None and len(waiting) == 1:
                await until.wait()
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(dict(message))

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode("latin-1"),
            "root_path": "",
            "scheme": "http",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("relay", 80),
        }
        await self.app(scope, receive, send)
        start, *bodies = sent
        names = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        return Reply(start["status"], names, b"".join(message.get("body", b"") for message in bodies))

    async def send(self, headers: Mapping[str, str] | Iterable[tuple[str, str]] = (), **fields: Any) -> Reply:
        """Post a notification: the usual request with other fields."""
        return await self.request("POST", "/v1/notifications", REQUEST | fields, headers)


@cache
def _validator(reference: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": reference, "components": DOCUMENT["components"]})


def check_against_document(method: str, target: str, reply: Reply) -> None:
    """Fail where the OpenAPI document does not say this answer."""
    path = "/" + "/".join(part for part in target.partition("?")[0].split("/") if part)
    operation = _find_operation(method, path)
    if reply.headers.get("content-type") == "application/problem+json":
        _validator("#/components/schemas/Problem").validate(reply.json())
    if operation is None:
        return
    response = operation["responses"].get(str(reply.status))
    assert response is not None, f"{method} {target} answers {reply.status}, which is not documented"
    media_type = reply.headers["content-type"].split(";")[0]
    assert media_type in response["content"], f"{method} {target} answers {media_type}, which is not documented"
    if reply.status in (429, 503) and media_type != "application/json":
        assert int(reply.headers["retry-after"]) >= 1
    reference = response["content"][media_type]["schema"].get("$ref")
    if reference is not None:
        _validator(reference).validate(reply.json())
    if media_type == "application/problem+json":
        assert reply.code in response["content"][media_type]["examples"], f"{reply.code} is not documented there"


def _find_operation(method: str, path: str) -> Any:
    methods = DOCUMENT["paths"].get(path)
    if methods is None:
        parts = path.split("/")
        for template, operations in DOCUMENT["paths"].items():
            names = template.split("/")
            if len(names) == len(parts) and all(n == p or n.startswith("{") for n, p in zip(names, parts, strict=True)):
                methods = operations
    return None if methods is None else methods.get(method.lower())
