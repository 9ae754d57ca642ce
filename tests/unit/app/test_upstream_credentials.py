"""Credentials that change: what the log must still hide."""

from typing import Any, cast

from relay.app.upstream_credentials import Credentials
from relay.domain.secret import Secret
from relay.sending.breaker import Breaker
from relay.sending.ports import BalanceResult
from relay.settings import Settings, SmscloneSettings
from relay.smsclone.client import SmscloneClient
from support.fakes import FakeClock
from support.sending import Heard


class Proving:
    """Proves some passwords."""

    async def prove(self, queries: Any, _seconds: float) -> BalanceResult:
        return BalanceResult("256.21") if b"good" in queries.balance() else BalanceResult(None, "rejected")

    def use(self, queries: Any) -> None:
        """Nothing is called with them."""


def settings(password: str) -> Settings:
    return Settings(smsclone=SmscloneSettings(username=Secret("team"), password=Secret(password), timeout_seconds=20))


async def test_what_calls_may_carry_that_are_still_out_is_hidden_until_they_have_ended() -> None:
    clock = FakeClock()
    credentials = Credentials(Heard(), clock)
    breaker = Breaker(3, 10.0, lambda *_: None)
    credentials.add("smsclone", settings("good-1").smsclone, cast("SmscloneClient", Proving()), breaker)
    for password in ("wrong", "good-2", "good-3"):
        await credentials.renew(settings(password))

    def hidden() -> set[str]:
        return {secret.reveal() for secret in credentials.in_use()} - {"team"}

    assert hidden() == {"good-1", "wrong", "good-2", "good-3"}
    clock.advance(79)
    assert {"good-1", "good-2"} <= hidden()
    clock.advance(2)
    assert hidden() == {"good-3"}
