"""``POST /v1/notifications/batch``: many different notifications at once, each accepted or refused by itself.

A JSON array, or NDJSON (one request a line); NDJSON in gives NDJSON out. A bad item gets a problem under its index and
stops no other.

Item keys: an item's own ``idempotency_key`` counts. Where it has none and the batch came with an ``Idempotency-Key``
header, its key is ``<header>:<index>``; where that is too long for a key, ``<hex SHA-256 of the header>:<index>``.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from relay.domain.codes import NotificationStatus, Permission, Source
from relay.domain.errors import FieldError, Refusal, ValidationFailed
from relay.domain.notification import overall_status, view_recipients
from relay.http.answers import PRIVATE
from relay.http.auth import Gate
from relay.http.bodies import (
    BATCH_BYTES,
    BODY_BYTES,
    check_media_type,
    check_nesting,
    count_commas,
    read_body,
    refuse_size,
)
from relay.http.exchange import JSON, NDJSON, Exchange, Reply, Route
from relay.http.headers import LONGEST_KEY, invalid_key, is_idempotency_key, parse_idempotency_key, require_key
from relay.http.malformed import BODY
from relay.http.notifications import complete_errors
from relay.http.problems import problem_body
from relay.http.responder import report_refusal
from relay.http.schemas import BatchItem, Malformed, decode, decode_anything, to_submission
from relay.sending.events import Events
from relay.sending.requests import Answer, Caller, Sending, Submission

MOST_ITEMS = 1_000

_ITEMS_A_TURN = 100
"""How many items are judged before the event loop may do something else."""

_BYTES_A_TURN = 256 * 1024
"""And how many bytes of them."""

_MOST_LINES = 10 * MOST_ITEMS
"""Lines of NDJSON that are looked at, blank ones included."""

_MOST_COMMAS = 700_000
"""Outside texts, more than 8 MiB of numbers can have. More are not taken apart, because that takes 60 bytes an item."""

_raw_items = msgspec.json.Decoder(list[msgspec.Raw])

Item = bytes | msgspec.Raw


class AcceptedItem(Struct, frozen=True, omit_defaults=True):
    """An item that was accepted; `replayed` where an earlier request with its key answered it."""

    index: int
    id: str
    status: NotificationStatus
    replayed: bool = False


class RefusedItem(Struct, frozen=True):
    """An item that was refused, with the problem document that it alone would have got."""

    index: int
    problem: dict[str, Any]


class BatchBody(Struct, frozen=True):
    """What became of each item, in order."""

    items: list[AcceptedItem | RefusedItem]
    accepted: int
    refused: int


class Batch:
    """The endpoint for batches.

    Args:
        gate: lets requests in.
        sending: the core.
        events: told of items that are refused here.
    """

    def __init__(self, gate: Gate, sending: Sending, events: Events) -> None:
        self._gate = gate
        self._sending = sending
        self._events = events

    def routes(self) -> list[Route]:
        """What is served here."""
        return [Route("POST", "/v1/notifications/batch", self.accept)]

    async def accept(self, exchange: Exchange) -> Reply:
        """Accept what can be accepted: 202, or 422 with the same items where nothing was."""
        caller = await self._gate.admit(exchange, Permission.SEND, Source.BATCH)
        header_key = parse_idempotency_key(exchange.all_values(b"idempotency-key"))
        ndjson = check_media_type(exchange, ndjson=True)
        items = split(await read_body(exchange, BATCH_BYTES), ndjson=ndjson)
        decoded: list[Submission | Refusal] = []
        waiting_bytes = 0
        for index, item in enumerate(items):
            judged = self._judge_item(item, _derive_key(header_key, index), caller)
            if isinstance(judged, Refusal):
                report_refusal(self._events, exchange, judged)
            decoded.append(judged)
            waiting_bytes += len(item)
            if index % _ITEMS_A_TURN == _ITEMS_A_TURN - 1 or waiting_bytes > _BYTES_A_TURN:
                waiting_bytes = 0
                await asyncio.sleep(0)
        exchange.stage = None
        results = await self._enqueue(decoded, caller)
        return _reply([_item(i, result, exchange.request_id) for i, result in enumerate(results)], ndjson=ndjson)

    def _judge_item(self, item: Item, derived_key: str | None, caller: Caller) -> Submission | Refusal:
        try:
            request = _decode_item(item)
            own_key = request.idempotency_key
            if own_key is not None and not is_idempotency_key(own_key):
                raise invalid_key(f"An idempotency_key is 1 to {LONGEST_KEY} visible ASCII characters.")
            key = require_key(own_key or derived_key, required=caller.client.require_idempotency_key)
            return to_submission(request, key)
        except Malformed as malformed:
            return complete_errors(malformed, self._sending, caller, asynchronous=True)
        except Refusal as refusal:
            return refusal

    async def _enqueue(self, decoded: Sequence[Submission | Refusal], caller: Caller) -> list[Answer | Refusal]:
        submissions = [item for item in decoded if isinstance(item, Submission)]
        answers = iter(await self._sending.enqueue(submissions, caller) if submissions else ())
        return [next(answers) if isinstance(item, Submission) else item for item in decoded]


def split(body: bytes, *, ndjson: bool) -> Sequence[Item]:
    """Cut a batch into its items as they came, to be judged one by one.

    Blank lines of NDJSON are no items. The index of an item counts items.

    Raises:
        Refusal: ``invalid_json`` for what should be an array and is no JSON; ``validation_failed`` for none or too many
            items.
    """
    items = _split_lines(body) if ndjson else _split_array(body)
    if not items:
        raise _wrong_count("empty")
    if len(items) > MOST_ITEMS:
        raise _wrong_count("too_many")
    return items


def _split_lines(body: bytes) -> Sequence[Item]:
    if body.count(b"\n") > _MOST_LINES:
        raise _wrong_count("too_many")
    return [line for line in body.split(b"\n") if line.strip()]


def _split_array(body: bytes) -> Sequence[Item]:
    check_nesting(body)
    if body.count(b",") > _MOST_COMMAS and count_commas(body) > _MOST_COMMAS:
        raise _wrong_count("too_many")
    try:
        return _raw_items.decode(body)
    except (ValueError, RecursionError):
        decode_anything(body)
    remedy = "Send a JSON array of requests, or NDJSON with Content-Type: application/x-ndjson."
    raise ValidationFailed([FieldError(BODY, "not_a_list", remedy)])


def _decode_item(item: Item) -> BatchItem:
    if len(item) > BODY_BYTES:  # what it could be refused with otherwise would take seconds to find
        raise refuse_size(BODY_BYTES)
    if isinstance(item, bytes):
        check_nesting(item)
    return decode(item, BatchItem)


def _wrong_count(code: str) -> ValidationFailed:
    return ValidationFailed([FieldError(BODY, code, f"A batch has 1 to {MOST_ITEMS} items.")])


def _derive_key(header_key: str | None, index: int) -> str | None:
    if header_key is None:
        return None
    key = f"{header_key}:{index}"
    if len(key) <= LONGEST_KEY:
        return key
    return f"{hashlib.sha256(header_key.encode('ascii')).hexdigest()}:{index}"


def _item(index: int, result: Answer | Refusal, request_id: str) -> AcceptedItem | RefusedItem:
    if isinstance(result, Refusal):
        return RefusedItem(index, problem_body(result, request_id))
    stored = result.stored
    return AcceptedItem(index, stored.notification.id, overall_status(view_recipients(stored)), result.replayed)


def _reply(items: list[AcceptedItem | RefusedItem], *, ndjson: bool) -> Reply:
    accepted = sum(1 for item in items if isinstance(item, AcceptedItem))
    status = 202 if accepted else 422
    if ndjson:
        return Reply(status, msgspec.json.Encoder().encode_lines(items), NDJSON, (PRIVATE,))
    body = BatchBody(items, accepted, len(items) - accepted)
    return Reply(status, msgspec.json.encode(body), JSON, (PRIVATE,))
