"""What a person and a test ask the stand-in itself: the inbox page, the ledger, the switches.

Owns the stand-in's own paths. It must never answer for the upstream, and gives nothing to pages of other origins: a
change needs a JSON body, which a foreign page cannot send unasked, and a listener on loopback answers only to a
loopback name, so that no foreign name can be pointed at it.
"""

from collections.abc import Callable, Mapping
from importlib.resources import files
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from relay.sandbox.dialect import REJECTIONS
from relay.sandbox.magic import BLOCKED_SENDER, BLOCKED_WORD, MAGIC
from relay.sandbox.registry import FIRST
from relay.sandbox.responder import Responder

EVENTS_PATH = "/events"

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_FILES = {
    "/": ("sandbox/page/inbox.html", "text/html; charset=utf-8"),
    "/look.css": ("look/look.css", "text/css; charset=utf-8"),
    "/inbox.css": ("sandbox/page/inbox.css", "text/css; charset=utf-8"),
    "/inbox.js": ("sandbox/page/inbox.js", "text/javascript; charset=utf-8"),
    "/favicon.svg": ("sandbox/page/favicon.svg", "image/svg+xml"),
}
"""Path → file below the package, and its type. The console of the operator has the same ``look.css``."""
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
GUARDS = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)
"""Headers of every answer of the stand-in itself."""


class PageRequest(Struct, frozen=True):
    """A request to the stand-in's own pages."""

    method: str
    path: str
    query: bytes
    headers: Mapping[str, str]
    body: bytes


class PageReply(Struct, frozen=True):
    """The answer to a :class:`PageRequest`."""

    status: int
    content_type: str
    body: bytes


class _BadRequest(Exception):
    """Something that the caller has to fix."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status = status
        self.what = what


class _LedgerQuery(Struct, frozen=True, forbid_unknown_fields=True):
    since: int = 0
    limit: int | None = None
    last: int | None = None


class InboxPages:
    """Serves the stand-in's own pages: inbox, ledger, switches.

    Args:
        responder: whose ledger and switches are shown and changed.
        loopback_only: the listener is on a loopback address.
    """

    def __init__(self, responder: Responder, *, loopback_only: bool) -> None:
        self._responder = responder
        self._loopback_only = loopback_only
        folder = files("relay")
        self._files = {path: (folder.joinpath(name).read_bytes(), kind) for path, (name, kind) in _FILES.items()}
        self._routes: dict[tuple[str, str], Callable[[PageRequest], object]] = {
            ("GET", "/ledger"): self._list_entries,
            ("DELETE", "/ledger"): self._clear_entries,
            ("GET", "/behaviours"): lambda _request: self.state(),
            ("POST", "/behaviours"): self._set_switches,
            ("DELETE", "/behaviours"): self._clear_switches,
            ("GET", "/magic"): lambda _request: _MAGIC_TABLE,
        }

    def allows(self, host: str) -> bool:
        """Whether a request under this ``Host`` may have an answer."""
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        return not self._loopback_only or name.lower() in _LOOPBACK

    def answer(self, request: PageRequest) -> PageReply:
        """Answer one request. Never raises, whatever the caller sends."""
        if not self.allows(request.headers.get("host", "")):
            return _json(421, {"error": "This listener answers to loopback names only."})
        if request.method == "GET" and request.path in self._files:
            body, kind = self._files[request.path]
            return PageReply(200, kind, body)
        try:
            return _json(200, self._find(request)(request))
        except _BadRequest as failure:
            return _json(failure.status, {"error": failure.what})

    def state(self) -> dict[str, object]:
        """The switches, the units, and which entries the ledger holds."""
        ledger = self._responder.ledger
        return self._responder.switches.describe() | {
            "started": self._responder.started_ms,
            "codes": list(REJECTIONS),
            "units": f"{self._responder.units:.2f}",
            "accounts": [account.describe() for account in self._responder.registry.accounts.values()],
            "total": ledger.total,
            "count": len(ledger),
            "first": ledger.total - len(ledger) + 1,
        }

    def _find(self, request: PageRequest) -> Callable[[PageRequest], object]:
        route = self._routes.get((request.method, request.path))
        if route is not None:
            return route
        if request.path in self._files or any(path == request.path for _, path in self._routes):
            raise _BadRequest(405, "This path does not take this method.")
        raise _BadRequest(404, "No such path: / (inbox), /ledger, /behaviours, /magic, /events.")

    def _list_entries(self, request: PageRequest) -> object:
        try:
            asked = msgspec.convert(dict(parse_qsl(request.query.decode("latin-1"))), _LedgerQuery, strict=False)
        except msgspec.ValidationError as failure:
            raise _BadRequest(400, str(failure)) from None
        ledger = self._responder.ledger
        entries = ledger.since(asked.since, asked.limit) if asked.last is None else ledger.last(asked.last)
        return {"total": ledger.total, "count": len(ledger), "entries": entries}

    def _clear_entries(self, _request: PageRequest) -> object:
        self._responder.ledger.clear()
        return self.state()

    def _set_switches(self, request: PageRequest) -> object:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise _BadRequest(415, "Send the switches as application/json.")
        try:
            change = msgspec.json.decode(request.body, type=dict[str, object])
            self._responder.registry.change(msgspec.convert(change.pop("account", FIRST), str), change)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as failure:
            raise _BadRequest(400, str(failure)) from None
        self._responder.ledger.tell()
        return self.state()

    def _clear_switches(self, _request: PageRequest) -> object:
        for account in self._responder.registry.accounts.values():
            account.switches.clear()
        self._responder.ledger.tell()
        return self.state()


def _json(status: int, content: object) -> PageReply:
    return PageReply(status, "application/json", msgspec.json.encode(content))


_MAGIC_TABLE = {
    "recipients": [{"recipient": number, "does": magic.does} for number, magic in MAGIC.items()],
    "sender": BLOCKED_SENDER,
    "word": BLOCKED_WORD,
}
