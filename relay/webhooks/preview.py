"""What a receiver would be sent for a body, to be read by a person before anything is: ``relay preview``. Pure."""

from relay.domain.text import prepare_text
from relay.sending.requests import Submission
from relay.webhooks.alertmanager import parse_alerts
from relay.webhooks.receivers import Receiver, page_alerts


def render_preview(receiver: Receiver, body: bytes, now_ms: int) -> str:
    """Show the texts that a webhook body of Alertmanager or Grafana comes to.

    Args:
        receiver: whom it is for.
        body: what would be posted.
        now_ms: wall-clock milliseconds, for the age of the alerts.

    Returns:
        Each text with its size and how many get it; what failed or reaches nobody; one line where nothing is sent.

    Raises:
        AlertBodyError: the body is none.
    """
    notes: list[str] = []
    pages = page_alerts(receiver, parse_alerts(body), now_ms, lambda cause: notes.append(_failed(cause)))
    if pages.unaddressed:
        notes.append(f"Alerts that reach nobody: {pages.unaddressed}; no label names a number that is allowed.")
    texts = [_show(page) for page in pages.submissions]
    if not texts and not notes:
        notes.append("Nothing would be sent: this receiver gets no resolved alerts.")
    return "\n\n".join([*texts, *dict.fromkeys(notes)])


def _show(page: Submission) -> str:
    facts = prepare_text(page.message, page.on_non_gsm).facts
    size = f"segments: {facts.segments}, characters: {facts.characters}, {facts.encoding.value}"
    return f"{page.message}\n-- {size}, recipients: {len(page.recipients)}"


def _failed(cause: str) -> str:
    return f"The template failed ({cause}); this is the default text."
