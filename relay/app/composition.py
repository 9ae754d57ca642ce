"""Which concrete things make a relay, and in which order they open and close."""

import asyncio
import os
from collections.abc import Iterable, Mapping
from typing import BinaryIO

from relay import __version__
from relay.app.adapters import StartError, SystemClock, Uuid7Ids
from relay.app.callbacks import callback_clients, make_callback_worker
from relay.app.identity import ServiceAccounts
from relay.app.policies import (
    load_words,
    make_accept_policy,
    make_dial_policy,
    make_rules,
    make_sending_policy,
    make_upkeep_policy,
)
from relay.app.upstreams import make_line, make_sandbox_line
from relay.domain.blocked_words import WordMatcher
from relay.domain.clients import Client
from relay.http.application import Pages, Surroundings, build_application, build_metrics_application
from relay.http.auth import Gate, KeyEntry, KeyRing
from relay.http.exchange import AsgiApplication
from relay.http.shedding import Shedding
from relay.journal.opening import open_journal
from relay.observability.logs import Log
from relay.observability.metrics import Metrics
from relay.observability.recorder import Recorder
from relay.observability.tracing import TracedApplication, open_tracing
from relay.sending.dispatcher import Dispatcher
from relay.sending.events import Drained
from relay.sending.operations import Operator
from relay.sending.ports import Journal, JournalUnavailable
from relay.sending.prepare import Rules
from relay.sending.upkeep import Upkeep
from relay.settings import Settings, client_policies, list_secrets
from relay.webhooks.callbacks.worker import CallbackWorker
from relay.webhooks.credentials import Doorman
from relay.webhooks.front import Webhooks
from relay.webhooks.receivers import Receiver, make_receivers


class Relay:
    """One relay: built from its settings, opened, drained, closed.

    Attributes:
        application: what the HTTP server calls, once :meth:`open` has returned.
        settings: in force now; clients and receivers change when they reload.
    """

    application: AsgiApplication
    dispatcher: Dispatcher
    callbacks: CallbackWorker

    def __init__(self, settings: Settings, log_stream: BinaryIO | None = None) -> None:
        self.settings = settings
        self.words = load_words(settings)
        self.word_state = "ok"
        self.log = Log(settings.log.level.value, log_stream, list_secrets(settings))
        self.metrics = Metrics(version=__version__)
        self.tracing = open_tracing(os.environ, __version__, self.log.logger)
        self.recorder = Recorder(self.metrics, self.log.logger, self.tracing)
        self._clock = SystemClock()
        self._ids = Uuid7Ids()
        self._rules = make_rules(settings, WordMatcher(self.words))
        self._follow_categories(entry.category for entry in self.words)
        self._clients: dict[str, Client] = {}
        self._keys = KeyRing(())
        self._accounts: Mapping[str, str] = {}
        self._receivers: Mapping[str, Receiver] = {}
        self.follow(settings)
        self._service_accounts = ServiceAccounts(
            settings.kubernetes, lambda: self._accounts, self._clock, self.recorder
        )
        self._journal = open_journal(settings.journal.url, clock=self._clock)
        self._shedding: Shedding | None = None

    async def open(self) -> None:
        """Open the journal, settle what dead processes left, begin to send.

        Raises:
            StartError: the journal cannot be used.
        """
        await self.open_journal()
        try:
            hash_key = await find_hash_key(self._journal, self.settings)
            self.dispatcher = self._make_dispatcher(hash_key)
            self.application = self._shedding = self._make_application()
            self.callbacks = self._make_callbacks()
            await self.dispatcher.start()
            self.callbacks.start()
        except JournalUnavailable as failure:
            raise _unusable(failure) from None

    async def open_journal(self) -> None:
        """Open the journal alone.

        Raises:
            StartError: it cannot be used.
        """
        try:
            await self._journal.open()
        except JournalUnavailable as failure:
            raise _unusable(failure) from None

    async def mark_restored(self) -> int:
        """See ``Journal.mark_restored``.

        Raises:
            StartError: the journal cannot be used.
        """
        try:
            return await self._journal.mark_restored()
        except JournalUnavailable as failure:
            raise _unusable(failure) from None

    @property
    def metrics_application(self) -> AsgiApplication:
        """What the listener for metrics alone calls."""
        return build_metrics_application(self._surroundings(), self.metrics)

    async def drain(self) -> Drained:
        """Refuse what is new, let what is out finish and be recorded; callbacks that are not through wait in line."""
        drained, _ = await asyncio.gather(self.dispatcher.drain(), self.callbacks.stop())
        return drained

    async def close(self) -> None:
        """Say goodbye to the journal; write what is left of the traces, and of what was shed."""
        if self._shedding is not None:
            self._shedding.tell()
        await self._journal.close()
        await self._service_accounts.aclose()
        self.tracing.close()

    def follow(self, settings: Settings) -> None:
        """Take up the clients of these settings: keys, policies, series."""
        self.settings = settings
        self._clients = client_policies(settings)
        self._keys = KeyRing(
            KeyEntry(
                client=client.name,
                key_id=key.id,
                sha256=key.sha256,
                expires_at=None if key.expires is None else int(key.expires.timestamp() * 1000),
            )
            for client in settings.clients
            for key in client.keys
        )
        self._accounts = {
            client.service_account: client.name for client in settings.clients if client.service_account is not None
        }
        self._receivers = make_receivers(settings.receivers)
        self._callback_clients = callback_clients(settings)
        self.metrics.clients.follow(self._clients)
        self.log.redactor.know(list_secrets(settings))

    def use_words(self, matcher: WordMatcher) -> None:
        """Take up other word lists."""
        self._rules = make_rules(self.settings, matcher)
        self.word_state = "ok"
        self._follow_categories(matcher.categories)

    def _make_dispatcher(self, hash_key: bytes) -> Dispatcher:
        settings = self.settings
        line = make_line(settings, self._clock, self.recorder)
        self.metrics.upstream.watch_in_flight(lambda: line.slots.in_use)
        upkeep = Upkeep(self._journal, line, self._clock, self.recorder, make_upkeep_policy(settings))
        return Dispatcher(
            journal=self._journal,
            clock=self._clock,
            ids=self._ids,
            events=self.recorder,
            line=line,
            sandbox_line=make_sandbox_line(settings, self._clock),
            rules=self._current_rules,
            clients=lambda: self._clients,
            upkeep=upkeep,
            accept_policy=make_accept_policy(settings, hash_key),
            dial_policy=make_dial_policy(settings),
            policy=make_sending_policy(settings),
        )

    def _make_callbacks(self) -> CallbackWorker:
        return make_callback_worker(
            self.settings, self._journal, self.recorder, self._clock, lambda: self._callback_clients
        )

    def _make_application(self) -> Shedding:
        listen = self.settings.listen
        operator = Operator(
            self._journal,
            self._clock,
            self.recorder,
            self.dispatcher,
            hash_message=self.dispatcher.hash_message,
            look_at_pause=self.dispatcher.look_at_pause,
            clients=lambda: self._clients,
            allow_foreign=self.settings.sending.allow_foreign_numbers,
        )
        gate = Gate(lambda: self._keys, lambda: self._clients, self._clock, self._service_accounts)
        webhooks = Webhooks(
            lambda: self._receivers,
            Doorman(gate, lambda: self._clients, self._clock),
            self.dispatcher,
            self.recorder,
            self._clock,
        )
        application = build_application(
            self._surroundings(),
            sending=self.dispatcher,
            operations=operator,
            gate=gate,
            metrics=self.metrics,
            word_lists=lambda: self.word_state,
            pages=Pages(
                metrics=listen.metrics_port is None, openapi=listen.openapi, docs=listen.docs and listen.openapi
            ),
            more=webhooks.routes(),
        )
        return Shedding(
            TracedApplication(application, self.tracing),
            sending=self.dispatcher,
            recorder=self.recorder,
            ids=self._ids,
        )

    def _surroundings(self) -> Surroundings:
        return Surroundings(events=self.recorder, recorder=self.recorder, clock=self._clock, ids=self._ids)

    def _follow_categories(self, names: Iterable[str]) -> None:
        self.metrics.sending.follow_categories(dict.fromkeys(names))

    def _current_rules(self) -> Rules:
        return self._rules


def _unusable(failure: JournalUnavailable) -> StartError:
    return StartError(f"the journal cannot be used ({failure.reason}).", REMEDIES.get(failure.reason, _LOOK))


async def find_hash_key(journal: Journal, settings: Settings) -> bytes:
    """The key of fingerprints and hashes: the settings' own, else the one that the journal keeps."""
    if settings.journal.hash_key is not None:
        return bytes.fromhex(settings.journal.hash_key.reveal())
    return await journal.hash_key()


REMEDIES = {
    "locked": "Another relay uses this file, or still drains; one SQLite file serves one process. Stop that one first.",
    "read_only": "Make the file and its directory writable for the relay's user.",
    "cannot_open": "Make the directory of the file, writable for the relay's user.",
    "schema_too_new": "A newer relay has migrated this journal; run that version.",
    "truncated": "The file was emptied: restore it from a backup, then run relay recover --restored.",
    "not_a_database": "The file is no SQLite database: check [journal] url.",
    "unreachable": "Check that PostgreSQL runs, and [journal] url.",
}
_LOOK = "Check [journal] url and what stands behind it."
