"""The journal's port, in terms of work that a store runs: what is written and read is the same on every store."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TypeVar

from relay.domain.codes import MessageType, ResolvedBy
from relay.domain.notification import Outcome, PlannedCall, Stored
from relay.journal import callbacks, calls, control, queueing, reading, retention
from relay.journal.batching import Batcher
from relay.journal.claims import claim_lists
from relay.journal.limits import Identity
from relay.journal.statements import Work
from relay.sending.callback_queue import DueCallback
from relay.sending.ports import (
    AuditRow,
    CallRef,
    Claim,
    ClaimResult,
    Clock,
    Completion,
    Cursor,
    ListFilter,
    QueueDepth,
    RecordResult,
    Taken,
    UnknownCall,
)

T = TypeVar("T")

_QUOTA_DAYS_KEPT = 3
"""Whatever time zone a client's day is in, a day this old is over."""


class TakeKind(Enum):
    """Where notifications are taken from: what is done with them differs."""

    QUEUE = "queue"
    DEAD = "dead"
    BACK = "back"


class StoredJournal(ABC):
    """Everything of the port but opening, closing, and how work is run and claims are grouped."""

    def __init__(self, clock: Clock, *, lanes: int, shards: int) -> None:
        self._clock = clock
        self._lanes = lanes
        self._shards = shards
        self._process = ""

    @abstractmethod
    async def open(self) -> None:
        """See ``Journal.open``."""

    @abstractmethod
    async def close(self) -> None:
        """See ``Journal.close``."""

    @abstractmethod
    async def _read(self, work: Callable[[], Work[T]]) -> T:
        """Run work that only reads, on one consistent view."""

    @abstractmethod
    async def _write(self, work: Callable[[], Work[T]]) -> T:
        """Run work in one transaction, and return once it is durable."""

    @abstractmethod
    async def _claim(self, work: Callable[[], Work[T]]) -> T:
        """Like :meth:`_write`, for claims: :meth:`_take` can wait for those that are in doubt."""

    @abstractmethod
    async def _take(self, kind: TakeKind, work: Callable[[], Work[list[Taken]]]) -> list[Taken]:
        """Like :meth:`_write`, for work that makes notifications this process's: none may be lost on the way."""

    def _begin(self) -> None:
        """Be a process of its own from now on."""
        self._process = secrets.token_hex(16)
        identity = Identity(self._process, secrets.randbelow(self._shards), self._shards)
        self._claims: Batcher[Sequence[Claim], list[ClaimResult]] = Batcher(
            self._claim, lambda lists: claim_lists(lists, identity), lanes=self._lanes, repeatable=True
        )
        self._dials: Batcher[CallRef, bool] = Batcher(
            self._write, lambda refs: calls.dial_all(refs, self._process), lanes=self._lanes
        )
        self._records: Batcher[calls.Record, RecordResult] = Batcher(
            self._write, lambda records: calls.record_all(records, self._process), lanes=self._lanes
        )

    async def _finish(self) -> None:
        """Let what is under way end."""
        for batcher in (self._claims, self._dials, self._records):
            await batcher.finish()

    # --- claims and calls -------------------------------------------------------------------------------------------

    async def claim(self, claims: Sequence[Claim]) -> list[ClaimResult]:
        """See ``Journal.claim``."""
        return await self._claims.put(claims)

    async def start_dialling(self, ref: CallRef) -> bool:
        """See ``Journal.start_dialling``."""
        return await self._dials.put(ref)

    async def record(
        self,
        ref: CallRef,
        outcomes: Sequence[Outcome],
        *,
        follow_ups: Sequence[PlannedCall] = (),
        completion: Completion | None = None,
    ) -> RecordResult:
        """See ``Journal.record``."""
        record = calls.Record(ref, outcomes, follow_ups, completion, self._clock.now_ms())
        if completion is not None and completion.quota_given_back:
            # It locks a quota's row, and claims wait for those in one order: so it holds no other.
            [result] = await self._write(lambda: calls.record_all([record], self._process))
            return result
        return await self._records.put(record)

    async def complete(self, notification_id: str, completion: Completion) -> bool:
        """See ``Journal.complete``."""
        return await self._write(lambda: calls.complete(notification_id, completion))

    async def cancel(self, notification_id: str, client: str, now: int) -> Stored | None:
        """See ``Journal.cancel``."""
        return await self._write(lambda: calls.cancel(notification_id, client, now))

    async def settle(
        self,
        notification_id: str,
        answers: Mapping[int, Outcome],
        resolved_by: ResolvedBy,
        now: int,
        audit: AuditRow,
    ) -> Stored | None:
        """See ``Journal.settle``."""
        return await self._write(lambda: calls.settle_by(notification_id, answers, resolved_by, now, audit))

    # --- owners -----------------------------------------------------------------------------------------------------

    async def take(
        self, clients: Sequence[str], message_types: Sequence[MessageType], limit: int, now: int
    ) -> list[Taken]:
        """See ``Journal.take``."""
        return await self._take(
            TakeKind.QUEUE, lambda: queueing.take(clients, message_types, limit, now, self._process)
        )

    async def take_expired(self, limit: int, now: int) -> list[Taken]:
        """See ``Journal.take_expired``."""
        return await self._take(TakeKind.QUEUE, lambda: queueing.take_expired(limit, now, self._process))

    async def take_back(self, notification_ids: Sequence[str], undialled: Sequence[str] = ()) -> list[Taken]:
        """See ``Journal.take_back``."""
        return await self._take(TakeKind.BACK, lambda: queueing.take_back(notification_ids, undialled, self._process))

    async def take_from_dead(self, limit: int) -> list[Taken]:
        """See ``Journal.take_from_dead``."""
        return await self._take(TakeKind.DEAD, lambda: queueing.take_from_dead(limit, self._process))

    async def requeue(self, notification_id: str, fence: int, due_at: int) -> bool:
        """See ``Journal.requeue``."""
        return await self._write(lambda: queueing.requeue(notification_id, fence, due_at, self._process))

    async def heartbeat(self) -> bool:
        """See ``Journal.heartbeat``."""
        return await self._write(lambda: control.beat(self._process))

    async def leads(self) -> bool:
        """See ``Journal.leads``."""
        return await self._read(lambda: control.leads(self._process))

    # --- look-ups ---------------------------------------------------------------------------------------------------

    async def find(self, notification_id: str, client: str | None = None) -> Stored | None:
        """See ``Journal.find``."""
        return await self._read(lambda: reading.find(notification_id, client))

    async def find_by_key(self, client: str, key: str, now: int) -> Stored | None:
        """See ``Journal.find_by_key``."""
        return await self._read(lambda: reading.find_by_key(client, key, now))

    async def select(self, selection: ListFilter) -> list[Stored]:
        """See ``Journal.select``."""
        return await self._read(lambda: reading.select_newest(selection))

    async def list_unknown(self, limit: int, before: Cursor | None = None) -> list[UnknownCall]:
        """See ``Journal.list_unknown``."""
        return await self._read(lambda: reading.list_unknown(limit, before))

    async def queue_depth(self, now: int) -> QueueDepth:
        """See ``Journal.queue_depth``."""
        return await self._read(lambda: reading.measure_depth(now))

    # --- callbacks --------------------------------------------------------------------------------------------------

    async def take_callbacks(
        self, limit: int, now: int, *, lease_ms: int, per_target: int, busy: Sequence[str]
    ) -> list[DueCallback]:
        """See ``CallbackQueue.take_callbacks``."""
        return await self._write(lambda: callbacks.take(limit, now, lease_ms, per_target, busy))

    async def finish_callback(self, callback_id: str) -> None:
        """See ``CallbackQueue.finish_callback``."""
        await self._write(lambda: callbacks.finish(callback_id))

    async def put_off_callback(self, callback_id: str, due_at: int) -> None:
        """See ``CallbackQueue.put_off_callback``."""
        await self._write(lambda: callbacks.put_off(callback_id, due_at))

    async def disable_callbacks(self, client: str, url: str, now: int) -> int:
        """See ``CallbackQueue.disable_callbacks``."""
        return await self._write(lambda: callbacks.disable(client, url, now))

    # --- the operator's, and the end of what was kept -----------------------------------------------------------------

    async def hash_key(self) -> bytes:
        """See ``Journal.hash_key``."""
        return await self._write(control.hash_key)

    async def set_paused(self, paused: bool, audit: AuditRow) -> None:
        """See ``Journal.set_paused``."""
        await self._write(lambda: control.set_paused(paused, audit))

    async def is_paused(self) -> bool:
        """See ``Journal.is_paused``."""
        return await self._read(control.is_paused)

    async def audit(self, row: AuditRow) -> None:
        """See ``Journal.audit``."""
        await self._write(lambda: control.keep_audit(row))

    async def mark_restored(self) -> int:
        """See ``Journal.mark_restored``."""
        turned, ended = 0, 1
        while ended:
            ended, calls_turned = await self._write(lambda: retention.restore_some(self._clock.now_ms()))
            turned += calls_turned
        return turned

    async def purge(self, before: int) -> int:
        """See ``Journal.purge``."""
        now = self._clock.now_ms()
        first_day = datetime.fromtimestamp(now / 1000, UTC) - timedelta(days=_QUOTA_DAYS_KEPT)
        await self._write(lambda: retention.purge_limits(now, first_day.strftime("%Y-%m-%d")))
        await self._write(lambda: callbacks.purge_disabled(before))
        deleted = 0
        while some := await self._write(lambda: retention.purge_some(before, now)):
            deleted += some
        return deleted

    async def erase_recipient(self, number: str, audit: AuditRow) -> int:
        """See ``Journal.erase_recipient``."""
        await self._write(lambda: control.keep_audit(audit))
        erased = 0
        after: str | None = ""
        while after is not None:
            changed, after = await self._erase_some(number, after)
            erased += changed
        return erased

    async def _erase_some(self, number: str, after: str) -> tuple[int, str | None]:
        return await self._write(lambda: retention.erase_some(number, after))
