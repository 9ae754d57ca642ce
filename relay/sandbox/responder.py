"""What the stand-in answers, without a socket. State is the ledger, the switches and the units left.

It must never keep the password, and never import the relay's own reading of requests and answers.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from msgspec import Struct

from relay.domain.text import count_segments
from relay.sandbox import dialect
from relay.sandbox.dialect import SmsRequest, make_text, parse_request
from relay.sandbox.faults import plan
from relay.sandbox.judging import RefusedRequest, check_account, check_message, judge_numbers
from relay.sandbox.ledger import Ledger, LedgerEntry, RecipientEntry
from relay.sandbox.registry import FIRST, Registry
from relay.sandbox.switches import Fault, SandboxConfig, SandboxSwitches, SwitchBoard
from relay.sandbox.wire import SandboxReply, error_page, read_all

_NOBODY = RefusedRequest("TG11", "another username or password")


class _Answer(Struct, frozen=True, kw_only=True):
    """What was decided about one request."""

    result: str
    rule: str
    reply: SandboxReply
    fault_rule: str = ""
    deliveries: tuple[RecipientEntry, ...] = ()
    units: Decimal = Decimal(0)


class Responder:
    """Answers as smsclone would, and remembers.

    Args:
        config: accounts, limits, switches at the start.
        now_ms: gives the wall clock's milliseconds since 1970-01-01 UTC.

    Raises:
        ValueError: two accounts cannot be told apart.
    """

    def __init__(self, config: SandboxConfig, now_ms: Callable[[], int]) -> None:
        self._config = config
        self._now_ms = now_ms
        self._ids = 0
        self.started_ms = now_ms()
        self.ledger = Ledger(config.ledger_entries, config.ledger_bytes)
        self.registry = Registry(config)

    @property
    def switches(self) -> SwitchBoard:
        """Those of the first account."""
        return self.registry.first.switches

    @property
    def units(self) -> Decimal:
        """Units left at the first account."""
        return self.registry.first.units

    def set_units(self, units: Decimal) -> None:
        """Set the balance of the first account."""
        self.registry.change(FIRST, {"units": units})

    def answer(self, path: str, query: bytes, *, method: str = "GET") -> SandboxReply:
        """Answer one request that arrived in full, and add it to the ledger.

        Args:
            path: as sent, without the query.
            query: the bytes after the question mark.
            method: anything but GET gets an error page.

        Returns:
            The answer, with the fault that is to happen on the wire.
        """
        request = parse_request(method, path, query)
        answer = self._decide(request)
        self._enter(request, answer)
        return answer.reply

    def answer_in_process(self, target: bytes) -> tuple[int, bytes]:
        """Answer a caller in the same process, at once; there is no wire on which anything could go wrong.

        Args:
            target: path and query, as a request line has them.

        Returns:
            HTTP status and body. If a caller on a wire would get no whole answer, the body is empty.
        """
        path, _, query = target.partition(b"?")
        reply = self.answer(path.decode("latin-1"), query)
        if reply.fault is None:
            return reply.status, reply.body
        return read_all(plan(reply, keep_alive=False)) or (200, b"")

    def _decide(self, request: SmsRequest) -> _Answer:
        if request.method != "GET":
            return _Answer(result="405", rule=f"method {request.method}", reply=error_page(405))
        if request.path == dialect.BALANCE_PATH:
            return self._balance(request)
        if request.path in dialect.ROUTES:
            return self._send(request)
        return _Answer(result="404", rule="no such path", reply=error_page(404))

    def _balance(self, request: SmsRequest) -> _Answer:
        account = self.registry.find(request)
        switches = (account or self.registry.first).switches.next_call("balance")
        refused = check_account(request, switches, account)
        if refused is not None or account is None:
            return _refuse(refused or _NOBODY, switches)
        units = Decimal(0) if switches.no_balance else account.units
        reply = _reply(f"{units:.2f}", switches, switches.fault)
        return _Answer(result="balance", rule="balance", reply=reply, fault_rule=_fault_rule(switches))

    def _send(self, request: SmsRequest) -> _Answer:
        account = self.registry.find(request)
        switches = (account or self.registry.first).switches.next_call("sends")
        refused = check_account(request, switches, account) or check_message(request, switches)
        if refused is not None or account is None:
            return _refuse(refused or _NOBODY, switches)
        numbers = set(map(dialect.canonical, request.recipients))
        units = count_segments(request.get("message")).segments * len(numbers) * account.price_of(request.path)
        if switches.no_balance:
            return _refuse(RefusedRequest("TG17", "switch no_balance"), switches)
        if not account.may_spend(units):
            return _refuse(RefusedRequest("TG17", f"{units} units needed, {account.units:.2f} left"), switches)
        account.spend(units)
        route = dialect.ROUTES[request.path]
        registered = account.has_registered(request.get("sender"))
        batch = judge_numbers(request, route, switches, self._config.slow_seconds, self._new_id, registered=registered)
        reply = _reply(dialect.write_batch(batch.records, switches), switches, batch.fault)
        return _Answer(
            result="processed",
            rule="processed",
            reply=reply,
            fault_rule=batch.fault_rule,
            deliveries=batch.deliveries,
            units=units,
        )

    def _new_id(self) -> str:
        """A message id of 25 digits that begins with the second, as the relative VTpass's do."""
        self._ids += 1
        return f"{self._now_ms() // 1000:010d}{self._ids:015d}"

    def _enter(self, request: SmsRequest, answer: _Answer) -> None:
        message = request.get("message")
        count = count_segments(message)
        fault = answer.reply.fault
        account = self.registry.find(request)
        default_route = "balance" if request.path == dialect.BALANCE_PATH else "unknown"
        entry = LedgerEntry(
            number=self.ledger.next_number,
            at=datetime.fromtimestamp(self._now_ms() / 1000, UTC),
            method=request.method,
            path=request.path,
            route=dialect.ROUTES.get(request.path, default_route),
            sender=request.get("sender"),
            recipients=request.recipients,
            message=message,
            parameters=request.parameters,
            encoding=count.encoding.value,
            characters=len(message),
            segments=count.segments,
            units=str(answer.units),
            account="" if account is None else account.facts.name,
            result=answer.result,
            rule=answer.rule,
            fault=None if fault is None else fault.kind,
            fault_rule=answer.fault_rule,
            status=answer.reply.status,
            answer=answer.reply.body.decode("utf-8", "replace"),
            deliveries=answer.deliveries,
        )
        self.ledger.add(entry)


def _refuse(refused: RefusedRequest, switches: SandboxSwitches) -> _Answer:
    if switches.format == "json":
        text = dialect.write_json_rejection(refused.code)
    else:
        text = dialect.write_rejection(refused.code, switches.rejection)
    reply = _reply(text, switches, switches.fault, switches.rejection_status)
    return _Answer(result=refused.code, rule=refused.rule, reply=reply, fault_rule=_fault_rule(switches))


def _reply(text: str, switches: SandboxSwitches, fault: Fault | None, status: int = 200) -> SandboxReply:
    return SandboxReply(status=status, body=make_text(text.encode(), switches.text), fault=fault)


def _fault_rule(switches: SandboxSwitches) -> str:
    return "" if switches.fault is None else "switch fault"
