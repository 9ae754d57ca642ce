"""The relay's core in the test's own loop, composed as in production, with a journal that fails when a test says so."""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from relay.app.composition import Relay
from relay.domain.clients import Client
from relay.domain.codes import MessageType, Source
from relay.domain.notification import Stored, view_recipients
from relay.sending.operations import Operator
from relay.sending.ports import Journal
from relay.sending.requests import Caller, Submission
from relay.settings import load_settings
from support.journal_file import lay_journal
from support.upstream import Upstream
from support.waiting import PATIENCE_SECONDS

Hook = Callable[..., Awaitable[Any]]


class FailingJournal:
    """Stands before a real journal; ``hooks`` replace methods by name and are given the real one first."""

    def __init__(self, real: Journal) -> None:
        self.real = real
        self.hooks: dict[str, Hook] = {}

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.real, name)
        hook = self.hooks.get(name)
        if hook is None:
            return real

        async def call(*arguments: Any, **named: Any) -> Any:
            return await hook(real, *arguments, **named)

        return call

    def fail_once(self, method: str, failure: Exception, times: int = 1) -> None:
        """Let a method fail before it does anything, the first times that it is called."""
        left = [times]

        async def hook(real: Hook, *arguments: Any, **named: Any) -> Any:
            if left[0] > 0:
                left[0] -= 1
                raise failure
            return await real(*arguments, **named)

        self.hooks[method] = hook


class Core:
    """A relay without its HTTP front."""

    def __init__(self, relay: Relay, journal: FailingJournal) -> None:
        self.relay = relay
        self.journal = journal
        self.client = Client(name="billing", default_sender="ACME", message_types=frozenset(MessageType))
        self.sandbox_client = Client(name="try", default_sender="ACME", sandbox=True)

    @property
    def service(self) -> Any:
        """The core itself."""
        return self.relay.service

    @property
    def operator(self) -> Operator:
        """What the operator's requests reach."""
        service = self.relay.service
        return Operator(
            cast("Journal", self.journal),
            self.relay._clock,
            self.relay.recorder,
            service,
            hash_message=service.hash_message,
            look_at_pause=service.look_at_pause,
            clients=lambda: self.relay._clients,
            accounts=tuple(self.relay.settings.all_accounts()),
            allow_foreign=False,
        )

    def caller(self, client: Client | None = None) -> Caller:
        """Who asks."""
        return Caller(client=client or self.client, source=Source.API, request_id="r")

    def fail_once(self, method: str, failure: Exception, times: int = 1) -> None:
        """See :meth:`FailingJournal.fail_once`."""
        self.journal.fail_once(method, failure, times)

    async def wait_completed(self, notification_id: str, seconds: float = PATIENCE_SECONDS) -> Stored:
        """Wait until a notification is terminal."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            stored = await self.journal.real.find(notification_id)
            if stored is not None and stored.completed_at is not None:
                return stored
            await asyncio.sleep(0.02)
        raise AssertionError("not terminal in time")


def submission(*numbers: str, **fields: Any) -> Submission:
    """One request to send."""
    text = {"message": "Your order is on its way."}
    return Submission(recipients=numbers or ("2348031234567",), **(text | fields))


def codes(stored: Stored) -> list[str]:
    """The code of each recipient."""
    return [result.code.value for result in view_recipients(stored)]


@asynccontextmanager
async def running_core(directory: Path, upstream: Upstream, **settings: str) -> AsyncIterator[Core]:
    """A core that sends to this upstream, drained and closed at the end."""
    lay_journal(directory / "relay.db")
    environment = {
        "RELAY_SMSCLONE_BASE_URL": upstream.base_url,
        "RELAY_SMSCLONE_USERNAME": "demo",
        "RELAY_SMSCLONE_PASSWORD": "demo",
        "RELAY_JOURNAL_URL": f"sqlite:///{directory / 'relay.db'}",
    }
    relay = Relay(load_settings(environment | settings), io.BytesIO())
    journal = FailingJournal(relay._journal)
    relay._journal = cast("Any", journal)
    core = Core(relay, journal)
    relay._clients = {"billing": core.client, "try": core.sandbox_client}
    await relay.open()
    try:
        yield core
    finally:
        journal.hooks.clear()
        await relay.drain()
        await relay.close()
