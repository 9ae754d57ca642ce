"""The answer to a preview: how a request would go out, and what it would be refused for."""

from msgspec import Struct

from relay.domain.codes import AccountReason, Code
from relay.domain.notification import Entry, Hit, RouteDecision, SendWarning, TextFacts
from relay.domain.usage import format_units
from relay.sending.requests import Preview, PreviewProblem


class PreviewRecipient(Struct, frozen=True, omit_defaults=True):
    """One requested number: what it comes to, or why it is refused; `suppressed` where it is not to be written to."""

    input: str
    recipient: str | None = None
    reason: str | None = None


class PreviewBody(Struct, frozen=True, kw_only=True):
    """How a request would go out, and what it would be refused for."""

    acceptable: bool
    problems: tuple[PreviewProblem, ...]
    route: RouteDecision | None
    text: TextFacts
    recipients: list[PreviewRecipient]
    hits: tuple[Hit, ...]
    warnings: tuple[SendWarning, ...]
    calls: int
    estimated_units: str
    account: str | None
    account_reason: AccountReason | None


def build_preview(preview: Preview) -> PreviewBody:
    """Make the body of the answer to a preview."""
    return PreviewBody(
        acceptable=not preview.problems,
        problems=preview.problems,
        route=preview.route,
        text=preview.text,
        recipients=[
            _preview_recipient(entry, suppressed=index in preview.suppressed)
            for index, entry in enumerate(preview.entries)
        ],
        hits=preview.hits,
        warnings=preview.warnings,
        calls=preview.calls,
        estimated_units=format_units(preview.estimated_units),
        account=preview.account,
        account_reason=preview.account_reason,
    )


def _preview_recipient(entry: Entry, *, suppressed: bool) -> PreviewRecipient:
    reason = None if entry.reason is None else entry.reason.value
    return PreviewRecipient(entry.input, entry.number, Code.SUPPRESSED.value if suppressed else reason)
