"""The second stage: make it the relay's own. The claim is the last place that may refuse.

What is accepted here is in the journal before anything is dialled. Somebody who asks again with the same idempotency
key gets what was stored, even when the relay would refuse a new request now.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo

import msgspec
from msgspec import Struct

from relay.domain.codes import MessageType, ProblemCode
from relay.domain.errors import IdempotencyConflict, LimitReached, Refusal
from relay.domain.notification import Mode, Notification, Stored
from relay.domain.routing import day_of, seconds_to_midnight
from relay.sending.events import Events
from relay.sending.gate import RETRY_SOON_SECONDS, journal_unavailable
from relay.sending.persistence import until_written
from relay.sending.ports import (
    AllCapped,
    Cap,
    Claim,
    Claimed,
    ClaimResult,
    Clock,
    Duplicate,
    Ids,
    Journal,
    JournalUnavailable,
    KeyTaken,
    Quota,
    QuotaExhausted,
    Taken,
)
from relay.sending.prepare import Prepared
from relay.sending.requests import Answer, Caller
from relay.sending.tasks import Turns

AMBIGUITY_SECONDS = 10.0
"""How long a caller waits for a journal that broke in the middle of its commit."""

_AMBIGUITY_POLL_SECONDS = 0.25
_DAY_SECONDS = 86_400


class SendLimit(Struct, frozen=True):
    """How many messages of one type a number may get in a window."""

    sends: int
    window_seconds: int


class AcceptPolicy(Struct, frozen=True, kw_only=True):
    """What acceptance depends on. ``day_zone`` is where a client's day of recipients begins and ends."""

    hash_key: bytes
    key_window_ms: int
    queue_lifetime_ms: int
    send_limits: Mapping[MessageType, SendLimit]
    day_zone: tzinfo


class Accepted(Struct, frozen=True):
    """A claim of this process, to be dialled under ``fence``."""

    stored: Stored
    fence: int
    may_dial: bool = False
    """Whether the one call is ``dialling`` by the claim itself; its slot is taken."""


class Acceptance:
    """Builds claims and reads what the journal makes of them.

    Args:
        disown: told claims that nobody was promised, to be ended when the journal is back.
        insist: told claims that were promised, to be made until they are known to be there.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        ids: Ids,
        policy: AcceptPolicy,
        events: Events,
        disown: Callable[[Claim], None],
        insist: Callable[[Sequence[Claim]], None],
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._ids = ids
        self._events = events
        self._disown = disown
        self._insist = insist
        self.policy = policy

    async def claim(
        self, requests: Sequence[Prepared], caller: Caller, mode: Mode, *, dials: bool = False
    ) -> list[Accepted | Answer | Refusal]:
        """Claim well-formed requests, each by itself, in one transaction.

        Args:
            dials: whether the one call of each is dialled next, so that the claim may give the right to it.

        Returns:
            In order: what this process now owns (or queued), an earlier notification that answers the request, or why
            not.
        """
        now = self._clock.now_ms()
        claims, turns = [], Turns()
        for prepared in requests:
            claims.append(self._build(prepared, caller, mode, now, dials=dials))
            if len(requests) > 1:
                await turns.after(len(prepared.entries))
        try:
            results = await self._journal.claim(claims)
        except JournalUnavailable as failure:
            if failure.ambiguous:
                return await self._resolve_ambiguous(claims, failure)
            return [journal_unavailable(failure) for _ in claims]
        return [self._read(claim, result) for claim, result in zip(claims, results, strict=True)]

    async def _resolve_ambiguous(
        self, claims: Sequence[Claim], failure: JournalUnavailable
    ) -> list[Accepted | Answer | Refusal]:
        """Nobody knows whether the commit went through: ask until the journal answers, and never guess.

        Where it does not answer in time the caller is told 503, and what turns out to have been claimed is ended as
        not sent as soon as the journal is back.
        """
        give_up_at = self._clock.monotonic() + AMBIGUITY_SECONDS
        while self._clock.monotonic() < give_up_at:
            await asyncio.sleep(_AMBIGUITY_POLL_SECONDS)
            try:
                return await self._look_again(claims, failure)
            except JournalUnavailable:
                continue
        return [self._give_up(claim, failure) for claim in claims]

    def _give_up(self, claim: Claim, failure: JournalUnavailable) -> Answer | Refusal:
        """Nobody will know in time. A caller who waits is told no, and what was claimed is ended unsent. The queue of
        another replica may send what was claimed for later: that is accepted, and claimed until it is known to be."""
        if claim.due_at is None:
            self._disown(claim)
            return journal_unavailable(failure)
        self._insist([claim])
        return Answer(stored=Stored(notification=claim.notification, calls=()))

    async def _look_again(
        self, claims: Sequence[Claim], failure: JournalUnavailable
    ) -> list[Accepted | Answer | Refusal]:
        ids = [claim.notification.id for claim in claims]
        undialled = [claim.notification.id for claim in claims if claim.dials]
        taken = {item.stored.notification.id: item for item in await self._journal.take_back(ids, undialled)}
        results: list[Accepted | Answer | Refusal] = []
        for claim in claims:
            item = taken.get(claim.notification.id)
            if item is not None:
                if claim.due_at is not None:
                    await self._put_back(item, claim.due_at)
                results.append(Accepted(item.stored, item.fence))
                continue
            stored = await self._journal.find(claim.notification.id)
            results.append(journal_unavailable(failure) if stored is None else Answer(stored=stored))
        return results

    async def _put_back(self, item: Taken, due_at: int) -> None:
        """What was claimed for later belongs to the queue, not to who looked for it."""
        notification_id = item.stored.notification.id
        await until_written(lambda: self._journal.requeue(notification_id, item.fence, due_at), "requeue", self._events)

    async def find_answer(self, prepared: Prepared, caller: Caller) -> Answer | Refusal | None:
        """Look up whether the request's key was claimed before, for a request that would be refused now."""
        key = prepared.submission.idempotency_key
        if key is None:
            return None
        try:
            stored = await self._journal.find_by_key(caller.client.name, key, self._clock.now_ms())
        except JournalUnavailable as failure:
            return journal_unavailable(failure)
        return None if stored is None else self._replay(stored, self._fingerprint(prepared))

    def hash_message(self, message: str) -> bytes:
        """The keyed hash that stays when the text is erased."""
        return hmac.digest(self.policy.hash_key, b"message\0" + message.encode(), hashlib.sha256)

    def _build(self, prepared: Prepared, caller: Caller, mode: Mode, now: int, *, dials: bool) -> Claim:
        notification = self._notification(prepared, caller, mode, now)
        due_at = None
        if mode is Mode.ASYNCHRONOUS:
            due_at = prepared.held_until if prepared.held_until is not None else now
        return Claim(
            notification=notification,
            calls=prepared.calls,
            due_at=due_at,
            dials=dials,
            key_window_ms=self.policy.key_window_ms,
            quota=self._quota(prepared, caller, now),
            cap=self._cap(notification),
            deduplication=prepared.submission.deduplication,
        )

    def _notification(self, prepared: Prepared, caller: Caller, mode: Mode, now: int) -> Notification:
        submission, route = prepared.submission, prepared.route
        if route is None:
            raise ValueError("a request without a route is refused before the claim")
        expires_at = submission.expires_at
        if expires_at is None and mode is Mode.ASYNCHRONOUS:
            expires_at = now + self.policy.queue_lifetime_ms
        return Notification(
            id=self._ids.new_id(),
            client=caller.client.name,
            source=caller.source,
            mode=mode,
            sender=prepared.sender,
            message=prepared.message,
            message_hash=self.hash_message(prepared.message),
            message_type=submission.message_type,
            route=route,
            text=prepared.text,
            entries=prepared.entries,
            created_at=now,
            reference=submission.reference,
            idempotency_key=submission.idempotency_key,
            fingerprint=self._fingerprint(prepared) if submission.idempotency_key is not None else None,
            warnings=prepared.warnings,
            expires_at=expires_at,
            held_until=prepared.held_until,
            callback_url=submission.callback_url,
            sandbox=caller.client.sandbox,
            traceparent=caller.traceparent,
            resend_of=submission.resend_of,
        )

    def _fingerprint(self, prepared: Prepared) -> bytes:
        submission = prepared.submission
        facts = (
            submission.sender.strip() if submission.sender is not None else None,
            [entry.number or entry.input for entry in prepared.entries],
            prepared.message,
            submission.message_type,
            submission.route,
            submission.reference,
            submission.on_non_gsm,
            submission.max_segments,
            submission.strict,
            submission.expires_at,
            submission.callback_url,
        )
        return hmac.digest(self.policy.hash_key, b"request\0" + msgspec.json.encode(facts), hashlib.sha256)

    def _quota(self, prepared: Prepared, caller: Caller, now: int) -> Quota | None:
        limit = caller.client.recipients_per_day
        if limit is None:
            return None
        return Quota(day=day_of(now, self.policy.day_zone), recipients=prepared.dialable, limit=limit)

    def _cap(self, notification: Notification) -> Cap | None:
        limit = self.policy.send_limits.get(notification.message_type)
        if limit is None:
            return None
        prefix = b"number\0" + notification.message_type.value.encode() + b"\0"
        hashes = {
            index: hmac.digest(
                self.policy.hash_key, prefix + (notification.entries[index].number or "").encode(), "sha256"
            )
            for index in notification.dialable()
        }
        return Cap(notification.message_type, limit.sends, limit.window_seconds * 1000, hashes)

    def _read(self, claim: Claim, result: ClaimResult) -> Accepted | Answer | Refusal:
        match result:
            case Claimed(stored, fence, may_dial):
                return Accepted(stored, fence, may_dial)
            case KeyTaken(stored):
                return self._replay(stored, claim.notification.fingerprint)
            case Duplicate(stored):
                return Answer(stored=stored, replayed=True, duplicate=True)
            case QuotaExhausted(used):
                return self._quota_exceeded(claim, used)
            case AllCapped(free_at):
                return self._capped(claim, free_at)

    def _replay(self, stored: Stored, fingerprint: bytes | None) -> Answer | Refusal:
        original = stored.notification
        if (
            fingerprint is None
            or original.fingerprint is None
            or not hmac.compare_digest(original.fingerprint, fingerprint)
        ):
            detail = "This Idempotency-Key was used for another request. Use a new key for a new message."
            return IdempotencyConflict(ProblemCode.IDEMPOTENCY_MISMATCH, detail)
        if original.mode is Mode.SYNCHRONOUS and stored.completed_at is None:
            detail = "The first request with this Idempotency-Key is still running. Ask again as Retry-After says."
            return IdempotencyConflict(
                ProblemCode.IDEMPOTENCY_IN_PROGRESS, detail, retry_after_seconds=RETRY_SOON_SECONDS
            )
        return Answer(stored=stored, replayed=True)

    def _quota_exceeded(self, claim: Claim, used: int) -> Refusal:
        quota = claim.quota
        limit = quota.limit if quota is not None else 0
        left = max(limit - used, 0)
        return LimitReached(
            ProblemCode.QUOTA_EXCEEDED,
            f"The client may send to {limit} recipients a day, and {left} are left today. Nothing of this was sent.",
            policy="recipients-per-day",
            limit=limit,
            window_seconds=_DAY_SECONDS,
            remaining=left,
            retry_after_seconds=seconds_to_midnight(self._clock.now_ms(), self.policy.day_zone),
        )

    def _capped(self, claim: Claim, free_at: int) -> Refusal:
        cap = claim.cap
        limit, window = (cap.limit, cap.window_ms // 1000) if cap is not None else (0, 0)
        return LimitReached(
            ProblemCode.RECIPIENT_CAPPED,
            f"Each of these numbers had {limit} messages of this type within {window} seconds already.",
            policy="sends-to-one-number",
            limit=limit,
            window_seconds=window,
            retry_after_seconds=max((free_at - self._clock.now_ms()) / 1000, RETRY_SOON_SECONDS),
        )
