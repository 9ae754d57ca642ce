"""Which concrete things make a relay, and in which order they open and close."""

import asyncio
import os
from collections.abc import Mapping
from functools import partial
from typing import BinaryIO

from msgspec.structs import replace

from relay import __version__
from relay.app.adapters import SystemClock, Uuid7Ids, journal_error
from relay.app.identity import ServiceAccounts
from relay.app.outbound import callback_clients, make_accounts, make_callback_worker, make_sandbox_channel
from relay.app.policies import (
    account_prices,
    client_policies,
    list_secrets,
    load_templates,
    load_words,
    make_policy,
    make_rules,
)
from relay.app.routes import MORE, openapi_document, route_labels
from relay.app.upstream_credentials import Credentials
from relay.domain.clients import Client
from relay.domain.templates import TemplateBook
from relay.domain.words import WordMatcher
from relay.http.application import ServedPages, Surroundings, build_application, build_metrics_application
from relay.http.asgi import AsgiApplication
from relay.http.auth import Gate, KeyEntry, KeyRing
from relay.http.now import Situation
from relay.http.pacing import Pacing
from relay.http.shedding import Shedding
from relay.journal.opening import open_journal
from relay.observability.history import History
from relay.observability.logs import Log
from relay.observability.metric_table import ACCOUNTS, CATEGORIES, CLIENTS
from relay.observability.metrics import Metrics
from relay.observability.recorder import Recorder
from relay.observability.tracing import open_tracing
from relay.sending.channels import Channels
from relay.sending.delivery import Runtime, Switches
from relay.sending.events import Drained
from relay.sending.list_matching import ListMatching
from relay.sending.operations import Operator
from relay.sending.operator_search import OperatorSearch
from relay.sending.ports import JournalUnavailable
from relay.sending.prepare import Rules
from relay.sending.service import Service
from relay.sending.suppression_list import SuppressionList
from relay.sending.tasks import Tasks
from relay.sending.turns import Turns
from relay.settings import Settings
from relay.webhooks.callbacks.worker import CallbackWorker
from relay.webhooks.credentials import WebhookAuthenticator
from relay.webhooks.front import Webhooks
from relay.webhooks.receivers import Receiver, make_receivers


class Relay:
    """One relay: built from its settings, opened, drained, closed.

    Attributes:
        application: what the HTTP server calls, once :meth:`open` has returned.
        settings: in force now; clients, receivers and the credentials of accounts change when they reload.
        credentials: what accounts are called with, which was proven.
    """

    application: AsgiApplication
    service: Service
    callbacks: CallbackWorker

    def __init__(self, settings: Settings, log_stream: BinaryIO | None = None) -> None:
        self.settings = settings
        self.words = load_words(settings)
        self.word_state = self.template_state = "ok"
        self.log = Log(settings.log.level.value, log_stream, list_secrets(settings))
        self.metrics = Metrics(version=__version__)
        self.metrics.follow_routes(route_labels())
        self.tracing = open_tracing(os.environ, __version__, self.log.logger)
        self._clock = SystemClock()
        self._history = History(self.metrics, self._clock)
        self.recorder = Recorder(self.metrics, self.log.logger, self.tracing, self._history)
        self.credentials = Credentials(self.recorder, self._clock)
        self._ids = Uuid7Ids()
        matcher = WordMatcher(self.words)
        self.templates = load_templates(settings, matcher)
        self._rules = make_rules(settings, matcher, self.templates.book)
        self.metrics.follow(CATEGORIES, (entry.category for entry in self.words))
        self._clients: dict[str, Client] = {}
        self._keys = KeyRing(())
        self._accounts: Mapping[str, str] = {}
        self._receivers: Mapping[str, Receiver] = {}
        self.follow(settings)
        self._service_accounts = ServiceAccounts(
            settings.kubernetes, lambda: self._accounts, self._clock, self.recorder
        )
        key = settings.journal.hash_key
        self._journal = open_journal(
            settings.journal.url,
            clock=self._clock,
            hash_key=None if key is None else bytes.fromhex(key.reveal()),
            prices=account_prices(settings),
            learn_dnd_ms=settings.suppression.learn_dnd_days * 86_400_000,
        )
        self._shedding: Shedding | None = None

    async def open(self) -> None:
        """Open the journal, settle what dead processes left, begin to send.

        Raises:
            StartError: the journal cannot be used.
        """
        await self.open_journal()
        try:
            hash_key = await self._journal.hash_key()
            self.service = self._make_service(hash_key)
            self.application = self._shedding = self._make_application()
            self.callbacks = self._make_callbacks()
            await self.service.start()
            self.callbacks.start()
        except JournalUnavailable as failure:
            raise journal_error(failure) from None

    async def open_journal(self) -> None:
        """Open the journal alone.

        Raises:
            StartError: it cannot be used.
        """
        try:
            await self._journal.open()
        except JournalUnavailable as failure:
            raise journal_error(failure) from None

    async def mark_restored(self) -> int:
        """After a restore from a backup: end what was open, as ``unknown``. Returns how many calls were changed.

        Raises:
            StartError: the journal cannot be used.
        """
        try:
            return await self._journal.mark_restored()
        except JournalUnavailable as failure:
            raise journal_error(failure) from None

    @property
    def metrics_application(self) -> AsgiApplication:
        """What the listener for metrics alone calls."""
        return build_metrics_application(self._surroundings(), self.metrics)

    async def drain(self) -> Drained:
        """Refuse what is new, let what is out finish and be recorded; callbacks that are not through wait in line."""
        drained, _ = await asyncio.gather(self.service.drain(), self.callbacks.stop())
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
        self.metrics.follow(CLIENTS, self._clients)
        for name in self._clients:
            self.metrics.read_from("relay_places_in_use", partial(self._count_places, name), name)
        self.log.redactor.know((*list_secrets(settings), *self.credentials.in_use()))

    def _count_places(self, client: str) -> int:
        return self.service.admission.held_by(client) if self._shedding is not None else 0

    def use_words(self, matcher: WordMatcher) -> None:
        """Take up other word lists."""
        self._rules = replace(self._rules, matcher=matcher)
        self.word_state = "ok"
        self.metrics.follow(CATEGORIES, matcher.categories)

    @property
    def matcher(self) -> WordMatcher:
        """The word lists in force."""
        return self._rules.matcher

    def use_templates(self, templates: TemplateBook) -> None:
        """Take up other templates."""
        self._rules = replace(self._rules, templates=templates)
        self.template_state = "ok"

    def _make_service(self, hash_key: bytes) -> Service:
        settings, turns = self.settings, Turns(self._clock)
        made = make_accounts(settings, self._clock, self.recorder, turns, self.credentials)
        channels = Channels(
            accounts=made,
            sandbox=make_sandbox_channel(settings, self._clock),
            order=settings.sending.accounts,
            clients=lambda: self._clients,
        )
        self.metrics.follow(ACCOUNTS, made)
        for name, channel in made.items():
            self.metrics.set("relay_credentials_reload_success", 1, name)
            self.metrics.read_from("relay_upstream_in_flight", partial(getattr, channel.bulkhead, "in_use"), name)
        runtime = Runtime(
            journal=self._journal,
            clock=self._clock,
            events=self.recorder,
            tasks=Tasks(self.recorder),
            switches=Switches(),
            turns=turns,
            policy=make_policy(settings, hash_key),
        )
        return Service(runtime, channels, self._ids, rules=self._current_rules, clients=lambda: self._clients)

    def _make_callbacks(self) -> CallbackWorker:
        return make_callback_worker(
            self.settings, self._journal, self.recorder, self._clock, lambda: self._callback_clients
        )

    def _make_operator(self) -> Operator:
        return Operator(
            self._journal,
            self._clock,
            self.recorder,
            self.service,
            hash_message=self.service.hash_message,
            look_at_pause=self.service.look_at_pause,
            clients=lambda: self._clients,
            accounts=tuple(self.settings.all_accounts()),
            allow_foreign=self.settings.sending.allow_foreign_numbers,
        )

    def _make_application(self) -> Shedding:
        listen, operator = self.settings.listen, self._make_operator()
        gate = Gate(lambda: self._keys, lambda: self._clients, self._clock, self._service_accounts)
        situation = Situation(
            self.service,
            self.metrics,
            self._history,
            self._clock,
            count_unknown=self._journal.count_unknown,
            word_lists=lambda: self.word_state,
            max_places=self.settings.sending.max_waiting,
            version=__version__,
        )
        application = build_application(
            replace(self._surroundings(), tracing=self.tracing),
            sending=self.service,
            operations=operator,
            gate=gate,
            metrics=self.metrics,
            word_lists=lambda: self.word_state,
            template_state=lambda: self.template_state,
            templates=lambda: self._rules.templates,
            pages=ServedPages(
                metrics=listen.metrics_port is None,
                openapi=listen.openapi,
                docs=listen.docs and listen.openapi,
                console=listen.console,
            ),
            document=openapi_document,
            more=MORE,
            services={
                "situation": situation,
                "matching": ListMatching(self._journal, operator, self._clock),
                "webhooks": self._make_webhooks(gate),
                **self._lists(),
            },
        )
        return Shedding(
            Pacing(application),
            sending=self.service,
            name_client=gate.name_client,
            recorder=self.recorder,
            ids=self._ids,
        )

    def _make_webhooks(self, gate: Gate) -> Webhooks:
        authenticator = WebhookAuthenticator(gate, lambda: self._clients, self._clock)
        return Webhooks(lambda: self._receivers, authenticator, self.service, self.recorder, self._clock)

    def _lists(self) -> dict[str, object]:
        """What looks into the journal and sends nothing."""
        return {
            "lookup": OperatorSearch(self._journal, self._clock),
            "suppressions": SuppressionList(self._journal, self._clock),
        }

    def _surroundings(self) -> Surroundings:
        return Surroundings(events=self.recorder, recorder=self.recorder, clock=self._clock, ids=self._ids)

    def _current_rules(self) -> Rules:
        return self._rules
