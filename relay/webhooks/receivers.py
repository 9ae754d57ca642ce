"""Receivers: whom a webhook's alerts go to, and as what text. From what was told to what is handed to the core. Pure.

Nobody outside chooses a number: what an alert's label or a generic body names must stand on the receiver's allow list,
unless its settings trust the sender with the choice (``any_recipient``).
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from relay.domain.codes import MessageType, NumberReason, Source
from relay.domain.numbers import parse_number
from relay.sending.ports import Deduplication
from relay.sending.requests import AskedWindow, Submission
from relay.settings import ReceiverSettings
from relay.webhooks.alerts import AlertGroup, deduplication_key, name_parts
from relay.webhooks.generic import MOST_RECIPIENTS, FieldMapping, GenericMessage
from relay.webhooks.rendering import Wish, clean_lines, render_alerts, shorten
from relay.webhooks.signatures import Signature, make_signatures
from relay.webhooks.templates import AlertTemplate, TemplateFailed

DEDUPLICATION_MS = 600_000
"""How long the same group is the same page: HA peers and retries come within it, repeats after it (SPEC section 8)."""

_BETWEEN_NUMBERS = re.compile(r"[,;/|\n]")

TemplateTrouble = Callable[[str], None]
"""Told the cause when a template failed and the default text goes out."""


class Receiver(Struct, frozen=True, kw_only=True):
    """One receiver of the settings, compiled. ``allowed`` has the numbers that others may name, normalized."""

    name: str
    client: str
    sender: str | None
    recipients: tuple[str, ...]
    recipients_label: str | None
    allowed: frozenset[str]
    template: AlertTemplate | None
    wish: Wish
    message_type: MessageType
    resolved: bool
    expires_ms: int
    mapping: FieldMapping
    preset: str | None = None
    any_recipient: bool = False
    signatures: Mapping[Source, Signature] = {}
    key_header: bytes | None = None
    attribute_headers: bytes | None = None
    window: AskedWindow | None = None
    repeat_window_seconds: int = 0


class PagingPlan(Struct, frozen=True):
    """What one webhook comes to: a submission for each set of recipients, and how many alerts reach nobody."""

    submissions: tuple[Submission, ...]
    unaddressed: int = 0


def make_receivers(settings: Iterable[ReceiverSettings]) -> dict[str, Receiver]:
    """Compile the receivers of the settings, by name."""
    return {receiver.name: _make_receiver(receiver) for receiver in settings}


def _make_receiver(settings: ReceiverSettings) -> Receiver:
    window = settings.delivery_window
    return Receiver(
        name=settings.name,
        client=settings.client,
        sender=settings.sender,
        recipients=settings.recipients,
        recipients_label=settings.recipients_label,
        allowed=frozenset(_normalize(number) for number in settings.recipients_allowed) - {""},
        template=None if settings.template is None else AlertTemplate(settings.template),
        wish=Wish(settings.max_segments, settings.on_non_gsm),
        message_type=settings.message_type,
        resolved=settings.resolved,
        expires_ms=settings.expires_seconds * 1000,
        mapping=FieldMapping(settings.fields),
        preset=settings.preset,
        any_recipient=settings.any_recipient,
        signatures=make_signatures(settings),
        key_header=_header(settings.key_header),
        attribute_headers=_header(settings.attribute_headers),
        window=None if window is None else AskedWindow(window.start, window.end, window.time_zone),
        repeat_window_seconds=settings.repeat_window_seconds,
    )


def _header(name: str | None) -> bytes | None:
    return None if name is None else name.lower().encode()


def page_alerts(receiver: Receiver, group: AlertGroup, now_ms: int, trouble: TemplateTrouble) -> PagingPlan:
    """Turn a group of alerts into what is sent: one text for those who get the same alerts.

    Args:
        receiver: whom it is for.
        group: what was told.
        now_ms: wall-clock milliseconds.
        trouble: told when the receiver's template failed.

    Returns:
        No submission where there is nothing to tell: resolved alerts for who wants none of them.
    """
    if not receiver.resolved:
        group = _without_resolved(group)
    alerts = group.alerts
    recipients_of = cache(partial(_named_by_label, receiver))
    addressed = [recipients_of(alert.labels.get(receiver.recipients_label or "", "")) for alert in alerts]
    return PagingPlan(
        tuple(
            _page(receiver, replace(group, alerts=tuple(alerts[index] for index in told)), recipients, now_ms, trouble)
            for told, recipients in _share_out(addressed).items()
        ),
        unaddressed=sum(1 for recipients in addressed if not recipients),
    )


def _without_resolved(group: AlertGroup) -> AlertGroup:
    """What still fires. Alerts that were cut off from a firing group may be all that does."""
    firing = tuple(alert for alert in group.alerts if alert.firing)
    left = replace(group, alerts=firing, cut_off=group.cut_off if group.firing else 0)
    return left if firing or not left.cut_off else left.with_one_for_all()


def _share_out(addressed: Sequence[tuple[str, ...]]) -> dict[tuple[int, ...], tuple[str, ...]]:
    """Group the recipients by the alerts that they get, so that each gets one message with all of theirs.

    Args:
        addressed: the recipients of each alert.

    Returns:
        For each set of alerts, by index: the recipients who get exactly these.
    """
    together: dict[tuple[str, ...], list[int]] = {}
    for index, recipients in enumerate(addressed):
        together.setdefault(recipients, []).append(index)
    together.pop((), None)
    if len(together) == 1:  # nearly always, and a storm has thousands of alerts
        return {tuple(indexes): recipients for recipients, indexes in together.items()}
    told: dict[str, set[int]] = {}
    for recipients, indexes in together.items():
        for recipient in recipients:
            told.setdefault(recipient, set()).update(indexes)
    shared: dict[tuple[int, ...], list[str]] = {}
    for recipient, mine in told.items():
        shared.setdefault(tuple(sorted(mine)), []).append(recipient)
    return {indexes: tuple(recipients) for indexes, recipients in shared.items()}


def page_message(receiver: Receiver, message: GenericMessage, body: bytes, now_ms: int) -> PagingPlan:
    """Turn a generic message into what is sent; the same body within the window is the same page, or the same text
    where the receiver wants that.

    Args:
        receiver: whom it is for.
        message: what the body says.
        body: the body itself, which names the page where the body names no key of its own.
        now_ms: wall-clock milliseconds.
    """
    recipients = receiver.recipients
    if message.recipients is not None:
        named = (number for text in message.recipients for number in _split(text))
        recipients = _allowed(receiver, tuple(islice(named, MOST_RECIPIENTS))) or recipients
    text = shorten(clean_lines(message.message), receiver.wish.fits)
    if not recipients or not text:
        return PagingPlan((), unaddressed=1)
    what = message.deduplication_key or hashlib.sha256(body).hexdigest()
    submission = _submission(receiver, recipients, text, name_parts("generic", receiver.name, what), now_ms)
    kind = message.message_type or receiver.message_type
    return PagingPlan(
        (
            replace(
                submission,
                sender=message.sender or receiver.sender,
                message_type=kind,
                words_only_warn=kind is MessageType.ALERT,
                reference=message.reference or submission.reference,
                send_at=message.send_at,
                expires_at=max(now_ms, message.send_at or 0) + receiver.expires_ms,
                repeat_window_seconds=receiver.repeat_window_seconds or None,
                deduplication=None if receiver.repeat_window_seconds else submission.deduplication,
            ),
        )
    )


def _page(
    receiver: Receiver, group: AlertGroup, recipients: tuple[str, ...], now_ms: int, trouble: TemplateTrouble
) -> Submission:
    text = _write(receiver, group, now_ms, trouble)
    return _submission(receiver, recipients, text, deduplication_key(receiver.name, group), now_ms)


def _write(receiver: Receiver, group: AlertGroup, now_ms: int, trouble: TemplateTrouble) -> str:
    if receiver.template is not None:
        try:
            return receiver.template.render(group, receiver.wish, now_ms)
        except TemplateFailed as failure:
            trouble(failure.cause)
    return render_alerts(group, receiver.wish, now_ms)


def _submission(receiver: Receiver, recipients: tuple[str, ...], text: str, key: bytes, now_ms: int) -> Submission:
    return Submission(
        recipients=recipients,
        message=text,
        sender=receiver.sender,
        message_type=receiver.message_type,
        reference=receiver.name,
        on_non_gsm=receiver.wish.folding,
        expires_at=now_ms + receiver.expires_ms,
        delivery_window=receiver.window,
        words_only_warn=receiver.message_type is MessageType.ALERT,
        deduplication=Deduplication(key, DEDUPLICATION_MS),
    )


def _named_by_label(receiver: Receiver, label: str) -> tuple[str, ...]:
    """Whom an alert goes to: those its label names and who may be named, else the receiver's own recipients."""
    if receiver.recipients_label is None:
        return receiver.recipients
    return _allowed(receiver, _split(label)) or receiver.recipients


def _split(text: str) -> Sequence[str]:
    return _BETWEEN_NUMBERS.split(text, MOST_RECIPIENTS)[:MOST_RECIPIENTS]


def _allowed(receiver: Receiver, named: Sequence[str]) -> tuple[str, ...]:
    numbers = (_normalize(number) for number in named)
    return tuple(dict.fromkeys(number for number in numbers if number and _may_get(receiver, number)))


def _may_get(receiver: Receiver, number: str) -> bool:
    return receiver.any_recipient or number in receiver.allowed


def _normalize(text: str) -> str:
    """One form of a number however it is written; a foreign one keeps its plus, so that the core knows it for one."""
    number = parse_number(text, allow_foreign=True)
    if isinstance(number, NumberReason):
        return ""
    return number if number.startswith("234") else f"+{number}"
