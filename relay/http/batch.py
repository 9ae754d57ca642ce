"""``POST /v1/notifications/batch``: many different notifications at once, each accepted or refused by itself.

A JSON array, or NDJSON (one request a line); NDJSON in gives NDJSON out. A bad item gets a problem under its index and
stops no other.

Item keys: an item's own ``idempotency_key`` counts. Where it has none and the batch came with an ``Idempotency-Key``
header, its key is ``<header>:<index>``; where that is too long for a key, ``<hex SHA-256 of the header>:<index>``.
"""

import hashlib
from collections.abc import Sequence

import msgspec
from litestar import Controller, Response, post

from relay.domain.codes import Permission, Source
from relay.domain.codes import ProblemCode as P
from relay.domain.errors import FieldError, Refusal, ValidationFailed
from relay.domain.notification import find_status
from relay.http.answers import PRIVATE, AcceptedItem, BatchBody, RefusedItem
from relay.http.bodies import (
    BATCH_BYTES,
    BODY_BYTES,
    check_media_type,
    check_nesting,
    count_commas,
    refuse_size,
)
from relay.http.headers import LONGEST_KEY, invalid_key, is_idempotency_key, judge_key
from relay.http.openapi import ANY_BODY, ANY_CALLER, JSON, LIMITS, NDJSON, UNAVAILABLE, Answered, Content, described
from relay.http.parameters import Service
from relay.http.problems import PASSING, PROBLEMS, complete_errors, problem_body, problem_headers
from relay.http.request import RelayRequest
from relay.http.schemas import MOST_ITEMS, BatchItem, Malformed, decode, decode_anything, to_submission
from relay.http.validation import BODY
from relay.sending.requests import Answer, Caller, Sending, Submission
from relay.sending.turns import Slices

_LINES = Content(NDJSON, None)
_ALL_MAY_COME_AGAIN = "No item was accepted, all for one cause that passes: the same batch may be sent again."

_MOST_LINES = 10 * MOST_ITEMS
"""Lines of NDJSON that are looked at, blank ones included."""

_MOST_COMMAS = 700_000
"""Outside texts, more than 8 MiB of numbers can have. More are not taken apart, because that takes 60 bytes an item."""

_raw_items = msgspec.json.Decoder(list[msgspec.Raw])

Item = bytes | msgspec.Raw


class BatchController(Controller):
    """Batches."""

    @post(
        "/v1/notifications/batch",
        operation_id="sendBatch",
        tags=["Sending"],
        summary="Send up to 1,000 different messages",
        description=(
            "A JSON array, or NDJSON with one request a line; NDJSON in gives NDJSON out, a line an item, without the"
            " totals. Always asynchronous. Each item is accepted or refused by itself. An item's own `idempotency_key`"
            " counts; where it has none, its key is `<Idempotency-Key header>:<index>` (where that is longer than 255"
            " characters, the hex SHA-256 of the header stands for it)."
        ),
        status_code=202,
        opt={
            "permission": Permission.SEND,
            "source": Source.BATCH,
            "idempotency_key": True,
            "body_bytes": BATCH_BYTES,
            "heavy": True,
            "ndjson": True,
        },
        operation_class=described(
            Answered(202, "At least one item was accepted.", (Content(JSON, "Batch", "batch_answer"), _LINES)),
            Answered(422, "No item was accepted.", (Content(JSON, "Batch"), _LINES)),
            *(Answered(status, _ALL_MAY_COME_AGAIN, (Content(JSON, "Batch"), _LINES)) for status in PASSING),
            takes=(Content(JSON, "BatchRequest", "batch"), Content(NDJSON, None, "batch_lines")),
            problems=(*ANY_CALLER, *ANY_BODY, P.INVALID_IDEMPOTENCY_KEY, *LIMITS, *UNAVAILABLE),
        ),
    )
    async def accept(self, request: RelayRequest, sending: Service[Sending]) -> Response[bytes]:
        """Accept what can be accepted: 202. Where nothing was: 422, or the status of the one cause that passes."""
        ndjson = check_media_type(request.head, ndjson=True)
        slices = sending.begin_slices()
        decoded: list[Submission | Refusal] = []
        for index, item in enumerate(split(await request.read(), ndjson=ndjson)):
            decoded.append(_judge_item(item, request.head.idempotency_key, index, request.user, sending))
            await slices.pause()
        results = await _enqueue(decoded, request.user, sending)
        for result in results:
            if isinstance(result, Refusal):
                request.report(result)
            await slices.pause()
        return await _reply(results, request.head.request_id, slices, ndjson=ndjson)


def _judge_item(
    item: Item, header_key: str | None, index: int, caller: Caller, sending: Sending
) -> Submission | Refusal:
    try:
        request = _decode_item(item)
        own_key = request.idempotency_key
        if own_key is not None and not is_idempotency_key(own_key):
            raise invalid_key(f"An idempotency_key is 1 to {LONGEST_KEY} visible ASCII characters.")
        made_at = judge_key(own_key or header_key, caller.client)
        return to_submission(request, own_key or _derive_key(header_key, index), made_at)
    except Malformed as malformed:
        return complete_errors(malformed, sending, caller, asynchronous=True)
    except Refusal as refusal:
        return refusal


async def _enqueue(decoded: Sequence[Submission | Refusal], caller: Caller, sending: Sending) -> list[Answer | Refusal]:
    submissions = [item for item in decoded if isinstance(item, Submission)]
    answers = iter(await sending.enqueue(submissions, caller) if submissions else ())
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
    return AcceptedItem(index, stored.notification.id, find_status(stored), result.replayed)


async def _reply(
    results: Sequence[Answer | Refusal], request_id: str, slices: Slices, *, ndjson: bool
) -> Response[bytes]:
    items: list[AcceptedItem | RefusedItem] = []
    for index, result in enumerate(results):
        items.append(_item(index, result, request_id))
        await slices.pause()
    accepted = sum(1 for item in items if isinstance(item, AcceptedItem))
    status, headers = (202, PRIVATE) if accepted else _refused(results)
    if ndjson:
        body, media_type = msgspec.json.Encoder().encode_lines(items), NDJSON
    else:
        body, media_type = msgspec.json.encode(BatchBody(items, accepted, len(items) - accepted)), JSON
    return Response(body, status_code=status, headers=headers, media_type=media_type)


def _refused(results: Sequence[Answer | Refusal]) -> tuple[int, dict[str, str]]:
    """The status of a batch of which nothing was accepted: 422, or that of the one cause that all items share and that
    passes, with the headers that say when."""
    refusals = [result for result in results if isinstance(result, Refusal)]
    longest = max(refusals, key=lambda refusal: refusal.retry_after_seconds or 0.0)
    status = PROBLEMS[longest.code].status
    if status not in PASSING or any(refusal.code is not longest.code for refusal in refusals):
        return 422, PRIVATE
    return status, PRIVATE | problem_headers(longest)
