"""The two lines: smsclone with its transport, and the in-process stand-in for sandbox clients."""

import sys

from relay.app.policies import reserved_slots
from relay.domain.secret import Secret
from relay.sandbox.config import SandboxConfig
from relay.sandbox.responder import Responder
from relay.sending.breaker import Breaker, BreakerState
from relay.sending.dial import Line
from relay.sending.events import BreakerChanged, Events
from relay.sending.ports import Clock
from relay.sending.slots import Slots
from relay.settings import Settings
from relay.smsclone.client import SmscloneClient
from relay.smsclone.inprocess import InProcessTransport
from relay.smsclone.query import Queries
from relay.smsclone.tls import make_tls_context
from relay.smsclone.transport import BilledGetTransport

_STANDIN_URL = "https://standin.invalid"
_STANDIN_ACCOUNT = "standin"
_BALANCE_CALLS = 2
"""Places for balance calls beside the sends': a poll never waits for a campaign."""


def make_line(settings: Settings, clock: Clock, events: Events) -> Line:
    """smsclone, with its breaker and its places for calls."""
    smsclone = settings.smsclone

    def tell(state: BreakerState, reason: str) -> None:
        events.emit(BreakerChanged(state=state.value, reason=reason))

    transport = BilledGetTransport(
        smsclone.base_url,
        connect_timeout_seconds=smsclone.connect_timeout_seconds,
        tls=make_tls_context(smsclone.ca_file),
        keepalive_seconds=smsclone.keepalive_seconds,
        max_connections=smsclone.max_connections + _BALANCE_CALLS,
        proxy=smsclone.proxy,
    )
    username, password = smsclone.username or Secret(""), smsclone.password or Secret("")
    client = SmscloneClient(
        Queries(smsclone.base_url, username.reveal(), password.reveal()),
        transport,
        most_recipients=smsclone.max_recipients_per_call,
        monotonic=clock.monotonic,
    )
    breaker = Breaker(settings.breaker.failures, settings.breaker.open_seconds, tell)
    return Line(client, breaker, Slots(smsclone.max_connections, reserved_slots(settings)))


def make_sandbox_line(settings: Settings, clock: Clock) -> Line:
    """The stand-in in this process: nothing that goes there reaches smsclone, nor moves its breaker."""
    account = Secret(_STANDIN_ACCOUNT)
    # No units to run out of, and no ledger: the texts of sandbox clients are kept no longer than others'.
    config = SandboxConfig(username=_STANDIN_ACCOUNT, password=account, units=None, ledger_entries=0)
    responder = Responder(config, clock.now_ms)
    client = SmscloneClient(
        Queries(_STANDIN_URL, _STANDIN_ACCOUNT, _STANDIN_ACCOUNT),
        InProcessTransport(responder.answer_in_process),
        most_recipients=settings.smsclone.max_recipients_per_call,
        monotonic=clock.monotonic,
    )
    # It has no outage to protect from; nobody would probe it either.
    breaker = Breaker(sys.maxsize, settings.breaker.open_seconds, lambda _state, _reason: None)
    return Line(client, breaker, Slots(settings.smsclone.max_connections, reserved_slots(settings)))
