"""Who tells callers how it ended."""

import random
import ssl
from collections.abc import Callable, Mapping, Sequence

from relay.observability.recorder import Recorder
from relay.sending.callback_queue import CallbackQueue
from relay.sending.ports import Clock
from relay.settings import Settings
from relay.smsclone.addresses import Addresses
from relay.webhooks.callbacks.addresses import AddressRules
from relay.webhooks.callbacks.posting import GuardedBackend, Poster
from relay.webhooks.callbacks.worker import CallbackClient, CallbackWorker


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
    """By the system's resolver, in a thread of its own for each look-up: a slow one holds up nobody else."""
    return await Addresses(host, port).find()
