"""Finds out by TokenReview whose a projected service account token is, and caches the answer for a short time.

A token is accepted only if the API server confirms it, for one audience. The answer is cached for a minute at most and
never beyond the token's expiry, so a deleted account is locked out after that. While the API server does not answer,
nobody new is let in.

Source:
    Kubernetes API, ``authentication.k8s.io/v1``, TokenReview: a server that knows audiences names those it checked.
"""

import asyncio
import hashlib
import ssl
from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import httpx
import msgspec
from msgspec import Struct

from relay.kubernetes.tokens import account_of, read_claims
from relay.sending.ports import Clock

ACCEPTED_SECONDS = 60.0
REFUSED_SECONDS = 10.0
REVIEW_SECONDS = 3.0
"""For one review, connection and all."""
REVIEWS_AT_ONCE = 4
MOST_WAITING = 64
"""Reviews that wait or run; more are not begun, so that a flood of made-up tokens does not reach the API server."""
MOST_KEPT = 1_000
"""Answers of each kind; a flood of refused ones drives no accepted one out."""

_PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
_MOST_BYTES = 64 * 1024
_LEEWAY_SECONDS = 60
"""How far the clocks here and there may be apart before a token counts as expired without a question."""


class Trouble(StrEnum):
    """Why a review failed."""

    BUSY = "busy"
    OWN_UNREADABLE = "own_token_unreadable"
    NO_AUTHORITY = "ca_unreadable"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    FORBIDDEN = "forbidden"
    HTTP_STATUS = "http_status"
    UNREADABLE = "unreadable"


class ReviewFailed(Exception):
    """It could not be found out whose token it is. The exception's text is only the word of :class:`Trouble`."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.value)
        self.trouble = trouble


class _User(Struct, frozen=True):
    username: str = ""


class _Status(Struct, frozen=True):
    authenticated: bool = False
    user: _User = _User()
    audiences: tuple[str, ...] = ()


class _Review(Struct, frozen=True):
    kind: str
    status: _Status


_reviews = msgspec.json.Decoder(_Review)


class TokenReviews:
    """Finds the service account of a token.

    Args:
        api_url: of the API server.
        token_file: the relay's own token; read again for every review, because the kubelet replaces it.
        ca_file: the certificate authority of the API server; likewise.
        audience: the audience that a token must have.
        clock: for the age of answers and the expiry of tokens.
        is_bound: whether an account belongs to a client; others are refused without a review.
    """

    def __init__(
        self,
        *,
        api_url: str,
        token_file: Path,
        ca_file: Path,
        audience: str,
        clock: Clock,
        is_bound: Callable[[str], bool],
    ) -> None:
        self._url = api_url.rstrip("/") + _PATH
        self._token_file = token_file
        self._ca_file = ca_file
        self._audience = audience
        self._clock = clock
        self._is_bound = is_bound
        self._accepted = _Answers()
        self._refused = _Answers()
        self._running: dict[bytes, asyncio.Task[str | None]] = {}
        self._places = asyncio.Semaphore(REVIEWS_AT_ONCE)
        self._client: httpx.AsyncClient | None = None
        self._former: httpx.AsyncClient | None = None
        self._authority = b""

    async def find_account(self, token: bytes) -> str | None:
        """The token's service account as ``namespace/name``; ``None`` if the token is not valid.

        Raises:
            ReviewFailed: the API server gave no answer.
        """
        claims = read_claims(token)
        if claims is None or claims.account is None or not self._is_bound(claims.account):
            return None
        left = claims.exp - self._clock.now_ms() / 1000
        if self._audience not in claims.audiences or left < -_LEEWAY_SECONDS:
            return None
        digest, now = hashlib.sha256(token).digest(), self._clock.monotonic()
        if (account := self._accepted.find(digest, now)) is not None:
            return account
        if self._refused.find(digest, now) is not None:
            return None
        keep_seconds = min(left, ACCEPTED_SECONDS)
        return await asyncio.shield(self._review_once(digest, token, claims.account, keep_seconds))

    async def aclose(self) -> None:
        """Drop the connections."""
        for client in (self._client, self._former):
            if client is not None:
                await client.aclose()

    def _review_once(
        self, digest: bytes, token: bytes, claimed: str, keep_seconds: float
    ) -> "asyncio.Task[str | None]":
        """One review for all who present the same token at the same time."""
        running = self._running.get(digest)
        if running is None:
            if len(self._running) >= MOST_WAITING:
                raise ReviewFailed(Trouble.BUSY)
            running = asyncio.create_task(self._review(digest, token, claimed, keep_seconds))
            self._running[digest] = running
            running.add_done_callback(lambda done: self._forget(digest, done))
        return running

    def _forget(self, digest: bytes, done: "asyncio.Task[str | None]") -> None:
        self._running.pop(digest, None)
        if not done.cancelled():
            done.exception()  # whoever waited has it, or is gone

    async def _review(self, digest: bytes, token: bytes, claimed: str, keep_seconds: float) -> str | None:
        try:
            async with asyncio.timeout(REVIEW_SECONDS), self._places:
                account = await self._ask(token)
        except TimeoutError:
            raise ReviewFailed(Trouble.TIMEOUT) from None
        now = self._clock.monotonic()
        if account != claimed:
            self._refused.keep(digest, "", now + REFUSED_SECONDS)
            return None
        self._accepted.keep(digest, claimed, now + max(keep_seconds, 0.0))
        return claimed

    async def _ask(self, token: bytes) -> str | None:
        spec = {"token": token.decode("ascii"), "audiences": [self._audience]}
        body = msgspec.json.encode({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec})
        try:
            own = self._token_file.read_text("utf-8-sig").strip()
        except (OSError, UnicodeError):
            raise ReviewFailed(Trouble.OWN_UNREADABLE) from None
        client = await self._use_client()
        headers = {"Authorization": f"Bearer {own}", "Content-Type": "application/json", "Accept": "application/json"}
        try:
            status, answer = await _post(client, self._url, body, headers)
        except httpx.TransportError:
            try:  # a review may be asked twice; a connection that was kept may just have ended
                status, answer = await _post(client, self._url, body, headers)
            except httpx.TransportError:
                raise ReviewFailed(Trouble.UNREACHABLE) from None
        except (httpx.HTTPError, httpx.InvalidURL):
            raise ReviewFailed(Trouble.UNREACHABLE) from None
        return self._judge(status, answer)

    def _judge(self, status: int, answer: bytes) -> str | None:
        if status in (401, 403):
            raise ReviewFailed(Trouble.FORBIDDEN)
        if status not in (200, 201):
            raise ReviewFailed(Trouble.HTTP_STATUS)
        try:
            review = _reviews.decode(answer)
        except (ValueError, RecursionError):
            raise ReviewFailed(Trouble.UNREADABLE) from None
        if review.kind != "TokenReview":
            raise ReviewFailed(Trouble.UNREADABLE)
        if not review.status.authenticated or self._audience not in review.status.audiences:
            return None
        return account_of(review.status.user.username)

    async def _use_client(self) -> httpx.AsyncClient:
        """The client for the certificate authority that is in the file now."""
        try:
            authority = self._ca_file.read_bytes()
            if self._client is None or authority != self._authority:
                context = ssl.create_default_context(cadata=authority.decode("ascii", "ignore"))
                client = httpx.AsyncClient(verify=context, trust_env=False, timeout=REVIEW_SECONDS)
                oldest, self._former = self._former, self._client  # reviews may still be on their way with the former
                self._client, self._authority = client, authority
                if oldest is not None:
                    await oldest.aclose()
        except (OSError, ValueError):
            raise ReviewFailed(Trouble.NO_AUTHORITY) from None
        return self._client


async def _post(client: httpx.AsyncClient, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    """Post once, and read no more than a genuine answer can have."""
    answer = bytearray()
    async with client.stream("POST", url, content=body, headers=headers, follow_redirects=False) as response:
        async for part in response.aiter_bytes():
            answer += part
            if len(answer) > _MOST_BYTES:
                raise ReviewFailed(Trouble.UNREADABLE)
    return response.status_code, bytes(answer)


class _Answers:
    """Answers by the token's digest, each with its own expiry; the oldest is evicted."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def find(self, digest: bytes, now: float) -> str | None:
        kept = self._kept.get(digest)
        if kept is None:
            return None
        if now >= kept[1]:
            del self._kept[digest]
            return None
        return kept[0]

    def keep(self, digest: bytes, account: str, until: float) -> None:
        self._kept[digest] = (account, until)
        self._kept.move_to_end(digest)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
