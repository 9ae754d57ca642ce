"""The first stage: is this request one that can be sent, and how would it go out? Pure; a preview is this and no more.

Judging comes in two steps. Field errors are found all at once and end the matter (``fields``). What is well formed may
still be refused (not allowed, blocked words, quiet hours): those refusals are collected in the order in which a send
would meet them, so that a preview can show all of them.
"""

from collections.abc import Mapping

from msgspec import Struct

from relay.domain.blocked_words import Found, WordMatcher
from relay.domain.clients import Client
from relay.domain.codes import MessageType, ProblemCode, Route
from relay.domain.errors import Blocked, FieldError, NotAllowed, QuietHours, Refusal, ValidationFailed
from relay.domain.notification import Entry, Hit, PlannedCall, RouteDecision, SendWarning, TextFacts
from relay.domain.routing import QuietWindow, choose_route, quiet_until
from relay.sending.fields import MOST_SEGMENTS, Fields, is_well_formed, validation_failed
from relay.sending.ports import MessageTooLongEncoded, Upstream
from relay.sending.requests import Preview, PreviewProblem, Submission


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
    found: tuple[tuple[str, Found], ...]
    """What the word lists found, each with the field that it is in."""
    warnings: tuple[SendWarning, ...]
    held_until: int | None
    refusals: tuple[Refusal, ...]

    @property
    def dialable(self) -> int:
        """How many recipients would be called."""
        return sum(1 for entry in self.entries if entry.number is not None and entry.duplicate_of is None)

    @property
    def hits(self) -> tuple[Hit, ...]:
        """What the word lists found, whether it blocks or warns."""
        return tuple(found.hit for _, found in self.found)


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
    fields = Fields(submission, client, allow_foreign=rules.allow_foreign, asynchronous=asynchronous)
    too_long = fields.text.facts.segments > MOST_SEGMENTS  # not even a preview searches a text of any length for words
    if too_long or not all(is_well_formed(error) for error in fields.errors):
        raise validation_failed(fields.errors)
    judge = _Judge(fields, rules)
    if fields.errors:
        judge.refusals.append(validation_failed(fields.errors))
    judge.judge(now_ms)
    calls = judge.plan(upstream)
    return Prepared(
        submission=submission,
        sender=fields.sender,
        entries=fields.entries,
        message=fields.text.message,
        text=fields.text.facts,
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
    fields = Fields(submission, client, allow_foreign=rules.allow_foreign, asynchronous=asynchronous)
    return tuple(error for error in fields.errors if error.field.split("[")[0] not in skip)


def preview_of(prepared: Prepared) -> Preview:
    """Show a prepared request; units are an estimate (one a segment and recipient), the upstream counts its own way."""
    return Preview(
        problems=tuple(_problem(refusal) for refusal in prepared.refusals),
        sender=prepared.sender,
        route=prepared.route,
        text=prepared.text,
        entries=prepared.entries,
        hits=prepared.hits,
        warnings=prepared.warnings,
        calls=len(prepared.calls),
        estimated_units=prepared.dialable * prepared.text.segments,
    )


def _problem(refusal: Refusal) -> PreviewProblem:
    errors = refusal.errors if isinstance(refusal, ValidationFailed) else ()
    return PreviewProblem(code=refusal.code, detail=refusal.detail, errors=errors)


class _Judge:
    """One well-formed request on its way through the rules."""

    def __init__(self, fields: Fields, rules: Rules) -> None:
        self.fields = fields
        self.submission = fields.submission
        self.client = fields.client
        self.rules = rules
        self.route: RouteDecision | None = None
        self.found: list[tuple[str, Found]] = []
        self.warnings: list[SendWarning] = list(fields.warnings)
        self.held_until: int | None = None
        self.refusals: list[Refusal] = []

    def judge(self, now_ms: int) -> None:
        """Collect what a send would be refused for although every field is well formed."""
        self._judge_permissions()
        self._judge_words()
        self._judge_hours(now_ms)

    def _judge_permissions(self) -> None:
        message_type, requested = self.submission.message_type, self.submission.route
        if not self.client.may_use(self.fields.sender):
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
            self.fields.sender, field="sender", message_type=submission.message_type, exceptions=exceptions
        )
        in_message = matcher.find(
            submission.message, field="message", message_type=submission.message_type, exceptions=exceptions
        )
        self.found = [*(("sender", found) for found in in_sender), *(("message", found) for found in in_message)]
        blocking = () if submission.words_only_warn else ("block",)
        for _, found in self.found:
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
        if self.fields.asynchronous:
            self.held_until = until
            return
        detail = "Messages of this type are not sent at this hour. Send later, or with Prefer: respond-async."
        self.refusals.append(QuietHours(detail, allowed_from=until, retry_after_seconds=(until - now_ms) / 1000))

    def plan(self, upstream: Upstream) -> tuple[PlannedCall, ...]:
        """Split the recipients into calls; where not even one fits into a URL, that is a refusal."""
        route = self.route.used if self.route is not None else Route.NORMAL
        dialable = [i for i, e in enumerate(self.fields.entries) if e.number is not None and e.duplicate_of is None]
        numbers = [self.fields.entries[i].number or "" for i in dialable]
        try:
            chunks = upstream.chunk(self.fields.sender, self.fields.text.message, route, numbers)
        except MessageTooLongEncoded:
            remedy = "The text is too long once percent-encoded for the upstream's URL; shorten it or use fold."
            error = FieldError("message", ProblemCode.MESSAGE_TOO_LONG_ENCODED.value, remedy)
            self.refusals.insert(0, validation_failed([error]))
            return ()
        return tuple(PlannedCall(route=route, recipients=tuple(dialable[p] for p in chunk)) for chunk in chunks)

    def _refuse(self, code: ProblemCode, detail: str) -> None:
        self.refusals.append(NotAllowed(code, detail))


def _word_warning(hit: Hit) -> SendWarning:
    return SendWarning(code="listed_word", entry=hit.entry, category=hit.category, start=hit.start, end=hit.end)
