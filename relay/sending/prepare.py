"""The first stage: is this request one that can be sent, and how would it go out? Pure; a preview is this and no more.

An evaluation has two steps. Field errors are found all at once and end it: by our own names, without a value of the
caller's. What is well formed may still be refused (not allowed, blocked words, quiet hours): those refusals are
collected in the order in which a send would meet them, so that a preview can show all of them.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from relay.domain.callback_rules import find_url_error
from relay.domain.clients import Client
from relay.domain.codes import FIELD_PROBLEMS, AccountReason, Code, MessageType, OnNonGsm, ProblemCode, Route, Status
from relay.domain.errors import Blocked, FieldError, NotAllowed, OutsideHours, Refusal, ValidationFailed
from relay.domain.hours import Closed, DeliveryWindow, NoCommonHours, find_closed, find_zone, read_minute
from relay.domain.notification import Entry, Hit, PlannedCall, RouteDecision, SendWarning, TextFacts
from relay.domain.numbers import parse_recipients
from relay.domain.routing import choose_route
from relay.domain.senders import SenderVerdict, check_sender
from relay.domain.templates import FilledTemplate, TemplateBook
from relay.domain.text import MOST_SEGMENTS, find_forbidden_character, prepare_text
from relay.domain.usage import Prices
from relay.domain.words import WordMatch, WordMatcher
from relay.sending.ports import MessageTooLongEncoded, Upstream
from relay.sending.requests import Preview, PreviewProblem, Submission

MOST_RECIPIENTS = 10_000
MOST_RECIPIENTS_SYNCHRONOUS = 100
LONGEST_REFERENCE = 64
MOST_DAYS_AHEAD = 35
"""Of ``send_at``."""

TOO_FAR_AHEAD = "too_far_ahead"
_DEFAULT_PRICES = Prices()
_DAY_MS = 86_400_000

_OWN_PROBLEM: dict[str, ProblemCode] = {code.value: code for code in FIELD_PROBLEMS}


def validation_failed(errors: Sequence[FieldError]) -> ValidationFailed:
    """Make one refusal of all field errors; a problem of its own keeps its own code where nothing else is wrong."""
    if len({error.code for error in errors}) == 1 and (own := _OWN_PROBLEM.get(errors[0].code)) is not None:
        return ValidationFailed(errors, code=own, detail=errors[0].message)
    return ValidationFailed(errors)


def find_send_at_error(send_at: int, now_ms: int) -> FieldError | None:
    """Say that a notification may not be sent so late."""
    if send_at <= now_ms + MOST_DAYS_AHEAD * _DAY_MS:
        return None
    return FieldError("send_at", TOO_FAR_AHEAD, f"Give a time at most {MOST_DAYS_AHEAD} days ahead.")


def is_well_formed(error: FieldError) -> bool:
    """Whether a request with this error is well formed all the same: a preview shows it, a claimed key is honoured."""
    return error.code in _OWN_PROBLEM or error.code == TOO_FAR_AHEAD


class Rules(Struct, frozen=True, kw_only=True):
    """What judging depends on; replaced as a whole when settings or word lists reload."""

    matcher: WordMatcher
    routes: Mapping[MessageType, Route]
    hours: Mapping[MessageType, DeliveryWindow]
    """When messages of a type are sent; what is absent is sent at any time."""
    templates: TemplateBook = TemplateBook()
    allow_foreign: bool = False


class Prepared(Struct, frozen=True, kw_only=True):
    """A well-formed request, as it would go out. ``refusals`` are what a send of it would be refused for, in order."""

    submission: Submission
    sender: str
    entries: tuple[Entry, ...]
    template: FilledTemplate | None
    message: str
    text: TextFacts
    route: RouteDecision | None
    calls: tuple[PlannedCall, ...]
    found: tuple[tuple[str, WordMatch], ...]
    """What the word lists found, each with the field that it is in."""
    warnings: tuple[SendWarning, ...]
    windows: tuple[DeliveryWindow, ...]
    """The request's own and the client's."""
    closed: Closed | None
    """Until when it is held, where it may not be sent now or at its ``send_at``."""
    refusals: tuple[Refusal, ...]

    def numbers(self) -> dict[int, str]:
        """The numbers that would be called, by the place of their entries."""
        return {
            index: entry.number
            for index, entry in enumerate(self.entries)
            if entry.number is not None and entry.duplicate_of is None
        }

    @property
    def dialable(self) -> int:
        """How many recipients would be called."""
        return sum(1 for entry in self.entries if entry.number is not None and entry.duplicate_of is None)

    @property
    def hits(self) -> tuple[Hit, ...]:
        """What the word lists found, whether it blocks or warns."""
        return tuple(found.hit for _, found in self.found)


def prepare(
    submission: Submission,
    client: Client,
    rules: Rules,
    upstream: Upstream,
    *,
    asynchronous: bool,
    now_ms: int,
    registered: bool = True,
) -> Prepared:
    """Judge a request.

    Args:
        submission: what was asked.
        client: who asks.
        rules: lists, routes and hours as they stand now.
        upstream: the account that comes first; it knows how many recipients fit into a call.
        registered: whether the sender is registered at one of the client's accounts.
        asynchronous: whether the caller does not wait.
        now_ms: wall-clock milliseconds, for quiet hours.

    Raises:
        ValidationFailed: with every field error at once.
    """
    evaluation = Evaluation(submission, client, rules, asynchronous=asynchronous, now_ms=now_ms)
    errors = evaluation.errors
    # Not even a preview searches a text of any length for words.
    too_long = evaluation.text.facts.segments > MOST_SEGMENTS
    if too_long or not all(is_well_formed(error) for error in errors):
        raise validation_failed(errors)
    if errors:
        evaluation.refusals.append(validation_failed(errors))
    evaluation.check_permissions(registered=registered)
    evaluation.check_words()
    evaluation.check_hours()
    calls = evaluation.plan(upstream)
    return Prepared(
        submission=evaluation.submission,
        sender=evaluation.sender,
        entries=evaluation.entries,
        template=evaluation.template,
        message=evaluation.text.message,
        text=evaluation.text.facts,
        route=evaluation.route,
        calls=calls,
        found=tuple(evaluation.found),
        warnings=tuple(evaluation.warnings),
        windows=tuple(evaluation.windows),
        closed=evaluation.closed,
        refusals=tuple(evaluation.refusals),
    )


def find_field_errors(
    submission: Submission, client: Client, rules: Rules, *, asynchronous: bool, now_ms: int, skip: frozenset[str]
) -> tuple[FieldError, ...]:
    """Find what is wrong with the fields that are not in ``skip``."""
    evaluation = Evaluation(submission, client, rules, asynchronous=asynchronous, now_ms=now_ms)
    return tuple(error for error in evaluation.errors if re.split(r"[.[]", error.field)[0] not in skip)


def preview_of(
    prepared: Prepared,
    suppressed: tuple[int, ...] = (),
    account: str | None = None,
    account_reason: AccountReason | None = None,
    prices: Prices = _DEFAULT_PRICES,
) -> Preview:
    """Show a prepared request; its units are an estimate.

    Args:
        suppressed: the places of entries that are not to be written to.
        account: the one that would take it now.
        account_reason: why that is not the first.
        prices: of that account, or of the first where none would take it.
    """
    route = Route.NORMAL if prepared.route is None else prepared.route.used
    segments = (prepared.dialable - len(suppressed)) * prepared.text.segments
    return Preview(
        problems=tuple(_problem(refusal) for refusal in prepared.refusals),
        sender=prepared.sender,
        route=prepared.route,
        text=prepared.text,
        entries=prepared.entries,
        hits=prepared.hits,
        warnings=prepared.warnings,
        suppressed=suppressed,
        calls=sum(1 for call in prepared.calls if not set(call.recipients) <= set(suppressed)),
        estimated_units=segments * prices.of(route, Status.SENT),
        account=account,
        account_reason=account_reason,
    )


def _problem(refusal: Refusal) -> PreviewProblem:
    errors = refusal.errors if isinstance(refusal, ValidationFailed) else ()
    return PreviewProblem(code=refusal.code, detail=refusal.detail, errors=errors)


_Field = Literal["sender", "message"]
_BLOCKED: dict[_Field, tuple[Literal[ProblemCode.BLOCKED_SENDER, ProblemCode.BLOCKED_WORDS], str]] = {
    "sender": (ProblemCode.BLOCKED_SENDER, "The sender holds an entry of the block list; see hits."),
    "message": (
        ProblemCode.BLOCKED_WORDS,
        "The message holds entries of the block list for this message type; see hits, and reword it.",
    ),
}


_CLOSED = {
    Code.HELD_QUIET_HOURS: (
        ProblemCode.QUIET_HOURS,
        "Messages of this type are not sent at this hour. Send later, or with Prefer: respond-async.",
    ),
    Code.HELD_WINDOW: (
        ProblemCode.OUTSIDE_WINDOW,
        "It is outside the delivery window. Send later, or with Prefer: respond-async.",
    ),
}
_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


class Evaluation:
    """One request on its way through the rules.

    ``errors`` are all that is wrong with its fields; ``refusals`` what it would be refused for although they are well
    formed; the rest is what the request comes to.
    """

    def __init__(
        self, submission: Submission, client: Client, rules: Rules, *, asynchronous: bool, now_ms: int
    ) -> None:
        self.template: FilledTemplate | None = None
        self.template_errors: list[FieldError] = []
        if submission.template is not None:
            self.template, self.template_errors = rules.templates.fill(submission.template)
        if self.template is not None:
            submission = replace(
                submission, message=self.template.text, message_type=self.template.template.message_type
            )
        if submission.billing_code is None and client.default_billing_code is not None:
            submission = replace(submission, billing_code=client.default_billing_code)
        self.submission = submission
        self.client = client
        self.rules = rules
        self.asynchronous = asynchronous
        self.now_ms = now_ms
        self.sender = ""
        self.entries: tuple[Entry, ...] = ()
        self.route: RouteDecision | None = None
        self.found: list[tuple[str, WordMatch]] = []
        self.warnings: list[SendWarning] = []
        self.windows: list[DeliveryWindow] = []
        self.closed: Closed | None = None
        self.refusals: list[Refusal] = []
        self.text = prepare_text(submission.message, submission.on_non_gsm)
        self.errors = [
            *self._check_sender(),
            *self._check_recipients(),
            *self._check_message(),
            *self._check_options(),
            *self._check_times(),
            *self._check_window(),
        ]

    # --- fields -----------------------------------------------------------------------------------------------------

    def _check_sender(self) -> list[FieldError]:
        sender = self.submission.sender if self.submission.sender is not None else self.client.default_sender
        if sender is None:
            return [FieldError("sender", "required", "Give a sender: this client has no default sender.")]
        verdict = check_sender(sender, allowed=self.client.may_use(sender.strip()))
        if verdict.error is not None or verdict.name is None:
            return [FieldError("sender", str(verdict.error), _sender_remedy(verdict))]
        self.sender = verdict.name
        self.warnings.extend(SendWarning(code=f"sender_{word}") for word in verdict.warnings)
        return []

    def _check_recipients(self) -> list[FieldError]:
        recipients, errors = self.submission.recipients, list[FieldError]()
        if not recipients:
            return [FieldError("recipients", "required", "Give at least one recipient.")]
        if len(recipients) > MOST_RECIPIENTS:
            return [FieldError("recipients", "too_many", f"Give at most {MOST_RECIPIENTS} recipients in one request.")]
        if len(recipients) > MOST_RECIPIENTS_SYNCHRONOUS and not self.asynchronous:
            remedy = f"Above {MOST_RECIPIENTS_SYNCHRONOUS} recipients, send the header Prefer: respond-async."
            errors.append(FieldError("recipients", ProblemCode.USE_ASYNC.value, remedy))
        self.entries = self.submission.entries or parse_recipients(recipients, allow_foreign=self.rules.allow_foreign)
        bad = [(i, entry.reason) for i, entry in enumerate(self.entries) if entry.reason is not None]
        if bad and (len(bad) == len(self.entries) or self.submission.strict):
            remedy = "Not a mobile number that can be sent to."
            errors += [FieldError(f"recipients[{i}]", reason.value, remedy) for i, reason in bad]
        return errors

    def _check_message(self) -> list[FieldError]:
        message = self.submission.message
        if self.submission.template is not None:
            return [*self.template_errors, *(self._check_length("template") if self.template is not None else ())]
        if not message.strip():
            return [FieldError("message", "empty", "Give a message; one of blanks only is not sent.")]
        position = find_forbidden_character(message)
        if position is not None:
            remedy = f"Character {position} is a control character; only line feeds are allowed."
            return [FieldError("message", "control_character", remedy)]
        return self._check_length("message")

    def _check_length(self, field: str) -> list[FieldError]:
        errors = []
        if self.text.non_gsm and self.submission.on_non_gsm is OnNonGsm.REJECT:
            remedy = f"Characters outside GSM-7: {len(self.text.non_gsm)}, the first at {self.text.non_gsm[0]}."
            errors.append(FieldError(field, ProblemCode.NON_GSM_TEXT.value, remedy))
        limit = min(self.submission.max_segments or MOST_SEGMENTS, MOST_SEGMENTS)
        if self.text.facts.segments > limit:
            remedy = f"The text takes {self.text.facts.segments} segments; at most {limit} are allowed here."
            errors.append(FieldError(field, ProblemCode.TOO_MANY_SEGMENTS.value, remedy))
        return errors

    def _check_options(self) -> list[FieldError]:
        errors = []
        reference, segments, url = self.submission.reference, self.submission.max_segments, self.submission.callback_url
        if reference is not None and not _is_reference(reference):
            remedy = f"Use 1 to {LONGEST_REFERENCE} visible ASCII characters."
            errors.append(FieldError("reference", "malformed", remedy))
        code = self.submission.billing_code
        if code is not None and not _is_reference(code):
            remedy = f"Use 1 to {LONGEST_REFERENCE} visible ASCII characters."
            errors.append(FieldError("billing_code", "malformed", remedy))
        if segments is not None and not 1 <= segments <= MOST_SEGMENTS:
            errors.append(FieldError("max_segments", "out_of_range", f"Give a number from 1 to {MOST_SEGMENTS}."))
        if url is not None and not self.asynchronous:
            remedy = "Only asynchronous notifications call back; send the header Prefer: respond-async."
            errors.append(FieldError("callback_url", "asynchronous_only", remedy))
        elif url is not None and (error := find_url_error(url, self.client.callback_hosts)) is not None:
            errors.append(FieldError("callback_url", error.code, error.remedy))
        return errors

    def _check_times(self) -> list[FieldError]:
        send_at, expires_at, errors = self.submission.send_at, self.submission.expires_at, list[FieldError]()
        if send_at is None:
            return errors
        if not self.asynchronous:
            remedy = "Nobody waits for a later time: send the header Prefer: respond-async."
            errors.append(FieldError("send_at", ProblemCode.USE_ASYNC.value, remedy))
        if (error := find_send_at_error(send_at, self.now_ms)) is not None:
            errors.append(error)
        if expires_at is not None and expires_at <= send_at:
            errors.append(FieldError("expires_at", "not_after_send_at", "Give a time later than send_at."))
        return errors

    def _check_window(self) -> list[FieldError]:
        """Read the request's own window; the client's holds everything but codes."""
        if self.client.delivery_window is not None and self.submission.message_type is not MessageType.OTP:
            self.windows.append(self.client.delivery_window)
        asked = self.submission.delivery_window
        if asked is None:
            return []
        errors = [
            FieldError(f"delivery_window.{field}", "malformed", "Give a time of the day, like 08:00.")
            for field, text in (("from", asked.begin), ("to", asked.end))
            if _TIME_OF_DAY.fullmatch(text) is None
        ]
        if find_zone(asked.time_zone) is None:
            remedy = "Give a zone of the IANA database, like Africa/Lagos."
            errors.append(FieldError("delivery_window.time_zone", "unknown_time_zone", remedy))
        if asked.begin == asked.end:
            errors.append(FieldError("delivery_window.to", "same_as_from", "Give another time than from."))
        if not errors:
            begin, end = read_minute(asked.begin), read_minute(asked.end)
            self.windows.insert(0, DeliveryWindow(begin, end, asked.time_zone))
        return errors

    # --- what is well formed, and may be refused ---------------------------------------------------------------------

    def check_permissions(self, *, registered: bool) -> None:
        """Whether the client may do this: template, sender, message type, route."""
        message_type, requested = self.submission.message_type, self.submission.route
        if self.client.templates_only and self.submission.template is None and self.submission.resend_of is None:
            detail = "This client sends by templates only: name one, with its values. GET /v1/templates lists them."
            self._refuse(ProblemCode.TEMPLATE_REQUIRED, detail)
        if not self.client.may_use(self.sender):
            self._refuse(ProblemCode.SENDER_NOT_ALLOWED, "This client may not use this sender; see its settings.")
        elif not registered:
            detail = "This sender is registered at none of the client's accounts; the operator can add it to one."
            self._refuse(ProblemCode.SENDER_NOT_ALLOWED, detail)
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

    def check_words(self) -> None:
        """Search sender and message for the words of the lists."""
        submission, refusals = self.submission, []
        blocking = () if submission.words_only_warn else ("block",)
        texts: dict[_Field, str] = {"sender": self.sender, "message": submission.message}
        for field, text in texts.items():
            found = self.rules.matcher.find(
                text, field=field, message_type=submission.message_type, exceptions=self.client.word_exceptions
            )
            self.found += [(field, one) for one in found]
            hits = [one.hit for one in found if one.action in blocking]
            if hits:
                code, detail = _BLOCKED[field]
                refusals.append(Blocked(code, detail, detected_by="relay", hits=hits))
            self.warnings += [_word_warning(one.hit) for one in found if one.action not in blocking]
        self.refusals += refusals

    def check_hours(self) -> None:
        """Whether it may be sent at its time; who does not wait is held, who waits is refused."""
        hours = self.rules.hours.get(self.submission.message_type)
        windows = self.windows if hours is None else [hours, *self.windows]
        try:
            self.closed = find_closed(windows, max(self.now_ms, self.submission.send_at or 0))
        except NoCommonHours:
            remedy = "This window and the other hours that hold for the message have no time in common."
            self.refusals.append(validation_failed([FieldError("delivery_window", "no_common_hours", remedy)]))
        if self.closed is None or self.asynchronous:
            return
        code, detail = _CLOSED[self.closed.code]
        until, seconds = self.closed.until, (self.closed.until - self.now_ms) / 1000
        self.refusals.append(OutsideHours(code, detail, allowed_from=until, retry_after_seconds=seconds))

    def plan(self, upstream: Upstream) -> tuple[PlannedCall, ...]:
        """Split the recipients into calls; where not even one fits into a URL, that is a refusal."""
        route = self.route.used if self.route is not None else Route.NORMAL
        dialable = [i for i, e in enumerate(self.entries) if e.number is not None and e.duplicate_of is None]
        numbers = [self.entries[i].number or "" for i in dialable]
        try:
            chunks = upstream.chunk(self.sender, self.text.message, route, numbers)
        except MessageTooLongEncoded:
            remedy = "The text is too long once percent-encoded for the upstream's URL; shorten it or use fold."
            field = "message" if self.template is None else "template"
            error = FieldError(field, ProblemCode.MESSAGE_TOO_LONG_ENCODED.value, remedy)
            self.refusals.insert(0, validation_failed([error]))
            return ()
        return tuple(PlannedCall(route=route, recipients=tuple(dialable[p] for p in chunk)) for chunk in chunks)

    def _refuse(self, code: ProblemCode, detail: str) -> None:
        self.refusals.append(NotAllowed(code, detail))


def _word_warning(hit: Hit) -> SendWarning:
    return SendWarning(code="listed_word", entry=hit.entry, category=hit.category, start=hit.start, end=hit.end)


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


def _is_reference(text: str) -> bool:
    return 0 < len(text) <= LONGEST_REFERENCE and all("!" <= character <= "~" for character in text)
