"""``/v1/notifications``: send, preview, list, look up, move, cancel."""

import msgspec
from litestar import Controller, MediaType, Response, delete, get, patch, post
from litestar.params import JSONBody
from litestar.types import ASGIApp

from relay.domain.codes import FIELD_PROBLEMS, Permission
from relay.domain.codes import ProblemCode as P
from relay.domain.errors import Overloaded, Refusal
from relay.http.answers import (
    NO_HEADERS,
    PRIVATE,
    NotificationBody,
    answer_response,
    location,
    show_notification,
)
from relay.http.asgi import WireResponse
from relay.http.headers import judge_key
from relay.http.listing import (
    PAGE,
    answer_page,
    ask_for,
    build_listed,
    encode_each,
    encode_stored,
    read_overviews,
    read_page,
)
from relay.http.openapi import (
    ANY_BODY,
    ANY_CALLER,
    JSON,
    LIMITS,
    NOT_ALLOWED,
    UNAVAILABLE,
    UPSTREAM,
    Answered,
    Content,
    described,
)
from relay.http.parameters import (
    CreatedFrom,
    CreatedTo,
    Expand,
    KeyFilter,
    ListLimit,
    NotificationId,
    PageCursor,
    RecipientFilter,
    Reference,
    Service,
    StatusFilter,
    no_such_notification,
)
from relay.http.preview_body import PreviewBody, build_preview
from relay.http.request import RelayRequest, hold_back, report_bug
from relay.http.schemas import MoveRequest, NotificationRequest, decode, to_submission
from relay.http.times import to_milliseconds
from relay.sending.prepare import MOST_RECIPIENTS_SYNCHRONOUS
from relay.sending.requests import Answer, Sending, Submission

SEND_PATH = "/v1/notifications"

NOTIFICATION = Content(JSON, NotificationBody, "notification")
QUEUED = Content(JSON, NotificationBody, "queued")
REQUEST = Content(JSON, NotificationRequest, "request")

_WORDS = (P.BLOCKED_WORDS, P.BLOCKED_SENDER, P.QUIET_HOURS, P.OUTSIDE_WINDOW)
_IDEMPOTENCY = (P.IDEMPOTENCY_MISMATCH, P.IDEMPOTENCY_IN_PROGRESS, P.IDEMPOTENCY_KEY_EXPIRED, P.INVALID_IDEMPOTENCY_KEY)
_TOO_LATE = (P.NOT_FOUND, P.ALREADY_DIALLED, P.ALREADY_ENDED)
_SENT_WITH = ("Idempotency-Replayed", "Preference-Applied")


class NotificationController(Controller):
    """Notifications.

    ``send`` is the hot path: it takes the request and gives an ASGI response, which saves a third of litestar's cost.
    """

    @post(
        SEND_PATH,
        operation_id="sendNotification",
        tags=["Sending"],
        summary="Send a message",
        description=(
            "Answers 200 with one entry for each requested number, whatever became of it: look at `status` and"
            " `retry_safe`. With `Prefer: respond-async` it answers 202 and the outcome is looked up later. A 5xx means"
            " that certainly nothing was sent. `unknown` means that the message may be on its way: never send it again"
            " without looking."
        ),
        opt={"permission": Permission.SEND, "idempotency_key": True, "prefer": True},
        operation_class=described(
            Answered(200, "What became of each recipient.", (NOTIFICATION,), _SENT_WITH),
            Answered(202, "Accepted for later.", (QUEUED,), (*_SENT_WITH, "Location")),
            takes=(REQUEST,),
            problems=(
                *(*ANY_CALLER, *ANY_BODY, *FIELD_PROBLEMS, *NOT_ALLOWED, *_WORDS, *_IDEMPOTENCY, *LIMITS),
                *(*UPSTREAM, *UNAVAILABLE),
            ),
        ),
    )
    async def send(self, request: RelayRequest) -> ASGIApp:
        """Send: 200 with outcomes, 202 with ``Prefer: respond-async``, or a problem."""
        sending: Sending = request.app.state.sending
        caller = request.user
        key = request.head.idempotency_key
        made_at = judge_key(key, caller.client)
        preferences = request.preferences
        if preferences.respond_async:
            submission = to_submission(decode(await request.body(), NotificationRequest), key, made_at)
            if len(submission.recipients) > MOST_RECIPIENTS_SYNCHRONOUS:
                async with sending.heavy(caller) as place:
                    await place.begin()
                    return await self._enqueue(request, submission)
            return await self._enqueue(request, submission)
        try:
            with sending.arrive(caller):
                submission = to_submission(decode(await request.body(), NotificationRequest), key, made_at)
            answer = await sending.send(submission, caller, preferences.wait_seconds)
        except Overloaded:
            await hold_back(sending, caller.client)
            raise
        return await _answer(request, answer)

    async def _enqueue(self, request: RelayRequest, submission: Submission) -> ASGIApp:
        sending: Sending = request.app.state.sending
        [result] = await sending.enqueue([submission], request.user)
        if isinstance(result, Refusal):
            raise result
        return await _answer(request, result)

    @post(
        "/v1/notifications/preview",
        operation_id="previewNotification",
        tags=["Sending"],
        summary="See how a message would go out",
        description=(
            "Everything but the send: numbers, text, segments, word lists, route, calls. 200 wherever the request is"
            " well formed; what a send would be refused for is under `problems`. Units are an estimate."
        ),
        status_code=200,
        opt={"permission": Permission.PREVIEW, "prefer": True, "heavy": True},
        operation_class=described(
            Answered(200, "How it would go out.", (Content(JSON, PreviewBody, "preview"),)),
            takes=(REQUEST,),
            problems=(*ANY_CALLER, *ANY_BODY, *FIELD_PROBLEMS, P.JOURNAL_UNAVAILABLE, P.RATE_LIMITED, P.OVERLOADED),
        ),
    )
    async def preview(
        self, request: RelayRequest, data: JSONBody[NotificationRequest], sending: Service[Sending]
    ) -> Response[PreviewBody]:
        """Everything but the send."""
        asynchronous = request.preferences.respond_async
        preview = await sending.preview(to_submission(data, None), request.user, asynchronous=asynchronous)
        return Response(build_preview(preview), headers=PRIVATE)

    @get(
        SEND_PATH,
        operation_id="listNotifications",
        tags=["Looking up"],
        summary="List notifications, newest first",
        description=(
            "The notifications of this client that match every filter, page by page: each with its counts, and with its"
            " recipients where `expand=recipients` asks for them."
        ),
        media_type=MediaType.JSON,
        opt={"permission": Permission.READ, "heavy": True},
        operation_class=described(
            Answered(200, "A page.", (PAGE,)),
            problems=(*ANY_CALLER, P.VALIDATION_FAILED, P.OVERLOADED, P.JOURNAL_UNAVAILABLE),
        ),
    )
    async def select(
        self,
        request: RelayRequest,
        sending: Service[Sending],
        reference: Reference = None,
        recipient: RecipientFilter = None,
        idempotency_key: KeyFilter = None,
        status: StatusFilter = None,
        created_from: CreatedFrom = None,
        created_to: CreatedTo = None,
        limit: ListLimit = None,
        cursor: PageCursor = None,
        expand: Expand = None,
    ) -> ASGIApp:
        """List the notifications that match every filter."""
        given = {
            "client": request.user.client.name,
            "reference": reference,
            "recipient": recipient,
            "idempotency_key": idempotency_key,
            "status": status,
            "created_from": created_from,
            "created_to": created_to,
        }
        asked = ask_for(given, limit=limit, cursor=cursor, expand=expand)
        slices = sending.begin_slices()
        if expand is None:
            overviews, last = await read_overviews(sending, asked)
            return await answer_page(encode_each(map(build_listed, overviews), slices), last, slices)
        page, last = await read_page(sending, asked)
        return await answer_page(encode_stored(page, slices), last, slices)

    @get(
        "/v1/notifications/{id:str}",
        operation_id="getNotification",
        tags=["Looking up"],
        summary="Look a notification up",
        description="Status and outcomes, for the client that sent it; to others it does not exist.",
        media_type=MediaType.JSON,
        opt={"permission": Permission.READ},
        operation_class=described(
            Answered(200, "The notification as it stands.", (NOTIFICATION,)),
            problems=(*ANY_CALLER, P.NOT_FOUND, P.JOURNAL_UNAVAILABLE),
        ),
    )
    async def find(self, request: RelayRequest, notification_id: NotificationId, sending: Service[Sending]) -> ASGIApp:
        """Status and outcomes, for the client that sent it."""
        stored = await sending.find(notification_id, request.user.client)
        if stored is None:
            raise no_such_notification()
        return await show_notification(stored, sending.begin_slices())

    @delete(
        "/v1/notifications/{id:str}",
        operation_id="cancelNotification",
        tags=["Sending"],
        summary="Cancel what is still queued",
        description="Its recipients end as `not_sent`, `cancelled`. Once a call was made it is too late.",
        media_type=MediaType.JSON,
        status_code=200,
        opt={"permission": Permission.SEND},
        operation_class=described(
            Answered(200, "The notification, cancelled.", (NOTIFICATION,)),
            problems=(*ANY_CALLER, *_TOO_LATE, P.OVERLOADED, P.JOURNAL_UNAVAILABLE),
        ),
    )
    async def cancel(
        self, request: RelayRequest, notification_id: NotificationId, sending: Service[Sending]
    ) -> ASGIApp:
        """Cancel what is still queued."""
        stored = await sending.cancel(notification_id, request.user.client)
        if stored is None:
            raise no_such_notification()
        return await show_notification(stored, sending.begin_slices())

    @patch(
        "/v1/notifications/{id:str}",
        operation_id="moveNotification",
        tags=["Sending"],
        summary="Send what is still queued at another time",
        description=(
            "It waits until the new `send_at`; its `expires_at` moves along where you gave none. Once a call was made"
            " it is too late."
        ),
        opt={"permission": Permission.SEND},
        operation_class=described(
            Answered(200, "The notification with its new time.", (NOTIFICATION,)),
            takes=(Content(JSON, MoveRequest, "move"),),
            problems=(
                *(*ANY_CALLER, *ANY_BODY, P.VALIDATION_FAILED, *_TOO_LATE),
                *(P.RATE_LIMITED, P.OVERLOADED, P.JOURNAL_UNAVAILABLE),
            ),
        ),
    )
    async def move(
        self,
        request: RelayRequest,
        notification_id: NotificationId,
        data: JSONBody[MoveRequest],
        sending: Service[Sending],
    ) -> ASGIApp:
        """Send what is still queued at another time."""
        stored = await sending.move(notification_id, request.user.client, to_milliseconds(data.send_at))
        if stored is None:
            raise no_such_notification()
        return await show_notification(stored, sending.begin_slices())


async def _answer(request: RelayRequest, answer: Answer) -> ASGIApp:
    """After the claim even a bug of ours is no 500: nobody may be invited to send again (SPEC section 2)."""
    applied = request.preferences.applied
    headers = NO_HEADERS if applied is None else {"preference-applied": applied}
    slices = request.app.state.sending.begin_slices()
    try:
        return await answer_response(answer, request.head.request_id, slices, headers)
    except Exception as bug:  # noqa: BLE001 — see above
        report_bug(request.app.state.events, request.scope, bug)
        body = {"id": answer.stored.notification.id, "status": "in_progress", "replayed": answer.replayed}
        return WireResponse(202, msgspec.json.encode(body), location(answer.stored) | PRIVATE)
