"""How client commands reach a running relay: one request, one answer, errors as people read them."""

import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

import httpx
import msgspec
from cyclopts import Parameter

from relay.cli.terminal import CommandError, ExitStatus
from relay.settings.environment import find_stray

Url = Annotated[str, Parameter(name="--url", env_var="RELAY_CLIENT_URL", help="Where the relay listens.")]
Key = Annotated[
    str, Parameter(name="--key", env_var="RELAY_CLIENT_KEY", help="The client's key, rk_….", show_default=False)
]

DEFAULT_URL = "http://127.0.0.1:8080"
_TIMEOUT_SECONDS = 40.0
ITEMS_A_PAGE = 200


class Reply(msgspec.Struct):
    """An answer of the relay: HTTP status and decoded body."""

    status: int
    body: Any
    retry_after: float = 1.0
    """Seconds after which to come again, where it says so."""

    @property
    def is_problem(self) -> bool:
        """Whether the relay said no."""
        return self.status >= 400


def call(
    method: str, url: str, path: str, key: str, *, json: Any = None, headers: dict[str, str] | None = None
) -> Reply:
    """Make one request. It is never repeated: a send that timed out here may be on its way.

    Raises:
        CommandError: the relay cannot be reached, or did not answer in time, or answered something else than JSON.
    """
    if not key:
        remedy = "Give --key or set RELAY_CLIENT_KEY; relay keys new makes one."
        raise CommandError("no key.", f"{remedy} {find_stray(os.environ)}".rstrip(), ExitStatus.USAGE)
    url, key = url.strip(), key.strip()  # what files and forms leave at their ends
    if not (key.isascii() and key.isprintable()):
        raise CommandError("the key has a character that no key has.", "Copy it anew.", ExitStatus.USAGE)
    if not url.lower().startswith(("http://", "https://")):
        raise CommandError("--url is not an address.", "Write it like http://127.0.0.1:8080.", ExitStatus.USAGE)
    content = None if json is None else msgspec.json.encode(json)
    sent = {"Authorization": f"Bearer {key}", **({"Content-Type": "application/json"} if content else {})}
    try:
        response = httpx.request(
            method,
            url.rstrip("/") + path,
            content=content,
            headers=sent | (headers or {}),
            timeout=_TIMEOUT_SECONDS,
            trust_env=False,
        )
        body = msgspec.json.decode(response.content) if response.content else None
        return Reply(response.status_code, body, _seconds(response.headers.get("Retry-After")))
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL):
        remedy = find_stray(os.environ) or "Start one with: relay serve; or give --url or RELAY_CLIENT_URL."
        raise CommandError(f"no relay answers at {url}.", remedy, ExitStatus.UNREACHABLE) from None
    except httpx.HTTPError:
        raise CommandError(
            "the relay did not answer in full.",
            "The message may have been sent: look it up by its reference or idempotency key before you repeat it.",
            ExitStatus.UNCLEAR,
        ) from None
    except msgspec.DecodeError:
        raise CommandError(f"{url} is not a relay.", "Check --url.", ExitStatus.USAGE) from None


def read_pages(
    path: str, query: Mapping[str, str], limit: int | None, url: str, key: str, *, most: int = ITEMS_A_PAGE
) -> Iterator[dict[str, Any]]:
    """Read a list page after page, at most ``limit`` items; all of them without.

    Raises:
        CommandError: the relay says no, or cannot be reached; or the limit is none.
    """
    if limit is not None and limit < 1:
        raise CommandError("--limit must be 1 or more.", "Leave it out to see all.", ExitStatus.USAGE)
    left, cursor = limit, None
    while left is None or left > 0:
        asked = {**query, "limit": str(min(left or most, most))} | ({"cursor": cursor} if cursor else {})
        body = expect(call("GET", url, f"{path}?{urlencode(asked)}", key))
        yield body
        cursor = body["next_cursor"]
        if cursor is None:
            return
        left = None if left is None else left - len(body["items"])


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else 1.0


def expect(reply: Reply) -> Any:
    """Give the body of an answer that is not a problem.

    Raises:
        CommandError: the problem's detail, with its field errors.
    """
    if not reply.is_problem:
        return reply.body
    body = reply.body if isinstance(reply.body, dict) else {}
    detail = body.get("detail", "the relay refused.")
    errors = "; ".join(
        f"{error['field']}: {error['message']}" for error in body.get("errors", []) if error["message"] != detail
    )
    hits = ", ".join(f"“{hit['entry']}” ({hit['category']}) at {hit['start']}" for hit in body.get("hits", []))
    extra = " ".join(part for part in (errors, hits) if part)
    what = f"{body.get('code', reply.status)}: {detail}"
    raise CommandError(what, extra or "", ExitStatus.REFUSED)
