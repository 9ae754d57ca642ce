"""User names and passwords that change while the relay runs (SPEC section 12): proven before they are used.

What stands in the settings is what somebody wrote; what an account is called with is what its balance call has proven.
The two differ only while the proof fails.
"""

import asyncio
from collections.abc import Iterable
from hmac import compare_digest

from msgspec import Struct

from relay.domain.secret import Secret
from relay.sending.breaker import Breaker
from relay.sending.events import CredentialsJudged, Events
from relay.sending.ports import Clock
from relay.settings import Settings, SmscloneSettings
from relay.smsclone.client import SmscloneClient
from relay.smsclone.query import Queries
from relay.watching import Nudge

PROOF_SECONDS = 10.0
"""Deadline of the balance call that proves credentials."""

_REMEMBERED_SECONDS = 60.0
"""How long credentials are still hidden after the last call with them must have ended."""


class _Past(Struct, frozen=True):
    pair: tuple[Secret, Secret]
    until: float
    """Monotonic seconds."""


class _Account(Struct):
    client: SmscloneClient
    breaker: Breaker
    pair: tuple[Secret, Secret]
    stands_refused: bool = False
    """Whether what stands in the settings could not be proven."""
    taken_at: float = float("-inf")
    """Monotonic seconds."""
    past: tuple[_Past, ...] = ()
    """What calls may still carry that was replaced, or could not be proven."""


class Credentials:
    """The user name and password of every account.

    Args:
        events: is told of every proof.
        clock: of the process.
    """

    def __init__(self, events: Events, clock: Clock) -> None:
        self._events = events
        self._clock = clock
        self._accounts: dict[str, _Account] = {}
        self._lock = asyncio.Lock()
        self.refused = Nudge()
        """Given whenever an account refuses its credentials."""

    def add(self, name: str, settings: SmscloneSettings, client: SmscloneClient, breaker: Breaker) -> None:
        """Take an account in, with the credentials that it starts with."""
        self._accounts[name] = _Account(client, breaker, pair_of(settings))

    def in_use(self) -> Iterable[Secret]:
        """What accounts are called with now, and what calls may carry that are still out."""
        now = self._clock.monotonic()
        accounts = self._accounts.values()
        past = [each.pair for account in accounts for each in account.past if each.until > now]
        return [secret for pair in (*(account.pair for account in accounts), *past) for secret in pair]

    async def renew(self, settings: Settings) -> None:
        """Prove what stands in the settings wherever it is not in use, and use what was proven. Raises nothing."""
        async with self._lock:
            now = settings.all_accounts()
            await asyncio.gather(*(self._renew(name, now[name]) for name in self._accounts if name in now))

    async def _renew(self, name: str, settings: SmscloneSettings) -> None:
        account, pair = self._accounts[name], pair_of(settings)
        is_new = not _is_same(pair, account.pair)
        if not is_new and not self._is_late_refusal(account, settings.timeout_seconds):
            if account.stands_refused:  # somebody put the old ones back
                account.stands_refused = False
                self._events.emit(CredentialsJudged(account=name, taken=True, cause="put_back"))
            return
        if is_new:
            self._remember(account, pair, PROOF_SECONDS)
        queries = Queries(settings.base_url, pair[0].reveal(), pair[1].reveal())
        result = await account.client.prove(queries, PROOF_SECONDS)
        if result.units is None:
            account.stands_refused = True
            cause = result.upstream_code or result.cause or ""
            self._events.emit(CredentialsJudged(account=name, taken=False, cause=cause))
            return
        account.client.use(queries)
        account.breaker.record_credentials(self._clock.monotonic())
        if is_new:
            self._remember(account, account.pair, settings.timeout_seconds)
            account.pair, account.stands_refused, account.taken_at = pair, False, self._clock.monotonic()
            self._events.emit(CredentialsJudged(account=name, taken=True, cause="proven"))

    def _remember(self, account: _Account, pair: tuple[Secret, Secret], call_seconds: float) -> None:
        now = self._clock.monotonic()
        others = (each for each in account.past if each.until > now and not _is_same(each.pair, pair))
        account.past = (*others, _Past(pair, now + call_seconds + _REMEMBERED_SECONDS))

    def _is_late_refusal(self, account: _Account, timeout_seconds: float) -> bool:
        """Whether what opened the breaker may be the answer to a call with the credentials of before."""
        recent = self._clock.monotonic() - account.taken_at <= timeout_seconds
        return recent and account.breaker.refused_credentials


def pair_of(settings: SmscloneSettings) -> tuple[Secret, Secret]:
    """User name and password as they stand in the settings."""
    return settings.username or Secret(""), settings.password or Secret("")


def _is_same(one: tuple[Secret, Secret], other: tuple[Secret, Secret]) -> bool:
    return all(compare_digest(a.reveal().encode(), b.reveal().encode()) for a, b in zip(one, other, strict=True))
