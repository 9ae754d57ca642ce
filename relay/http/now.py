"""``GET /v1/operator/now``: can messages go out, and if not, why: what the console shows first."""

from collections.abc import Awaitable, Callable

from litestar import Controller, Response, get
from msgspec import Struct

from relay.domain.codes import Permission, Source
from relay.http.answers import PRIVATE
from relay.http.openapi import ANY_CALLER, JSON, Answered, Content, described
from relay.http.parameters import Service
from relay.http.status import PauseBody, pause_body
from relay.http.times import format_time
from relay.observability.history import History
from relay.observability.metrics import Metrics
from relay.sending.ports import Clock, JournalUnavailable, OpenUnknown
from relay.sending.requests import Sending

_BREAKER = ("closed", "half_open", "open")


class AccountBody(Struct, frozen=True, kw_only=True):
    """One account at smsclone. `units` and `hours_left` are null at a replica that does not read the balance."""

    account: str
    breaker: str
    units: str | None
    read_at: str | None
    hours_left: float | None
    in_flight: int


class QueueBody(Struct, frozen=True, kw_only=True):
    """Notifications that wait: `queued`, `held`, `scheduled`, `claimed`; how long the oldest queued one is due."""

    state: str
    count: int
    oldest_seconds: float | None


class RefusalBody(Struct, frozen=True):
    """Requests that were refused in the last hour, by code."""

    code: str
    count: int


class PlacesBody(Struct, frozen=True):
    """Callers of a client who wait for an answer now."""

    client: str
    in_use: int


class UnknownBody(Struct, frozen=True):
    """Recipients whose outcome nobody knows: of all replicas, neither settled nor sent to once more (null while the
    journal cannot say), when the oldest was accepted, and how many became so at this replica in the last hour."""

    open: int | None
    oldest_at: str | None
    last_hour: int


class NowBody(Struct, frozen=True, kw_only=True):
    """How things stand at the replica that answers."""

    at: str
    version: str
    draining: bool
    journal: str
    word_lists: str
    paused: bool
    pauses: list[PauseBody]
    accounts: list[AccountBody]
    queue: list[QueueBody]
    refusals: list[RefusalBody]
    unknown: UnknownBody
    places: list[PlacesBody]
    max_places: int


class Situation:
    """Puts together what the process knows.

    Args:
        sending: the core.
        metrics, history: what was counted, and in the last hour.
        clock: of the process.
        count_unknown: asks the journal how many outcomes are open.
        word_lists: how the last load of the word lists went, in a word.
        max_places: how many callers may wait at a time.
        version: of the relay.
    """

    def __init__(
        self,
        sending: Sending,
        metrics: Metrics,
        history: History,
        clock: Clock,
        *,
        count_unknown: Callable[[], Awaitable[OpenUnknown]],
        word_lists: Callable[[], str],
        max_places: int,
        version: str,
    ) -> None:
        self._sending = sending
        self._metrics = metrics
        self._history = history
        self._clock = clock
        self._count_unknown = count_unknown
        self._word_lists = word_lists
        self._max_places = max_places
        self._version = version

    async def read(self) -> NowBody:
        """How things stand; of a journal that fails nothing is asked."""
        health = self._sending.health()
        unknown = await self._unknown(health.journal)
        refusals = self._history.count_last_hour("relay_refusals_total")
        return NowBody(
            at=format_time(self._clock.now_ms()),
            version=self._version,
            draining=health.draining,
            journal=health.journal,
            word_lists=self._word_lists(),
            paused=health.paused,
            pauses=list(map(pause_body, health.pauses)),
            accounts=[self._account(account) for account in self._history.by_account("relay_upstream_breaker_state")],
            queue=self._queue(),
            refusals=[RefusalBody(code, count) for code, count in sorted(refusals.items(), key=lambda each: -each[1])],
            unknown=unknown,
            places=self._places(),
            max_places=self._max_places,
        )

    async def _unknown(self, journal: str) -> UnknownBody:
        last_hour = sum(self._history.count_last_hour("relay_unknown_total").values())
        if journal != "ok":
            return UnknownBody(None, None, last_hour)
        try:
            counted = await self._count_unknown()
        except JournalUnavailable:
            return UnknownBody(None, None, last_hour)
        oldest_at = None if counted.oldest_at is None else format_time(counted.oldest_at)
        return UnknownBody(sum(counted.recipients.values()), oldest_at, last_hour)

    def _account(self, account: str) -> AccountBody:
        units, hours = self._history.units().get(account), self._history.hours_left(account)
        return AccountBody(
            account=account,
            breaker=_BREAKER[round(self._history.by_account("relay_upstream_breaker_state")[account])],
            units=None if units is None else f"{units[0]:.2f}",
            read_at=None if units is None else format_time(round(units[1] * 1000)),
            hours_left=None if hours is None else round(hours, 1),
            in_flight=round(self._history.by_account("relay_upstream_in_flight")[account]),
        )

    def _places(self) -> list[PlacesBody]:
        in_use = {labels["client"]: round(number) for labels, number in self._metrics.read("relay_places_in_use")}
        return [
            PlacesBody(client, in_use[client])
            for client in sorted(in_use, key=lambda each: -in_use[each])
            if in_use[client]
        ]

    def _queue(self) -> list[QueueBody]:
        oldest = self._metrics.read("relay_queue_oldest_age_seconds")[0][1]
        return [
            QueueBody(
                state=labels["state"],
                count=round(count),
                oldest_seconds=oldest if labels["state"] == "queued" else None,
            )
            for labels, count in self._metrics.read("relay_queue_depth")
        ]


class NowController(Controller):
    """The first thing that an operator looks at."""

    tags = ("Operating",)
    opt = {"permission": Permission.OPERATE, "source": Source.OPERATOR}  # noqa: RUF012 — as litestar declares it

    @get(
        "/v1/operator/now",
        operation_id="lookAtNow",
        summary="Whether messages can be sent",
        description=(
            "How things stand at the replica that answers: accounts, queue, pauses, unknown outcomes that are open, and"
            " what was refused or became `unknown` in the last hour. The console asks for it every five seconds."
        ),
        operation_class=described(Answered(200, "How things stand.", (Content(JSON, NowBody),)), problems=ANY_CALLER),
    )
    async def now(self, situation: Service[Situation]) -> Response[NowBody]:
        """How things stand."""
        return Response(await situation.read(), headers=PRIVATE)
