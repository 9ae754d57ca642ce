"""``GET /v1/balance``: the units left at smsclone."""

import msgspec
from msgspec import Struct

from relay.domain.codes import Permission
from relay.http.answers import PRIVATE
from relay.http.auth import Gate
from relay.http.exchange import Exchange, Reply, Route
from relay.http.times import format_time
from relay.sending.requests import Sending


class BalanceBody(Struct, frozen=True):
    """Units left, a decimal as text, and when they were read."""

    units: str
    read_at: str


class BalancePage:
    """The endpoint that reads the balance."""

    def __init__(self, gate: Gate, sending: Sending) -> None:
        self._gate = gate
        self._sending = sending

    def routes(self) -> list[Route]:
        """What is served here."""
        return [Route("GET", "/v1/balance", self.read)]

    async def read(self, exchange: Exchange) -> Reply:
        """Read it now."""
        caller = await self._gate.admit(exchange, Permission.BALANCE)
        exchange.stage = None
        balance = await self._sending.balance(caller.client)
        return Reply(
            200, msgspec.json.encode(BalanceBody(balance.units, format_time(balance.read_at))), headers=(PRIVATE,)
        )
