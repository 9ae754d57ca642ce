"""What the relay calls: smsclone with its transport, the in-process stand-in for sandbox clients, and callbacks."""

import random
import ssl
import sys
from collections.abc import Callable, Mapping, Sequence

from relay.app.upstream_credentials import Credentials
from relay.domain.secret import Secret
from relay.observability.recorder import Recorder
from relay.sandbox.responder import Responder
from relay.sandbox.switches import SandboxConfig
from relay.sending.breaker import Breaker, BreakerState
from relay.sending.bulkhead import Bulkhead
from relay.sending.callback_queue import CallbackQueue
from relay.sending.channels import Channel
from relay.sending.events import BreakerChanged, Events
from relay.sending.ports import Clock
from relay.sending.turns import Turns
from relay.settings import BreakerSettings, Settings, SmscloneSettings
from relay.smsclone.client import SmscloneClient
from relay.smsclone.exchange import InProcessTransport
from relay.smsclone.host_lookup import HostLookup
from relay.smsclone.query import Queries
from relay.smsclone.tls import make_tls_context
from relay.smsclone.transport import BilledGetTransport
from relay.webhooks.callbacks.addresses import AddressRules
from relay.webhooks.callbacks.posting import GuardedBackend, Poster
from relay.webhooks.callbacks.worker import CallbackClient, CallbackWorker

STANDIN = "sandbox"
"""What the stand-in is called where an account would be named."""

_STANDIN_URL = "https://standin.invalid"
_STANDIN_ACCOUNT = "standin"


def make_client(
    account: SmscloneSettings, clock: Clock, turns: Turns, on_refusal: Callable[[], None] = lambda: None
) -> SmscloneClient:
    """What calls an account.

    Args:
        turns: in which answers about many recipients are read.
        on_refusal: called whenever the account refuses its credentials.
    """
    transport = BilledGetTransport(
        account.base_url,
        connect_timeout_seconds=account.connect_timeout_seconds,
        tls=make_tls_context(account.ca_file),
        keepalive_seconds=account.keepalive_seconds,
        proxy=account.proxy,
    )
    username, password = account.username or Secret(""), account.password or Secret("")
    return SmscloneClient(
        Queries(account.base_url, username.reveal(), password.reveal()),
        transport,
        most_recipients=account.max_recipients_per_call,
        monotonic=clock.monotonic,
        wait_turn=turns.wait,
        on_refusal=on_refusal,
    )


def make_accounts(
    settings: Settings, clock: Clock, events: Events, turns: Turns, credentials: Credentials
) -> dict[str, Channel]:
    """Every account that can be called, by its name; each is taken in by ``credentials``."""
    made: dict[str, Channel] = {}
    for name, account in settings.ready_accounts().items():
        client = make_client(account, clock, turns, credentials.refused.give)
        made[name] = _make_channel(name, account, client, settings.breaker, events)
        credentials.add(name, account, client, made[name].breaker)
    return made


def _make_channel(
    name: str, account: SmscloneSettings, client: SmscloneClient, breaker: BreakerSettings, events: Events
) -> Channel:
    """An account, with its breaker and its bulkhead."""

    def tell(state: BreakerState, reason: str) -> None:
        events.emit(BreakerChanged(account=name, state=state.value, reason=reason))

    return Channel(
        client,
        Breaker(breaker.failures, breaker.open_seconds, tell),
        Bulkhead(account.max_connections),
        account=name,
        senders=frozenset(account.senders),
        timeout_seconds=account.timeout_seconds,
        balance_interval_seconds=account.balance_interval_seconds,
    )


def make_sandbox_channel(settings: Settings, clock: Clock) -> Channel:
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
    return Channel(client, breaker, Bulkhead(settings.smsclone.max_connections), account=STANDIN)


def callback_clients(settings: Settings) -> dict[str, CallbackClient]:
    """Where each client's callbacks may go, and what signs them."""
    return {
        client.name: CallbackClient(frozenset(client.callback_hosts), client.callback_secrets)
        for client in settings.clients
    }


def make_callback_worker(
    settings: Settings,
    queue: CallbackQueue,
    recorder: Recorder,
    clock: Clock,
    clients: Callable[[], Mapping[str, CallbackClient]],
) -> CallbackWorker:
    """Make the worker of a process; it is not started yet."""
    rules = AddressRules(settings.callbacks.allowed_networks)
    tls = ssl.create_default_context(cafile=settings.callbacks.ca_file)
    return CallbackWorker(
        queue,
        Poster(GuardedBackend(_resolve, rules.permits), tls),
        clients=clients,
        recorder=recorder,
        events=recorder,
        clock=clock,
        chance=random.random,
    )


async def _resolve(host: str, port: int) -> Sequence[str]:
    """By the system's resolver, each look-up in a thread of its own, so that a slow one delays nobody else."""
    return await HostLookup(host, port).find()
