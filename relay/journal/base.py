"""The journal's port, in terms of work that a store runs: what is written and read is the same on every store."""

import contextlib
import secrets
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from relay.domain.audit import Act, AuditPage
from relay.domain.callback_rules import CallbackOutcome
from relay.domain.clients import FIRST_ACCOUNT
from relay.domain.codes import AccountReason, Code, MessageType, ResolvedBy
from relay.domain.notification import Ended, Notification, Outcome, Overview, PlannedCall, Stored
from relay.domain.pausing import Scope, SendingPause
from relay.domain.suppression import Addressed, Suppression, SuppressionWish
from relay.domain.usage import Prices, UsageQuery, UsageRow
from relay.journal import (
    auditing,
    balances,
    budgets,
    callbacks,
    calls,
    control,
    ending,
    filling,
    queueing,
    reading,
    retention,
    suppressing,
    suppression_entries,
)
from relay.journal.batching import Batcher
from relay.journal.claims import ClaimList, claim_lists
from relay.journal.filling import ROWS_AT_A_TIME
from relay.journal.list_query import ask, find_page, merge_pages
from relay.journal.lookups import MOST_AT_A_CLAIM, Subjects, enter_steps
from relay.journal.page_reading import read_overviews, read_stored
from relay.journal.retention import EVERYTHING
from relay.journal.statements import Work
from relay.journal.suppressing import LOOKED_UP_AT_A_TIME, address_of
from relay.journal.suppression_entries import ENTERED_AT_A_TIME
from relay.journal.usage_ledger import UsageLedger
from relay.journal.usage_sums import DAYS_AT_A_TIME, add_days, list_days, read_days
from relay.sending.callback_queue import DueCallback
from relay.sending.ports import (
    ALL_OPEN,
    CallEvidence,
    CallRef,
    Claim,
    ClaimResult,
    Clock,
    Cursor,
    JournalUnavailable,
    Lease,
    LeftOut,
    ListFilter,
    OpenUnknown,
    Queued,
    QueueDepth,
    RecordResult,
    TimelineFacts,
    UnknownCall,
    UnknownFilter,
)

T = TypeVar("T")

_QUOTA_DAYS_KEPT = 3
"""Whatever time zone a client's day is in, a day this old is over."""


class TakeKind(Enum):
    """Where notifications are taken from: what is done with them differs."""

    QUEUE = "queue"
    DEAD = "dead"
    BACK = "back"


_PATIENT_WEIGHT = 64
"""Of a batch that nobody waits for: a millisecond or two."""
_RECIPIENTS_A_WEIGHT = 4
"""A further recipient of a call costs so much less than a call."""


def _weigh_claims(asked: ClaimList) -> int:
    return sum(4 + len(claim.notification.entries) // _RECIPIENTS_A_WEIGHT for claim in asked.claims)


def _weigh_record(record: calls.Record) -> int:
    return 4 + len(record.outcomes) // _RECIPIENTS_A_WEIGHT


class StoredJournal(ABC):
    """The methods of the port ``Journal``, which has their contracts, but for what the two stores do differently."""

    def __init__(
        self,
        clock: Clock,
        *,
        lanes: int,
        shards: int,
        hash_key: bytes | None,
        prices: Mapping[str, Prices],
        learn_dnd_ms: int,
    ) -> None:
        self._clock = clock
        self._given_hash_key = hash_key
        self._prices = prices
        self._learn_dnd_ms = learn_dnd_ms
        self._lanes = lanes
        self._shards = shards
        self._process = ""
        self._batchers: tuple[Batcher[Any, Any], ...] = ()

    @abstractmethod
    async def open(self) -> None:
        """Connect, migrate, and register this process."""

    @abstractmethod
    async def close(self) -> None:
        """Write what waits, and disconnect."""

    @abstractmethod
    async def _read(self, work: Callable[[], Work[T]]) -> T:
        """Run work that only reads, on one consistent view."""

    @abstractmethod
    async def _write(self, work: Callable[[], Work[T]]) -> T:
        """Run work in one transaction, and return once it is durable."""

    @abstractmethod
    async def _claim(self, work: Callable[[], Work[T]]) -> T:
        """Like :meth:`_write`, for claims: :meth:`_take` can wait for those that are in doubt."""

    async def _write_later(self, work: Callable[[], Work[T]]) -> T:
        """Like :meth:`_write`, for what nobody waits for: a store that does one thing at a time does others first."""
        return await self._write(work)

    async def _claim_later(self, work: Callable[[], Work[T]]) -> T:
        """The same for claims."""
        return await self._claim(work)

    @abstractmethod
    async def _take(self, kind: TakeKind, work: Callable[[], Work[list[Lease]]]) -> list[Lease]:
        """Like :meth:`_write`, for work that makes notifications this process's: none may be lost on the way."""

    async def _begin(self) -> None:
        """Be the process that is registered: :attr:`_process`."""
        self._hash_key = await self._write(lambda: control.hash_key(self._given_hash_key))
        subjects = self._subjects = Subjects(self._hash_key)
        lesson = self._lesson = calls.Lesson(self._learn_dnd_ms, subjects)
        shard = secrets.randbelow(self._shards)
        ledger = self._ledger = UsageLedger(self._prices, shard)

        claim = partial(claim_lists, process=self._process, subjects=subjects)
        record = partial(calls.record_all, process=self._process, ledger=ledger, lesson=lesson)

        def dial(dials: Sequence[calls.Dial]) -> Work[list[bool | LeftOut]]:
            return calls.dial_all(dials, self._process, self._clock.now_ms(), subjects)

        self._claims = Batcher(self._claim, claim, lanes=self._lanes, repeatable=True)
        self._dials = Batcher(self._write, dial, lanes=self._lanes)
        self._records = Batcher(self._write, record, lanes=self._lanes)
        # What nobody waits for goes by itself, in smaller pieces.
        self._later_claims = Batcher(
            self._claim_later, claim, lanes=1, repeatable=True, most=_PATIENT_WEIGHT, weigh=_weigh_claims
        )
        self._later_dials = Batcher(self._write_later, dial, lanes=1, most=_PATIENT_WEIGHT)
        self._later_records = Batcher(self._write_later, record, lanes=1, most=_PATIENT_WEIGHT, weigh=_weigh_record)
        self._batchers = (
            *(self._claims, self._dials, self._records),
            *(self._later_claims, self._later_dials, self._later_records),
        )

    async def _finish(self) -> None:
        """Let what is under way end."""
        for batcher in self._batchers:
            await batcher.finish()

    # --- claims and calls -------------------------------------------------------------------------------------------

    async def claim(self, claims: Sequence[Claim]) -> list[ClaimResult]:
        nobody_waits = any(claim.due_at is not None for claim in claims)
        many = (claim.notification for claim in claims if len(claim.notification.entries) > MOST_AT_A_CLAIM)
        suppressed = {each.id: await self.find_suppressed(address_of(each), each.created_at) for each in many}
        asked = ClaimList(claims, suppressed)
        results = await (self._later_claims if nobody_waits else self._claims).put(asked)
        for claim, result in zip(claims, results, strict=True):
            if len(claim.notification.entries) > MOST_AT_A_CLAIM and isinstance(result, Queued | Lease):
                with contextlib.suppress(JournalUnavailable):  # the claim stands; they are entered later
                    await self._enter(claim.notification)
        return results

    async def _enter(self, notification: Notification) -> None:
        """Enter very many recipients, bit by bit, so that nobody waits for them."""
        indexes = notification.dialable()
        for begin in range(0, len(indexes), ROWS_AT_A_TIME):
            numbers = (notification.entries[index].number or "" for index in indexes[begin : begin + ROWS_AT_A_TIME])
            some = [self._subjects.recipient(number) for number in numbers]
            await self._write_later(partial(filling.enter_some, enter_steps(notification, some)))
        await self._write_later(lambda: filling.end_entering(notification.id))

    async def start_dialling(
        self,
        ref: CallRef,
        account: str = FIRST_ACCOUNT,
        reason: AccountReason | None = None,
        addressed: Addressed | None = None,
    ) -> bool | LeftOut:
        dials = self._later_dials if ref.patient else self._dials
        return await dials.put(calls.Dial(ref, account, reason, addressed))

    async def record(
        self,
        ref: CallRef,
        outcomes: Sequence[Outcome],
        *,
        follow_ups: Sequence[PlannedCall] = (),
        ended: Ended | None = None,
        undialled: bool = False,
    ) -> RecordResult:
        record = calls.Record(ref, outcomes, follow_ups, ended, undialled, self._clock.now_ms())
        if ended is not None and ended.quota_given_back:
            # It locks a quota's row, and claims wait for those in one order: so it holds no other.
            write = self._write_later if ref.patient else self._write
            [result] = await write(lambda: calls.record_all([record], self._process, self._ledger, self._lesson))
            return result
        return await (self._later_records if ref.patient else self._records).put(record)

    async def end(self, notification_id: str, ended: Ended) -> bool:
        # Of very many recipients this is work for some time, and their caller was answered long ago.
        write = self._write if len(ended.results) <= MOST_AT_A_CLAIM else self._write_later
        return await write(lambda: ending.end_whole(notification_id, ended))

    async def cancel(self, notification_id: str, client: str, now: int, *, patient: bool = False) -> Stored | None:
        write = self._write_later if patient else self._write
        return await write(lambda: ending.cancel(notification_id, client, now, self._ledger))

    async def settle(
        self,
        notification_id: str,
        answers: Mapping[int, Outcome],
        resolved_by: ResolvedBy,
        now: int,
        act: Act,
    ) -> Stored | None:
        return await self._write(
            lambda: ending.settle_by(notification_id, answers, resolved_by, now, act, self._ledger)
        )

    # --- owners -----------------------------------------------------------------------------------------------------

    async def take(
        self, clients: Sequence[str], message_types: Sequence[MessageType], limit: int, now: int
    ) -> list[Lease]:
        return await self._take(
            TakeKind.QUEUE, lambda: queueing.take(clients, message_types, limit, now, self._process, self._subjects)
        )

    async def take_expired(self, limit: int, now: int) -> list[Lease]:
        return await self._take(TakeKind.QUEUE, lambda: queueing.take_expired(limit, now, self._process))

    async def take_back(self, notification_ids: Sequence[str], undialled: Sequence[str] = ()) -> list[Lease]:
        return await self._take(TakeKind.BACK, lambda: queueing.take_back(notification_ids, undialled, self._process))

    async def take_from_dead(self, limit: int) -> list[Lease]:
        return await self._take(TakeKind.DEAD, lambda: queueing.take_from_dead(limit, self._process))

    async def requeue(self, notification_id: str, fence: int, due_at: int, waiting: Code = Code.QUEUED) -> bool:
        return await self._write(
            lambda: queueing.requeue(notification_id, fence, due_at, waiting, self._process, self._clock.now_ms())
        )

    async def move(
        self, notification_id: str, client: str, send_at: int, now: int, key_window_ms: int, *, patient: bool = False
    ) -> Stored | None:
        write = self._write_later if patient else self._write
        return await write(lambda: queueing.move(notification_id, client, send_at, now, key_window_ms))

    async def heartbeat(self) -> bool:
        return await self._write(lambda: control.beat(self._process))

    async def leads(self) -> bool:
        return await self._read(lambda: control.leads(self._process))

    # --- look-ups ---------------------------------------------------------------------------------------------------

    async def find(self, notification_id: str, client: str | None = None) -> Stored | None:
        return await self._read(lambda: reading.find(notification_id, client))

    async def find_by_key(self, client: str, key: str, now: int) -> Stored | None:
        return await self._read(lambda: reading.find_by_key(client, key, now))

    async def select(self, selection: ListFilter) -> list[Stored]:
        return await read_stored(self._read, await find_page(self._read, ask(selection, self._subjects)))

    async def search(self, selection: ListFilter) -> list[str]:
        if selection.message_id is not None:
            return await self._read(lambda: reading.find_by_message_id(selection))
        if selection.client is not None:
            return await find_page(self._read, ask(selection, self._subjects))
        return await merge_pages(self._read, ask(selection, self._subjects))

    async def read_timeline(self, notification_id: str) -> TimelineFacts | None:
        return await self._read(lambda: reading.read_timeline(notification_id))

    async def read_stored(self, notification_ids: Sequence[str]) -> list[Stored]:
        return await read_stored(self._read, notification_ids)

    async def read_overviews(self, notification_ids: Sequence[str]) -> list[Overview]:
        return await read_overviews(self._read, notification_ids)

    async def list_overviews(self, selection: ListFilter) -> list[Overview]:
        return await read_overviews(self._read, await find_page(self._read, ask(selection, self._subjects)))

    async def list_unknown(
        self, limit: int, before: Cursor | None = None, asked: UnknownFilter = ALL_OPEN
    ) -> list[UnknownCall]:
        return await self._read(lambda: reading.list_unknown(limit, before, asked))

    async def finds_every_number(self) -> bool:
        return await self._read(filling.read_progress) is None and await self._read(filling.next_unindexed) is None

    async def read_evidence(self, items: Sequence[Stored]) -> Mapping[str, CallEvidence]:
        return await self._read(lambda: balances.read_evidence(items))

    async def keep_balance(self, account: str, units: Decimal, at: int) -> Decimal:
        return await self._write(lambda: balances.keep_balance(account, units, at))

    async def spent(self, month: str) -> Mapping[str, Decimal]:
        return await self._read(lambda: budgets.read_spent(month))

    async def count_unknown(self) -> OpenUnknown:
        counted, more = await self._read(reading.count_unknown)
        recipients = Counter(counted.recipients)
        for passed_over in more:
            newer = await self._read(partial(reading.count_newer, passed_over))
            recipients.update(newer)
            if sum(newer.values()) < reading.NEWER_AT_ONCE:
                break
        return OpenUnknown(dict(recipients), counted.oldest_at)

    async def mark_resent(self, notification_id: str, resent: Mapping[int, str]) -> None:
        await self._write(lambda: ending.mark_resent(notification_id, resent))

    async def usage(self, query: UsageQuery) -> list[UsageRow]:
        days = await self._read(lambda: list_days(query))
        steps = [days[place : place + DAYS_AT_A_TIME] for place in range(0, len(days), DAYS_AT_A_TIME)]
        return add_days([day for some in steps for day in await self._read(partial(read_days, some, query))])

    async def queue_depth(self, now: int) -> QueueDepth:
        return await self._read(lambda: reading.measure_depth(now))

    # --- numbers that are not to be written to ---------------------------------------------------------------------

    async def suppress(self, wishes: Sequence[SuppressionWish], act: Act) -> list[Suppression]:
        in_order = sorted(enumerate(wishes), key=lambda each: suppression_entries.in_order(each[1]))
        entered: dict[int, Suppression] = {}
        for begin in range(0, len(in_order), ENTERED_AT_A_TIME):
            places, some = zip(*in_order[begin : begin + ENTERED_AT_A_TIME], strict=True)
            enter = (
                partial(suppression_entries.suppress_some, some, act.at, self._subjects)
                if begin
                else partial(suppression_entries.begin_suppressing, some, act, self._subjects)
            )
            entered.update(zip(places, await self._write_later(enter), strict=True))
        return [entered[place] for place in range(len(wishes))]

    async def list_suppressions(
        self, client: str, limit: int, before: Cursor | None = None, number: str | None = None
    ) -> list[Suppression]:
        return await self._read(lambda: suppression_entries.list_some(client, limit, before, number, self._subjects))

    async def lift_suppression(self, suppression_id: str, client: str, act: Act) -> Suppression | None:
        return await self._write(lambda: suppression_entries.lift(suppression_id, client, act))

    async def find_suppressed(self, addressed: Addressed, now: int) -> tuple[int, ...]:
        numbers = iter(addressed.numbers.items())
        hits: list[int] = []
        while some := dict(islice(numbers, LOOKED_UP_AT_A_TIME)):
            asked = {"": Addressed(addressed.client, addressed.message_type, some)}
            found = await self._read(partial(suppressing.find_suppressed, asked, self._subjects, now))
            hits += found.get("", ())
        return tuple(hits)

    # --- callbacks --------------------------------------------------------------------------------------------------

    async def take_callbacks(
        self, limit: int, now: int, *, lease_ms: int, per_target: int, busy: Sequence[str]
    ) -> list[DueCallback]:
        return await self._write_later(lambda: callbacks.take(limit, now, lease_ms, per_target, busy))

    async def finish_callback(self, callback_id: str, notification_id: str, outcome: CallbackOutcome, now: int) -> None:
        await self._write_later(lambda: callbacks.finish(callback_id, notification_id, outcome.value, now))

    async def put_off_callback(self, callback_id: str, due_at: int) -> None:
        await self._write_later(lambda: callbacks.put_off(callback_id, due_at))

    async def disable_callbacks(self, client: str, url: str, now: int) -> int:
        return await self._write_later(lambda: callbacks.disable(client, url, now))

    # --- the operator's, and the end of what was kept -----------------------------------------------------------------

    async def hash_key(self) -> bytes:
        return self._hash_key

    async def pause(self, pause: SendingPause, act: Act) -> None:
        await self._write(lambda: control.pause(pause, act))

    async def resume(self, scope: Scope | None, act: Act) -> None:
        await self._write(lambda: control.resume(scope, act))

    async def list_pauses(self, now: int) -> tuple[SendingPause, ...]:
        return await self._read(lambda: control.list_pauses(now))

    async def audit(self, act: Act) -> str:
        return await self._write(lambda: auditing.append(act))

    async def read_audit(self, limit: int, before: int | None = None, notification_id: str | None = None) -> AuditPage:
        return await self._read(lambda: auditing.read_page(limit, before, notification_id))

    async def purge_audit(self, before: int) -> int:
        deleted = 0
        while some := await self._write_later(lambda: auditing.purge_some(before, self._clock.now_ms())):
            deleted += some
        return deleted

    async def mark_restored(self) -> int:
        turned, some = 0, 1
        while some:
            some, calls_turned = await self._write(lambda: retention.restore_some(self._clock.now_ms(), self._ledger))
            turned += calls_turned
        return turned

    async def tend(self) -> bool:
        large = await self._read(filling.next_unindexed)
        if large is not None:
            stored = await self.find(large)
            if stored is None:
                await self._write_later(lambda: filling.end_entering(large))
            else:
                await self._enter(stored.notification)
            return True
        progress = await self._read(filling.read_progress)
        if progress is None:
            return False
        return await self._write_later(lambda: filling.fill_some(progress, self._clock.now_ms(), self._subjects))

    async def purge(self, before: int, first_usage_day: str = "") -> int:
        now = self._clock.now_ms()
        first_day = datetime.fromtimestamp(now / 1000, UTC) - timedelta(days=_QUOTA_DAYS_KEPT)
        over = {
            "now": now,
            "kept_from": before,
            "first_day": first_day.strftime("%Y-%m-%d"),
            "first_usage_day": first_usage_day,
        }
        while await self._write_later(lambda: retention.purge_limits(over)):
            pass
        deleted = 0
        while some := await self._write_later(lambda: retention.purge_some(before, now, self._subjects)):
            deleted += some
        return deleted

    async def erase_recipient(self, number: str, act: Act) -> int:
        await self._write(lambda: auditing.append(act))
        erased = await self._erase_found(number)
        if await self._read(filling.read_progress) is None:
            return erased
        after: str | None = ""  # not everything is entered yet
        while after is not None:
            changed, after = await self._erase_some(number, after)
            erased += changed
        return erased

    async def _erase_found(self, number: str) -> int:
        """Erase a number from what look-ups find."""
        erased = 0
        after: retention.Found | None = EVERYTHING
        while after is not None:
            changed, after = await self._write_later(partial(retention.erase_found, number, after, self._subjects))
            erased += changed
        return erased

    async def _erase_some(self, number: str, after: str) -> tuple[int, str | None]:
        return await self._write_later(lambda: retention.erase_some(number, after, self._subjects))
