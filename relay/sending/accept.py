"""The second stage: make it the relay's own. The claim is the last place that may refuse.

What is accepted here is in the journal before anything is dialled. Somebody who asks again with the same idempotency
key gets what was stored, even when the relay would refuse a new request now.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import product

import msgspec
from msgspec.structs import replace

from relay.domain.codes import Code, ProblemCode
from relay.domain.errors import IdempotencyConflict, LimitReached, Refusal
from relay.domain.key_time import MOST_AHEAD_MS
from relay.domain.notification import Mode, Notification, Stored, set_send_at
from relay.domain.routing import day_of, month_span, seconds_to_midnight
from relay.domain.text import MOST_SEGMENTS
from relay.domain.usage import MICRO, find_dearest, format_units
from relay.sending.delivery import Runtime
from relay.sending.ports import (
    RETRY_SOON_SECONDS,
    Budget,
    BudgetExhausted,
    Cap,
    Claim,
    ClaimResult,
    Deduplication,
    Duplicate,
    Ids,
    JournalUnavailable,
    KeyTaken,
    Lease,
    Queued,
    Quota,
    QuotaExhausted,
)
from relay.sending.prepare import Prepared
from relay.sending.record import until_written
from relay.sending.recover import end_unsent
from relay.sending.requests import Answer, Caller

AMBIGUITY_SECONDS = 10.0
"""How long a caller who waits for the outcome waits for a journal that broke in the middle of its commit."""

_AMBIGUITY_POLL_SECONDS = 0.25
_PATIENT_POLL_SECONDS = 2.0
"""How often it is asked after that on behalf of who does not wait for the outcome."""

_DAY_SECONDS = 86_400


class Acceptance:
    """Builds claims and reads what the journal makes of them."""

    def __init__(self, runtime: Runtime, ids: Ids) -> None:
        self._runtime = runtime
        self._journal = runtime.journal
        self._clock = runtime.clock
        self._events = runtime.events
        self._policy = runtime.policy
        self._ids = ids

    async def claim(
        self, requests: Sequence[Prepared], caller: Caller, mode: Mode, *, dials: bool = False
    ) -> list[Lease | Answer | Refusal]:
        """Claim well-formed requests, each by itself, in one transaction.

        Args:
            dials: whether the one call of each is dialled next, so that the claim may give the right to it.

        Returns:
            In order: a lease where this process sends it now; an answer where it waits in the queue or an earlier
            notification answers the request; or why not.
        """
        now = self._clock.now_ms()
        claims = [self._build(prepared, caller, mode, now, dials=dials) for prepared in requests]
        try:
            results = await self._journal.claim(claims)
        except JournalUnavailable as failure:
            if failure.ambiguous:
                return await self._resolve_ambiguous(claims, failure)
            return [failure for _ in claims]
        return [
            self._read(prepared, caller, claim, result)
            for prepared, claim, result in zip(requests, claims, results, strict=True)
        ]

    async def _resolve_ambiguous(
        self, claims: Sequence[Claim], failure: JournalUnavailable
    ) -> list[Lease | Answer | Refusal]:
        """Nobody knows whether the commit went through: ask until the journal answers, and never guess.

        Where it does not answer in time a caller who waits is told 503, and what turns out to have been claimed is
        ended as not sent as soon as the journal is back. What was to be sent later is neither promised nor denied
        before that: a promise would die with this process, and after a no another replica's queue may send it.
        """
        give_up_at = self._clock.monotonic() + AMBIGUITY_SECONDS
        while (is_soon := self._clock.monotonic() < give_up_at) or claims[0].due_at is not None:
            await asyncio.sleep(_AMBIGUITY_POLL_SECONDS if is_soon else _PATIENT_POLL_SECONDS)
            try:
                return await self._look_again(claims, failure)
            except JournalUnavailable:
                continue
        for claim in claims:
            self._runtime.tasks.spawn(self._end_unpromised(claim), "end-unpromised")
        return [failure for _ in claims]

    async def _look_again(self, claims: Sequence[Claim], failure: JournalUnavailable) -> list[Lease | Answer | Refusal]:
        ids = [claim.notification.id for claim in claims]
        undialled = [claim.notification.id for claim in claims if claim.dials]
        taken = {item.stored.notification.id: item for item in await self._journal.take_back(ids, undialled)}
        results: list[Lease | Answer | Refusal] = []
        for claim in claims:
            item = taken.get(claim.notification.id)
            if item is not None:
                if claim.due_at is None:
                    results.append(item)
                else:
                    await self._put_back(item, claim.due_at, claim.waiting or Code.QUEUED)
                    results.append(Answer(stored=replace(item.stored, owned=False)))
                continue
            stored = await self._journal.find(claim.notification.id)
            results.append(failure if stored is None else Answer(stored=stored))
        return results

    async def _put_back(self, item: Lease, due_at: int, waiting: Code) -> None:
        """What was claimed for later belongs to the queue, not to who looked for it."""
        notification_id = item.stored.notification.id
        await until_written(
            lambda: self._journal.requeue(notification_id, item.fence, due_at, waiting), "requeue", self._events
        )

    async def _end_unpromised(self, claim: Claim) -> None:
        """End a claim that nobody was promised, if it is there, as soon as the journal is back."""
        ids = [claim.notification.id]

        async def end() -> None:
            leases = await self._journal.take_back(ids, ids if claim.dials else ())
            await end_unsent(leases, self._journal, self._clock, self._events)

        await until_written(end, "end-unpromised", self._events)

    async def find_answer(self, prepared: Prepared, caller: Caller) -> Answer | Refusal | None:
        """Look up whether the request's key was claimed before, for a request that would be refused now."""
        key = prepared.submission.idempotency_key
        if key is None:
            return None
        stored = await self._journal.find_by_key(caller.client.name, key, self._clock.now_ms())
        return None if stored is None else self._replay(stored, prepared, caller)

    def hash_message(self, message: str) -> bytes:
        """The keyed hash that stays when the text is erased."""
        return hmac.digest(self._policy.hash_key, b"message\0" + message.encode(), hashlib.sha256)

    def _build(self, prepared: Prepared, caller: Caller, mode: Mode, now: int, *, dials: bool) -> Claim:
        notification = self._notification(prepared, caller, mode, now)
        due_at, waiting = None, None
        if mode is Mode.ASYNCHRONOUS:
            due_at, waiting = _find_due(prepared, now)
        quota, budget, cap = self._limits(prepared, caller, notification)
        return Claim(
            notification=notification,
            calls=prepared.calls,
            due_at=due_at,
            waiting=waiting,
            dials=dials,
            key_window_ms=self._policy.key_window_of(caller.client),
            quota=quota,
            budget=budget,
            cap=cap,
            deduplication=prepared.submission.deduplication or self._repetition(prepared, caller),
        )

    def _repetition(self, prepared: Prepared, caller: Caller) -> Deduplication | None:
        """What makes a request without a key the repetition of another one of this client, where that is asked for."""
        submission, window = prepared.submission, prepared.submission.repeat_window_seconds
        if window is None:
            window = caller.client.repeat_window_seconds
        if not window or submission.idempotency_key is not None or submission.resend_of is not None:
            return None
        numbers = sorted(set(prepared.numbers().values()))
        facts = (caller.client.name, prepared.sender, numbers, prepared.message, submission.message_type)
        key = hmac.digest(self._policy.hash_key, b"repeat\0" + msgspec.json.encode(facts), hashlib.sha256)
        return Deduplication(key, window * 1000, counts_sent=True, anew=submission.allow_repeat)

    def find_refusal(self, prepared: Prepared) -> Refusal | None:
        """Say what a new request is refused for: first for its key, where keys of its client carry their time."""
        made_at, now = prepared.submission.key_made_at, self._clock.now_ms()
        if made_at is not None and made_at > now + MOST_AHEAD_MS:
            detail = "The Idempotency-Key's own time is more than 5 minutes ahead; set the clock right."
            return Refusal(ProblemCode.INVALID_IDEMPOTENCY_KEY, detail)
        if made_at is not None and made_at < now - self._policy.key_window_ms:
            detail = "The Idempotency-Key is older than keys are kept, so nobody knows whether it was used before."
            return Refusal(ProblemCode.IDEMPOTENCY_KEY_EXPIRED, detail)
        return next(iter(prepared.refusals), None)

    def _notification(self, prepared: Prepared, caller: Caller, mode: Mode, now: int) -> Notification:
        submission, route = prepared.submission, prepared.route
        if route is None:
            raise ValueError("a request without a route is refused before the claim")
        lives = submission.expires_at is None and mode is Mode.ASYNCHRONOUS
        accepted = Notification(
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
            billing_code=submission.billing_code,
            idempotency_key=submission.idempotency_key,
            fingerprint=self._fingerprint(prepared) if submission.idempotency_key is not None else None,
            warnings=prepared.warnings,
            expires_at=submission.expires_at,
            lifetime_ms=self._policy.queue_lifetime_ms if lives else None,
            held_until=None if prepared.closed is None else prepared.closed.until,
            held_by=None if prepared.closed is None else prepared.closed.code,
            windows=prepared.windows,
            callback_url=submission.callback_url,
            sandbox=caller.client.sandbox,
            traceparent=caller.traceparent,
            resend_of=submission.resend_of,
        )
        return accepted if mode is Mode.SYNCHRONOUS else set_send_at(accepted, submission.send_at, now)

    def _fingerprint(self, prepared: Prepared) -> bytes:
        """The keyed hash of the request after defaults are filled in: one that is spelt out is the same request."""
        segments = prepared.submission.max_segments
        code = prepared.submission.billing_code
        return self._hash_request(prepared, prepared.sender, None if segments == MOST_SEGMENTS else segments, code)

    def _earlier_fingerprints(self, prepared: Prepared, caller: Caller) -> Iterator[bytes]:
        """What the first edition, which filled nothing in, may have kept of this request, spelt out or not.

        Also what was kept before the client had a default billing code.
        """
        default = (caller.client.default_sender or "").strip()
        names = {prepared.sender, None if prepared.sender == default else prepared.sender}
        segments, code = prepared.submission.max_segments, prepared.submission.billing_code
        codes = {code, None if code == caller.client.default_billing_code else code}
        limits = {segments, None, MOST_SEGMENTS} if segments in (None, MOST_SEGMENTS) else {segments}
        for sender, limit, code in product(names, limits, codes):
            yield self._hash_request(prepared, sender, limit, code)

    def _hash_request(
        self, prepared: Prepared, sender: str | None, max_segments: int | None, code: str | None
    ) -> bytes:
        submission, filled = prepared.submission, prepared.template
        facts = (
            sender,
            [entry.number or entry.input for entry in prepared.entries],
            prepared.message
            if filled is None
            else [filled.template.name, filled.language, sorted(filled.values.items())],
            submission.message_type,
            submission.route,
            submission.reference,
            submission.on_non_gsm,
            max_segments,
            submission.strict,
            submission.expires_at,
            submission.callback_url,
            *(() if code is None else (code,)),
            *(() if submission.send_at is None else ({"send_at": submission.send_at},)),
            *(() if submission.delivery_window is None else ({"delivery_window": submission.delivery_window},)),
        )
        return hmac.digest(self._policy.hash_key, b"request\0" + msgspec.json.encode(facts), hashlib.sha256)

    def _limits(
        self, prepared: Prepared, caller: Caller, notification: Notification
    ) -> tuple[Quota | None, Budget | None, Cap | None]:
        """What it counts under: its client's recipients of a day and units of a month, and each number's messages."""
        client, policy = caller.client, self._policy
        quota, budget, cap = None, None, None
        if client.recipients_per_day is not None:
            day = day_of(notification.created_at, policy.day_zone)
            quota = Quota(day=day, recipients=prepared.dialable, limit=client.recipients_per_day)
        if client.units_per_month is not None and not client.sandbox:
            # At the dearest account that may take it, in the month in which it is to be sent.
            dearest = find_dearest(policy.prices, client.accounts, notification.route.used)
            budget = Budget(
                month=day_of(_sent_from(notification), policy.day_zone)[:7],
                each=int(notification.text.segments * dearest * MICRO),
                recipients=prepared.dialable,
                limit=int(client.units_per_month * MICRO),
            )
        if (limit := policy.send_limits.get(notification.message_type)) is not None:
            prefix = b"number\0" + notification.message_type.value.encode() + b"\0"
            hashes = {
                index: hmac.digest(
                    policy.hash_key, prefix + (notification.entries[index].number or "").encode(), "sha256"
                )
                for index in notification.dialable()
            }
            cap = Cap(notification.message_type, limit.sends, limit.window_seconds * 1000, hashes)
        return quota, budget, cap

    def _read(self, prepared: Prepared, caller: Caller, claim: Claim, result: ClaimResult) -> Lease | Answer | Refusal:
        match result:
            case Lease():
                return result
            case Queued(stored):
                return Answer(stored=stored)
            case KeyTaken(stored):
                return self._replay(stored, prepared, caller)
            case Duplicate(stored):
                if claim.deduplication is not None and claim.deduplication.counts_sent and _still_runs(stored):
                    return _in_progress("The first request of this content is still running. Ask again later.")
                return Answer(stored=stored, replayed=True, duplicate=True)
            case QuotaExhausted(used):
                return self._quota_exceeded(claim, used)
            case BudgetExhausted(used):
                return self._budget_exceeded(claim, used)
        return self._capped(claim, result.free_at)

    def _replay(self, stored: Stored, prepared: Prepared, caller: Caller) -> Answer | Refusal:
        original = stored.notification
        kept = original.fingerprint or b""
        fingerprints = (self._fingerprint(prepared), *self._earlier_fingerprints(prepared, caller))
        if not any(hmac.compare_digest(kept, fingerprint) for fingerprint in fingerprints):
            detail = "This Idempotency-Key was used for another request. Use a new key for a new message."
            return IdempotencyConflict(ProblemCode.IDEMPOTENCY_MISMATCH, detail)
        if _still_runs(stored):
            return _in_progress("The first request with this Idempotency-Key is still running. Ask again later.")
        return Answer(stored=stored, replayed=True)

    def _quota_exceeded(self, claim: Claim, used: int) -> Refusal:
        quota = claim.quota
        limit = quota.limit if quota is not None else 0
        left = max(limit - used, 0)
        return LimitReached(
            ProblemCode.QUOTA_EXCEEDED,
            f"The client's recipients a day are limited to {limit}; left today: {left}. Nothing of this was sent.",
            policy="recipients-per-day",
            limit=limit,
            window_seconds=_DAY_SECONDS,
            remaining=left,
            retry_after_seconds=seconds_to_midnight(self._clock.now_ms(), self._policy.day_zone),
        )

    def _budget_exceeded(self, claim: Claim, used: int) -> Refusal:
        budget = claim.budget
        limit, each, recipients = (0, 0, 0) if budget is None else (budget.limit, budget.each, budget.recipients)
        left = max(limit - used, 0)
        first, until = month_span(_sent_from(claim.notification), self._policy.day_zone)
        return LimitReached(
            ProblemCode.BUDGET_EXCEEDED,
            f"The client's units of the month are limited to {_units(limit)}; left: {_units(left)}; this needs up to"
            f" {_units(each * recipients)} (estimates). Nothing of this was sent.",
            policy="units-per-month",
            limit=limit // MICRO,
            window_seconds=(until - first) // 1000,
            remaining=left // MICRO,
            retry_after_seconds=(until - self._clock.now_ms()) / 1000,
        )

    def _capped(self, claim: Claim, free_at: int) -> Refusal:
        cap = claim.cap
        limit, window = (cap.limit, cap.window_ms // 1000) if cap is not None else (0, 0)
        return LimitReached(
            ProblemCode.RECIPIENT_CAPPED,
            f"Each of these numbers had all it may have of this type already: {limit} within {window} s.",
            policy="sends-to-one-number",
            limit=limit,
            window_seconds=window,
            retry_after_seconds=max((free_at - self._clock.now_ms()) / 1000, RETRY_SOON_SECONDS),
        )


def _still_runs(stored: Stored) -> bool:
    return stored.notification.mode is Mode.SYNCHRONOUS and stored.completed_at is None


def _sent_from(notification: Notification) -> int:
    """The later of acceptance and ``send_at``."""
    return max(notification.created_at, notification.send_at or 0)


def _units(micro_units: int) -> str:
    return format_units(Decimal(micro_units) / MICRO)


def _in_progress(detail: str) -> IdempotencyConflict:
    return IdempotencyConflict(ProblemCode.IDEMPOTENCY_IN_PROGRESS, detail, retry_after_seconds=RETRY_SOON_SECONDS)


def _find_due(prepared: Prepared, now: int) -> tuple[int, Code]:
    """When the queue may take it, and what it waits for until then. Hours at ``send_at`` are judged when it comes."""
    send_at = prepared.submission.send_at
    if send_at is not None and send_at > now:
        return send_at, Code.SCHEDULED
    return (now, Code.QUEUED) if prepared.closed is None else (prepared.closed.until, prepared.closed.code)
