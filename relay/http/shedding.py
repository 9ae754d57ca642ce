"""The first thing that a request meets: too many wait already, so it is told so, before anything else of it is read.

Saying no has to cost next to nothing, or a flood leaves nothing for those who are served. So this stands before keys,
traces and the access log: measured in one process, 25 µs of the event loop in place of 130. Whose request it is comes
from the id of its key, one look in a dictionary: nobody is let in by that, and only a client that holds its share of
the places is refused by it (SPEC section 11). What is shed is counted, not timed, and told once a second: in the
metrics and by one line of the log. Idempotency keys are honoured when the caller tries again.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from relay.domain.clients import Client
from relay.domain.codes import ProblemCode
from relay.domain.errors import Unavailable
from relay.http.asgi import AsgiApplication, Header, Receive, Scope, Send
from relay.http.headers import parse_request_id
from relay.http.notifications import SEND_PATH
from relay.http.problems import PROBLEM_JSON, render_problem
from relay.http.request import hold_back
from relay.sending.admission import refuse_overload
from relay.sending.ports import Ids
from relay.sending.requests import Sending
from relay.sending.shares import AdmissionVerdict

_TELL_SECONDS = 1.0
_PLACE = "00000000-0000-0000-0000-000000000000"


class ShedRecorder(Protocol):
    """Takes what is shed."""

    def record_shed(
        self, *, route: str, method: str, status: int, code: ProblemCode, shed: Counter[tuple[str, str]]
    ) -> None:
        """Count what was shed in about a second, by client and reason, and say so."""
        ...


class Shedding:
    """An ASGI application around another.

    Args:
        inner: answers whatever is not shed: all but sends whose caller would wait. Those with a ``Prefer`` header are
            looked at there, too, and those whose client is not known by the id of its key.
        sending: knows whether there is a place.
        name_client: gives the client whose key an ``Authorization`` header names; nobody has checked the key.
    """

    def __init__(
        self,
        inner: AsgiApplication,
        *,
        sending: Sending,
        name_client: Callable[[bytes], Client | None],
        recorder: ShedRecorder,
        ids: Ids,
    ) -> None:
        self._inner = inner
        self._sending = sending
        self._name_client = name_client
        self._recorder = recorder
        self._ids = ids
        self._shed: Counter[tuple[str, str]] = Counter()
        self._answers = {
            verdict: _render(refuse_overload("", verdict)) for verdict in AdmissionVerdict if not verdict.admits
        }

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one request."""
        if self._sending.is_short_of_places() and self._is_waiting(scope):
            client = self._client_of(scope)
            if client is not None and not (verdict := self._sending.judge_arrival(client)).admits:
                return self._refuse(scope, send, client, verdict)
        return self._inner(scope, receive, send)

    def _is_waiting(self, scope: Scope) -> bool:
        return (
            scope["type"] == "http"
            and scope["method"] == "POST"
            and scope["path"] == SEND_PATH
            and all(name != b"prefer" for name, _ in scope["headers"])
        )

    def _client_of(self, scope: Scope) -> Client | None:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        return self._name_client(given[0]) if len(given) == 1 else None

    async def _refuse(self, scope: Scope, send: Send, client: Client, verdict: AdmissionVerdict) -> None:
        if not self._shed:
            asyncio.get_running_loop().call_later(_TELL_SECONDS, self.tell)
        self._shed[client.name, verdict] += 1
        await hold_back(self._sending, client)
        given = [value for name, value in scope["headers"] if name == b"x-request-id"]
        request_id = (parse_request_id(given[-1]) if given else None) or self._ids.new_id()
        status, rendered, before, after = self._answers[verdict]
        body = b"%b%b%b" % (before, msgspec.json.encode(request_id), after)
        headers = [
            *rendered,
            (b"x-request-id", request_id.encode("ascii")),
            (b"content-length", b"%d" % len(body)),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def tell(self) -> None:
        """Count what was shed and not told yet, and write its line."""
        shed, self._shed = self._shed, Counter()
        if shed:
            self._recorder.record_shed(
                route=SEND_PATH, method="POST", status=503, code=ProblemCode.OVERLOADED, shed=shed
            )


def _render(refusal: Unavailable) -> tuple[int, tuple[Header, ...], bytes, bytes]:
    """The answer as it is for everybody: status, headers, the document before and after the request's id."""
    problem = render_problem(refusal, _PLACE)
    before, after = problem.body.split(msgspec.json.encode(_PLACE))
    fields = problem.headers | {"content-type": PROBLEM_JSON}
    headers = tuple((name.encode("ascii"), value.encode("ascii")) for name, value in fields.items())
    return problem.status, headers, before, after
