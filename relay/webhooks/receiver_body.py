"""A receiver as it is shown to the person who sets up its sender."""

from collections.abc import Iterator

from msgspec import Struct

from relay.domain.codes import MessageType, OnNonGsm, Source
from relay.domain.numbers import mask_number
from relay.webhooks.receivers import Receiver


class ReceiverBody(Struct, frozen=True, kw_only=True):
    """How a receiver is set up. Numbers are masked; `recipients_allowed` counts those that a label or body may name.

    `signed`: whether the sender signs instead of sending a key. `fields` are JMESPath expressions. `problems` say why
    what this kind posts could not be sent.
    """

    kind: str
    receiver: str
    client: str
    preset: str | None
    sender: str | None
    message_type: MessageType
    recipients: list[str]
    recipients_label: str | None
    any_recipient: bool
    recipients_allowed: int
    signed: bool
    fields: dict[str, str]
    own_template: bool
    max_segments: int
    on_non_gsm: OnNonGsm
    resolved: bool
    expires_seconds: int
    delivery_window: str | None
    repeat_window_seconds: int
    problems: list[str]


def describe_receiver(receiver: Receiver, kind: Source) -> ReceiverBody:
    """Say how a receiver is set up, for a person who wants to see that address and key are right."""
    window = receiver.window
    return ReceiverBody(
        kind=kind.value,
        receiver=receiver.name,
        client=receiver.client,
        preset=receiver.preset,
        sender=receiver.sender,
        message_type=receiver.message_type,
        recipients=[mask_number(number) for number in receiver.recipients],
        recipients_label=receiver.recipients_label,
        any_recipient=receiver.any_recipient,
        recipients_allowed=len(receiver.allowed),
        signed=kind in receiver.signatures,
        fields=dict(receiver.mapping.expressions),
        own_template=receiver.template is not None,
        max_segments=receiver.wish.max_segments,
        on_non_gsm=receiver.wish.folding,
        resolved=receiver.resolved,
        expires_seconds=receiver.expires_ms // 1000,
        delivery_window=None if window is None else f"{window.begin}-{window.end} {window.time_zone}",
        repeat_window_seconds=receiver.repeat_window_seconds,
        problems=list(_find_problems(receiver, kind)),
    )


def _find_problems(receiver: Receiver, kind: Source) -> Iterator[str]:
    if kind is Source.GENERIC and "message" not in receiver.mapping:
        yield "The receiver has no preset and no fields.message, so that nothing of the kind generic can be read."
    named = receiver.recipients_label if kind is not Source.GENERIC else "recipients" in receiver.mapping
    if not receiver.recipients and not named:
        yield "The receiver has no recipients for this kind of webhook."
