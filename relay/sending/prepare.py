"""The first stage: is this request one that can be sent, and how would it go out? Pure; a preview is this and no more.

Judging comes in two steps. Field errors are found all at once and end the matter. What is well formed may still be
refused (not allowed, blocked words, quiet hours): those refusals are collected in the order in which a send would meet
them, so that a preview can show all of them.
"""

from collections.abc import Mapping

from msgspec import Struct

from relay.domain.blocked_words import Found, WordMatcher
from relay.domain.callbacks import find_url_error
from relay.domain.clients import Client
from relay.domain.codes import MessageType, OnNonGsm, ProblemCode, Route
from relay.domain.errors import Blocked, FieldError, NotAllowed, QuietHours, Refusal, ValidationFailed
from relay.domain.notification import Entry, Hit, PlannedCall, RouteDecision, SendWarning, TextFacts
from relay.domain.numbers import parse_recipients
from relay.domain.routing import QuietWindow, choose_route, quiet_until
from relay.domain.senders import SenderVerdict, check_sender
from relay.domain.text import find_forbidden_character, prepare_text
from relay.sending.ports import MessageTooLongEncoded, Upstream
from relay.sending.requests import Submission

MOST_RECIPIENTS = 10_000
MOST_RECIPIENTS_SYNCHRONOUS = 100
MOST_SEGMENTS = 10
LONGEST_REFERENCE = 64


class Rules(Struct, frozen=True, kw_only=True):
    """What judging depends on; replaced as a whole when settings or word lists reload."""

    matcher: WordMatcher
    routes: Mapping[MessageType, Route]
    quiet_hours: Mapping[MessageType, QuietWindow]
    allow_foreign: bool = False


class Prepared(Struct, frozen=True, kw_only=True):
    """A well-formed request, as it would go out. ``refusals`` are what a send of it would be refused for, in order."""

    submission: Submission
    sender: str
    entries: tuple[Entry, ...]
    message: str
    text: TextFacts
    route: RouteDecision | None
    calls: tuple[PlannedCall, ...]
    found: tuple[Found, ...]
    warnings: tuple[SendWarning, ...]
    held_until: int | None
    refusals: tuple[Refusal, ...]

    @property
    def dialable(self) -> int:
        """How many recipients would be called."""
        return sum(len(call.recipients) for call in self.calls)

    @property
    def hits(self) -> tuple[Hit, ...]:
        """What the word lists found, whether it blocks or warns."""
        return tuple(found.hit for found in self.found)


_OWN_PROBLEM: dict[str, ProblemCode] = {
    code.value: code
    for code in (
        ProblemCode.USE_ASYNC,
        ProblemCode.MESSAGE_TOO_LONG_ENCODED,
        ProblemCode.NON_GSM_TEXT,
        ProblemCode.TOO_MANY_SEGMENTS,
    )
}
"""Field errors that are a problem of their own when nothing else is wrong (SPEC section 2)."""


def prepare(
    submission: Submission, client: Client, rules: Rules, upstream: Upstream, *, asynchronous: bool, now_ms: int
) -> Prepared:
    """Judge a request.

    Args:
        submission: what was asked.
        client: who asks.
        rules: lists, routes and hours as they stand now.
        upstream: knows how many recipients fit into a call.
        asynchronous: whether the caller does not wait.
        now_ms: wall-clock milliseconds, for quiet hours.

    Raises:
        ValidationFailed: with every field error at once.
    """
    judge = _Judge(submission, client, rules, asynchronous=asynchronous)
    errors = judge.find_errors()
    if errors:
        raise validation_failed(errors)
    judge.judge(now_ms)
    calls = judge.plan(upstream)
    return Prepared(
        submission=submission,
        sender=judge.sender_name,
        entries=judge.entries,
        message=judge.text.message,
        text=judge.text.facts,
        route=judge.route,
        calls=calls,
        found=tuple(judge.found),
        warnings=tuple(judge.warnings),
        held_until=judge.held_until,
        refusals=tuple(judge.refusals),
    )


def find_field_errors(
    submission: Submission, client: Client, rules: Rules, *, asynchronous: bool, skip: frozenset[str]
) -> tuple[FieldError, ...]:
    """Find what is wrong with the fields that are not in ``skip``."""
    errors = _Judge(submission, client, rules, asynchronous=asynchronous).find_errors()
    return tuple(error for error in errors if error.field.split("[")[0] not in skip)


def validation_failed(errors: list[FieldError]) -> ValidationFailed:
    """Make one refusal of all field errors; a lone error that is a problem of its own keeps its own code."""
    if len(errors) == 1 and (own := _OWN_PROBLEM.get(errors[0].code)) is not None:
        return ValidationFailed(errors, code=own, detail=errors[0].message)
    return ValidationFailed(errors)


class _Judge:
    """One request on its way through the rules."""

    def __init__(self, submission: Submission, client: Client, rules: Rules, *, asynchronous: bool) -> None:
        self.submission = submission
        self.client = client
        self.rules = rules
        self.asynchronous = asynchronous
        self.sender_name = ""
        self.entries: tuple[Entry, ...] = ()
        self.text = prepare_text(submission.message, submission.on_non_gsm)
        self.route: RouteDecision | None = None
        self.found: list[Found] = []
        self.warnings: list[SendWarning] = []
        self.held_until: int | None = None
        self.refusals: list[Refusal] = []

    def find_errors(self) -> list[FieldError]:
        """Every field error of the request, in the order of the fields."""
        return [
            *self._sender_errors(),
            *self._recipient_errors(),
            *self._message_errors(),
            *self._reference_errors(),
            *self._callback_errors(),
        ]

    def _sender_errors(self) -> list[FieldError]:
        sender = self.submission.sender if self.submission.sender is not None else self.client.default_sender
        if sender is None:
            return [FieldError("sender", "required", "Give a sender: this client has no default sender.")]
        verdict = check_sender(sender, allowed=sender.strip() in self.client.senders)
        if verdict.error is not None or verdict.name is None:
            return [FieldError("sender", str(verdict.error), _sender_remedy(verdict))]
        self.sender_name = verdict.name
        self.warnings.extend(SendWarning(code=f"sender_{word}") for word in verdict.warnings)
        return []

    def _recipient_errors(self) -> list[FieldError]:
        recipients = self.submission.recipients
        if not recipients:
            return [FieldError("recipients", "required", "Give at least one recipient.")]
        if len(recipients) > MOST_RECIPIENTS:
            return [FieldError("recipients", "too_many", f"Give at most {MOST_RECIPIENTS} recipients in one request.")]
        if len(recipients) > MOST_RECIPIENTS_SYNCHRONOUS and not self.asynchronous:
            remedy = f"Above {MOST_RECIPIENTS_SYNCHRONOUS} recipients, send the header Prefer: respond-async."
            return [FieldError("recipients", ProblemCode.USE_ASYNC.value, remedy)]
        self.entries = parse_recipients(recipients, allow_foreign=self.rules.allow_foreign)
        bad = [(i, entry.reason) for i, entry in enumerate(self.entries) if entry.reason is not None]
        if not bad or (len(bad) < len(self.entries) and not self.submission.strict):
            return []
        return [
            FieldError(f"recipients[{i}]", reason.value, "Not a mobile number that can be sent to.")
            for i, reason in bad
        ]

    def _message_errors(self) -> list[FieldError]:
        message = self.submission.message
        if not message.strip():
            return [FieldError("message", "empty", "Give a message; one of blanks only is not sent.")]
        position = find_forbidden_character(message)
        if position is not None:
            remedy = f"Character {position} is a control character; only line feeds are allowed."
            return [FieldError("message", "control_character", remedy)]
        errors = []
        if self.text.non_gsm and self.submission.on_non_gsm is OnNonGsm.REJECT:
            remedy = f"{len(self.text.non_gsm)} characters, the first at {self.text.non_gsm[0]}, are outside GSM-7."
            errors.append(FieldError("message", ProblemCode.NON_GSM_TEXT.value, remedy))
        limit = min(self.submission.max_segments or MOST_SEGMENTS, MOST_SEGMENTS)
        if self.text.facts.segments > limit:
            remedy = f"The text takes {self.text.facts.segments} segments; at most {limit} are allowed here."
            errors.append(FieldError("message", ProblemCode.TOO_MANY_SEGMENTS.value, remedy))
        return errors

    def _reference_errors(self) -> list[FieldError]:
        errors = []
        reference = self.submission.reference
        if reference is not None and not _is_reference(reference):
            remedy = f"Use 1 to {LONGEST_REFERENCE} visible ASCII characters."
            errors.append(FieldError("reference", "malformed", remedy))
        segments = self.submission.max_segments
        if segments is not None and not 1 <= segments <= MOST_SEGMENTS:
            errors.append(FieldError("max_segments", "out_of_range", f"Give a number from 1 to {MOST_SEGMENTS}."))
        return errors

    def _callback_errors(self) -> list[FieldError]:
        url = self.submission.callback_url
        if url is None:
            return []
        if not self.asynchronous:
            remedy = "Only asynchronous notifications call back; send the header Prefer: respond-async."
            return [FieldError("callback_url", "asynchronous_only", remedy)]
        error = find_url_error(url, self.client.callback_hosts)
        return [] if error is None else [FieldError("callback_url", error.code, error.remedy)]

    def judge(self, now_ms: int) -> None:
        """Collect what a send would be refused for although every field is well formed."""
        self._judge_permissions()
        self._judge_words()
        self._judge_hours(now_ms)

    def _judge_permissions(self) -> None:
        message_type, requested = self.submission.message_type, self.submission.route
        if self.sender_name not in self.client.senders and self.sender_name != self.client.default_sender:
            self._refuse(ProblemCode.SENDER_NOT_ALLOWED, "This client may not use this sender; see its settings.")
        if message_type not in self.client.message_types:
            self._refuse(
                ProblemCode.MESSAGE_TYPE_NOT_ALLOWED, f"This client may not send {message_type.value} messages."
            )
        if requested not in self.client.routes:
            self._refuse(
                ProblemCode.ROUTE_NOT_ALLOWED, f"This client may not ask for the route {requested.value}; use auto."
            )
        try:
            self.route = choose_route(requested, message_type, self.rules.routes)
        except NotAllowed as refusal:
            self.refusals.append(refusal)

    def _judge_words(self) -> None:
        submission, matcher = self.submission, self.rules.matcher
        exceptions = self.client.word_exceptions
        in_sender = matcher.find(
            self.sender_name, field="sender", message_type=submission.message_type, exceptions=exceptions
        )
        in_message = matcher.find(
            submission.message, field="message", message_type=submission.message_type, exceptions=exceptions
        )
        self.found = [*in_sender, *in_message]
        blocking = () if submission.words_only_warn else ("block",)
        for found in self.found:
            if found.action not in blocking:
                self.warnings.append(_word_warning(found.hit))
        self._refuse_words([f.hit for f in in_sender if f.action in blocking], ProblemCode.BLOCKED_SENDER)
        self._refuse_words([f.hit for f in in_message if f.action in blocking], ProblemCode.BLOCKED_WORDS)

    def _refuse_words(self, hits: list[Hit], code: ProblemCode) -> None:
        if not hits:
            return
        if code is ProblemCode.BLOCKED_SENDER:
            detail = "The sender holds an entry of the block list; see hits."
            self.refusals.append(Blocked(ProblemCode.BLOCKED_SENDER, detail, detected_by="relay", hits=hits))
        else:
            detail = "The message holds entries of the block list for this message type; see hits, and reword it."
            self.refusals.append(Blocked(ProblemCode.BLOCKED_WORDS, detail, detected_by="relay", hits=hits))

    def _judge_hours(self, now_ms: int) -> None:
        window = self.rules.quiet_hours.get(self.submission.message_type)
        until = quiet_until(window, now_ms) if window is not None else None
        if until is None:
            return
        if self.asynchronous:
            self.held_until = until
            return
        detail = "Messages of this type are not sent at this hour. Send later, or with Prefer: respond-async."
        self.refusals.append(QuietHours(detail, allowed_from=until, retry_after_seconds=(until - now_ms) / 1000))

    def plan(self, upstream: Upstream) -> tuple[PlannedCall, ...]:
        """Split the recipients into calls.

        Raises:
            ValidationFailed: not even one recipient fits into a URL.
        """
        route = self.route.used if self.route is not None else Route.NORMAL
        dialable = [i for i, e in enumerate(self.entries) if e.number is not None and e.duplicate_of is None]
        numbers = [self.entries[i].number or "" for i in dialable]
        try:
            chunks = upstream.chunk(self.sender_name, self.text.message, route, numbers)
        except MessageTooLongEncoded:
            remedy = "The text is too long once percent-encoded for the upstream's URL; shorten it or use fold."
            error = FieldError("message", ProblemCode.MESSAGE_TOO_LONG_ENCODED.value, remedy)
            raise validation_failed([error]) from None
        return tuple(PlannedCall(route=route, recipients=tuple(dialable[p] for p in chunk)) for chunk in chunks)

    def _refuse(self, code: ProblemCode, detail: str) -> None:
        self.refusals.append(NotAllowed(code, detail))


def _sender_remedy(verdict: SenderVerdict) -> str:
    remedies = {
        "empty": "Give a sender ID.",
        "numeric": "A sender ID needs a letter: one of digits only is rewritten or dropped by networks.",
        "bad_character": "Use ASCII letters, digits, single blanks, dot, hyphen or ampersand.",
        "too_short": "Use at least 3 characters.",
        "too_long": "Use at most 11 characters; the relay never cuts a name.",
        "reserved": "This name belongs to a network, bank or authority; the operator can put it on the allow list.",
    }
    return remedies.get(str(verdict.error), "This sender ID cannot be used.")


def _word_warning(hit: Hit) -> SendWarning:
    return SendWarning(code="listed_word", entry=hit.entry, category=hit.category, start=hit.start, end=hit.end)


def _is_reference(text: str) -> bool:
    return 0 < len(text) <= LONGEST_REFERENCE and all("!" <= character <= "~" for character in text)
