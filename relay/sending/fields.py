"""What is wrong with the fields of a request: everything at once, by our own names, without a value of the caller's."""

from collections.abc import Sequence

from relay.domain.callbacks import find_url_error
from relay.domain.clients import Client
from relay.domain.codes import OnNonGsm, ProblemCode
from relay.domain.errors import FieldError, ValidationFailed
from relay.domain.notification import Entry, SendWarning
from relay.domain.numbers import parse_recipients
from relay.domain.senders import SenderVerdict, check_sender
from relay.domain.text import find_forbidden_character, prepare_text
from relay.sending.requests import Submission

MOST_RECIPIENTS = 10_000
MOST_RECIPIENTS_SYNCHRONOUS = 100
MOST_SEGMENTS = 10
LONGEST_REFERENCE = 64

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


def validation_failed(errors: Sequence[FieldError]) -> ValidationFailed:
    """Make one refusal of all field errors; a lone error that is a problem of its own keeps its own code."""
    if len(errors) == 1 and (own := _OWN_PROBLEM.get(errors[0].code)) is not None:
        return ValidationFailed(errors, code=own, detail=errors[0].message)
    return ValidationFailed(errors)


def is_well_formed(error: FieldError) -> bool:
    """Whether a request with this error is well formed all the same: a preview shows it, a claimed key is honoured."""
    return error.code in _OWN_PROBLEM


class Fields:
    """A request's fields, checked: ``errors`` are all that is wrong; the rest is what the fields come to.

    Args:
        submission: the request.
        client: who asks; knows default sender, allow list, callback hosts.
        allow_foreign: whether numbers of other countries are taken.
        asynchronous: whether the caller does not wait.
    """

    def __init__(self, submission: Submission, client: Client, *, allow_foreign: bool, asynchronous: bool) -> None:
        self.submission = submission
        self.client = client
        self.allow_foreign = allow_foreign
        self.asynchronous = asynchronous
        self.sender = ""
        self.entries: tuple[Entry, ...] = ()
        self.warnings: list[SendWarning] = []
        self.text = prepare_text(submission.message, submission.on_non_gsm)
        self.errors = self._find_errors()

    def _find_errors(self) -> list[FieldError]:
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
        verdict = check_sender(sender, allowed=self.client.may_use(sender.strip()))
        if verdict.error is not None or verdict.name is None:
            return [FieldError("sender", str(verdict.error), _sender_remedy(verdict))]
        self.sender = verdict.name
        self.warnings.extend(SendWarning(code=f"sender_{word}") for word in verdict.warnings)
        return []

    def _recipient_errors(self) -> list[FieldError]:
        recipients, errors = self.submission.recipients, list[FieldError]()
        if not recipients:
            return [FieldError("recipients", "required", "Give at least one recipient.")]
        if len(recipients) > MOST_RECIPIENTS:
            return [FieldError("recipients", "too_many", f"Give at most {MOST_RECIPIENTS} recipients in one request.")]
        if len(recipients) > MOST_RECIPIENTS_SYNCHRONOUS and not self.asynchronous:
            remedy = f"Above {MOST_RECIPIENTS_SYNCHRONOUS} recipients, send the header Prefer: respond-async."
            errors.append(FieldError("recipients", ProblemCode.USE_ASYNC.value, remedy))
        self.entries = parse_recipients(recipients, allow_foreign=self.allow_foreign)
        bad = [(i, entry.reason) for i, entry in enumerate(self.entries) if entry.reason is not None]
        if bad and (len(bad) == len(self.entries) or self.submission.strict):
            remedy = "Not a mobile number that can be sent to."
            errors += [FieldError(f"recipients[{i}]", reason.value, remedy) for i, reason in bad]
        return errors

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
