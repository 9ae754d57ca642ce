"""The one total handler: whatever an endpoint does, a reply comes out, and what went wrong is told where it belongs."""

from pathlib import PurePath

from relay.domain.codes import ProblemCode
from relay.domain.errors import Refusal
from relay.http.exchange import UNMATCHED, Endpoint, Exchange, Reply
from relay.http.problems import problem_response
from relay.http.routes import RouteTable
from relay.sending.events import Events, Refused, TaskFailed


class Responder:
    """Calls endpoints and turns what they raise into problem documents.

    Args:
        events: told what the front refuses, and bugs.
        table: all routes, for what no endpoint answers.
    """

    def __init__(self, events: Events, table: RouteTable) -> None:
        self._events = events
        self._table = table

    async def respond(self, endpoint: Endpoint, exchange: Exchange) -> Reply:
        """Give the endpoint's reply, or the problem that it raised. Raises nothing but cancellation."""
        try:
            return await endpoint(exchange)
        except Refusal as refusal:
            return self.refuse(exchange, refusal)
        except Exception as bug:  # noqa: BLE001 — a caller gets an answer whatever the bug is
            return self.apologize(exchange, bug)

    def refuse(self, exchange: Exchange, refusal: Refusal) -> Reply:
        """Answer a refusal; those of the front itself are reported here, the core reports its own."""
        report_refusal(self._events, exchange, refusal)
        return problem_response(refusal, exchange.request_id)

    def refuse_unrouted(self, exchange: Exchange, status: int) -> Reply:
        """Answer what the router found no endpoint for: 404, 405, or a head that it cannot read."""
        template = self._table.find_template(exchange.path)
        if status == 405 and template is not None:
            exchange.route = template
            refusal = Refusal(ProblemCode.METHOD_NOT_ALLOWED, "This path has other methods; see Allow.")
            reply = self.refuse(exchange, refusal)
            return Reply(reply.status, reply.body, reply.content_type, ((b"allow", self._table.allow(template)),))
        exchange.route = UNMATCHED
        if status in (404, 405):
            refusal = Refusal(ProblemCode.NOT_FOUND, "The relay has no such path; its reference is at /docs.")
        else:
            refusal = Refusal(ProblemCode.BAD_REQUEST, "The head of the request cannot be read.")
        return self.refuse(exchange, refusal)

    def apologize(self, exchange: Exchange, bug: Exception) -> Reply:
        """Answer for a bug of ours: its class and place go to the log, its text nowhere."""
        report_bug(self._events, exchange, bug)
        detail = "Something went wrong in the relay. Tell whoever runs it the request_id."
        return problem_response(Refusal(ProblemCode.INTERNAL_ERROR, detail), exchange.request_id)


def report_refusal(events: Events, exchange: Exchange, refusal: Refusal) -> None:
    """Say that the front refused something; while the core decides it says so itself."""
    if exchange.stage is not None:
        events.emit(Refused(stage=exchange.stage, code=refusal.code, client=exchange.client, source=exchange.source))


def report_bug(events: Events, exchange: Exchange, bug: Exception) -> None:
    """Say that there is a bug, and where; never its text, which may hold anything."""
    events.emit(TaskFailed(task=f"http {exchange.route}", exception=f"{type(bug).__name__} at {_find_place(bug)}"))


def _find_place(bug: Exception) -> str:
    """The innermost line that raised, as ``module.py:12``."""
    trace = bug.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "nowhere"
    return f"{PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
