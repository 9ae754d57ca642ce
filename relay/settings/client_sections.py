"""Settings of calling services and of webhook receivers; both are taken up again without a restart."""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from msgspec import Struct, field

from relay.domain.codes import MessageType, OnNonGsm, Permission, RequestedRoute
from relay.domain.secret import Secret
from relay.settings.presets import check_preset
from relay.settings.values import (
    HEADER,
    KEY_ID,
    NAME,
    SERVICE_ACCOUNT,
    SHA256,
    TIME_OF_DAY,
    check_alert_folding,
    check_callback_host,
    check_callback_secret,
    check_expression,
    check_generic_fields,
    check_sender_id,
    check_template,
    check_time_zone,
    setting,
)

SenderId = Annotated[str, setting("A sender ID.", check=check_sender_id)]
AccountName = Annotated[str, setting("An account.", pattern=NAME)]
CallbackHost = Annotated[str, setting("A host.", check=check_callback_host)]
CallbackSecret = Annotated[Secret, setting("A signing secret.", check=check_callback_secret)]
Recipient = Annotated[str, setting("A number.", min_length=1, max_length=64)]
WordException = Annotated[str, setting("A list entry.", min_length=1, max_length=200)]
Expression = Annotated[str, setting("A JMESPath expression.", check=check_expression, min_length=1, max_length=1_000)]

DEFAULT_PERMISSIONS = (Permission.SEND, Permission.READ, Permission.PREVIEW, Permission.BALANCE)
DEFAULT_TYPES = (MessageType.OTP, MessageType.ALERT, MessageType.TRANSACTIONAL)


class KeySettings(Struct, frozen=True, kw_only=True):
    """One API key; `relay keys new` makes it and prints this line."""

    id: Annotated[str, setting("The key's id: the middle of rk_<id>_<secret>.", pattern=KEY_ID)]
    sha256: Annotated[str, setting("Hex SHA-256 of the whole key, in lower case.", pattern=SHA256)]
    expires: Annotated[datetime, setting("When it stops working; a date means 00:00 UTC.")] | None = None


class DeliveryWindowSettings(Struct, frozen=True, kw_only=True):
    """When messages may be sent: from one minute of the day up to, not including, another; it may pass midnight."""

    start: Annotated[str, setting("When it opens, as 08:00.", pattern=TIME_OF_DAY)] = field(name="from")
    end: Annotated[str, setting("When it closes, as 20:00; not equal to from.", pattern=TIME_OF_DAY)] = field(name="to")
    time_zone: Annotated[str, setting("The time zone of these hours.", check=check_time_zone)] = "Africa/Lagos"


class ClientSettings(Struct, frozen=True, kw_only=True):
    """One calling service and what it may do."""

    name: Annotated[str, setting("The service's name, in metrics and log lines.", pattern=NAME)]
    keys: Annotated[
        tuple[KeySettings, ...], setting("Its API keys; two while one replaces the other.", max_length=10)
    ] = ()
    service_account: (
        Annotated[str, setting('The Kubernetes service account it runs as, "namespace/name".', pattern=SERVICE_ACCOUNT)]
        | None
    ) = None
    senders: Annotated[tuple[SenderId, ...], setting("Sender IDs it may use.", max_length=1_000)] = ()
    default_sender: (
        Annotated[
            str, setting("Sender ID for requests that name none; it may use this one too.", check=check_sender_id)
        ]
        | None
    ) = None
    default_billing_code: (
        Annotated[str, setting("Whom requests are charged to that name no billing_code.", pattern=r"\A[!-~]{1,64}\Z")]
        | None
    ) = None
    delivery_window: DeliveryWindowSettings | None = None
    accounts: Annotated[
        tuple[AccountName, ...],
        setting(
            "Accounts that its sends take, in order of preference; none: those of sending.accounts.", max_length=20
        ),
    ] = ()
    message_types: Annotated[tuple[MessageType, ...], setting("Message types it may send.")] = DEFAULT_TYPES
    routes: Annotated[tuple[RequestedRoute, ...], setting("Routes it may ask for.")] = (RequestedRoute.AUTO,)
    permissions: Annotated[tuple[Permission, ...], setting("What it may do.")] = DEFAULT_PERMISSIONS
    require_idempotency_key: Annotated[bool, setting("Refuse sends without an Idempotency-Key.")] = False
    keys_carry_time: Annotated[
        bool, setting("Its keys are UUIDv7 or ULID; one that is not known and older than idempotency_days is refused.")
    ] = False
    repeat_window_seconds: Annotated[
        int,
        setting(
            "So long a request without a key that equals an earlier one gets its answer and is not sent again; 0: off.",
            unit="seconds",
            ge=0,
            le=7 * 86_400,
        ),
    ] = 0
    templates_only: Annotated[bool, setting("Refuse texts of its own: it sends by templates.")] = False
    requests_per_second: (
        Annotated[
            float, setting("Most requests per second, counted by each replica; none: no limit.", ge=0.01, le=100_000)
        ]
        | None
    ) = None
    recipients_per_day: (
        Annotated[int, setting("Most recipients per day (Africa/Lagos); none: no limit.", ge=1, le=1_000_000_000)]
        | None
    ) = None
    units_per_month: (
        Annotated[
            float,
            setting(
                "Most units per month (Africa/Lagos), an estimate by the prices of its accounts; none: no limit.",
                ge=0,
                le=1_000_000_000,
            ),
        ]
        | None
    ) = None
    callback_hosts: Annotated[
        tuple[CallbackHost, ...], setting("Hosts that its callback_url may name.", max_length=100)
    ] = ()
    callback_secrets: Annotated[
        tuple[CallbackSecret, ...],
        setting("Secrets that sign its callbacks; two while one replaces the other.", max_length=2),
    ] = ()
    callback_secrets_file: Annotated[Path, setting("A file with these secrets, one per line.")] | None = None
    word_exceptions: Annotated[
        tuple[WordException, ...], setting("Entries of the word lists that do not apply to it.", max_length=1_000)
    ] = ()
    sandbox: Annotated[bool, setting("Its sends go to a stand-in, never to smsclone.")] = False


class SignatureScheme(StrEnum):
    """How a sender signs: not at all, by Standard Webhooks, by hex HMAC-SHA-256 of the body in a header, or
    (Stripe's form) by ``t=<seconds>,v1=<hex HMAC-SHA-256 of "seconds.body">`` in a header."""

    NONE = "none"
    STANDARD_WEBHOOKS = "standard-webhooks"
    HMAC_SHA256 = "hmac-sha256"
    TIMESTAMPED_HMAC_SHA256 = "timestamped-hmac-sha256"


class ReceiverSettings(Struct, frozen=True, kw_only=True):
    """Whom a webhook's alerts go to, and how."""

    name: Annotated[str, setting("The last part of its address, /v1/webhooks/{kind}/{name}.", pattern=NAME)]
    client: Annotated[str, setting("The client that sends; the webhook authenticates with its key.", pattern=NAME)]
    preset: (
        Annotated[
            str,
            setting(
                "Ready-made settings for a sender (/docs/webhooks); whatever else is set here goes first.",
                check=check_preset,
            ),
        ]
        | None
    ) = None
    sender: Annotated[str, setting("Sender ID; none: the client's default_sender.", check=check_sender_id)] | None = (
        None
    )
    recipients: Annotated[tuple[Recipient, ...], setting("Numbers that get the message.", max_length=100)] = ()
    recipients_label: (
        Annotated[str, setting("Alert label that contains the numbers.", pattern=r"\A[A-Za-z_][A-Za-z0-9_]{0,127}\Z")]
        | None
    ) = None
    recipients_allowed: Annotated[
        tuple[Recipient, ...], setting("Numbers that the label, or fields.recipients, may name.", max_length=1_000)
    ] = ()
    any_recipient: Annotated[
        bool,
        setting(
            "Whether the label, or fields.recipients, may name any number. Only for senders that are trusted with that."
        ),
    ] = False
    template: (
        Annotated[
            str,
            setting(
                "Jinja2 template of the text; none: the default text.",
                min_length=1,
                max_length=4_000,
                check=check_template,
            ),
        ]
        | None
    ) = None
    max_segments: Annotated[int, setting("Most segments of a message.", ge=1, le=10)] = 2
    message_type: Annotated[MessageType, setting("Message type of the SMS.")] = MessageType.ALERT
    resolved: Annotated[bool, setting("Whether resolved alerts are sent.")] = True
    on_non_gsm: Annotated[
        OnNonGsm, setting("What to do with characters outside GSM-7; not reject.", check=check_alert_folding)
    ] = OnNonGsm.FOLD
    expires_seconds: Annotated[
        int, setting("When a message that still waits is no longer sent.", unit="seconds", ge=60, le=30 * 86_400)
    ] = 14_400
    delivery_window: DeliveryWindowSettings | None = None
    repeat_window_seconds: Annotated[
        int,
        setting(
            "For the kind generic: so long the same text for the same numbers is not sent again, whatever else the body"
            " says; 0: bodies are told apart by deduplication_key, for ten minutes.",
            unit="seconds",
            ge=0,
            le=7 * 86_400,
        ),
    ] = 0
    hmac_secret: (
        Annotated[Secret, setting("The secret of Grafana's signature, or of signature, instead of a key.")] | None
    ) = None
    hmac_secret_file: Annotated[Path, setting("A file with the HMAC secret.")] | None = None
    signature: Annotated[SignatureScheme, setting("For the kind generic: how the sender signs.")] = SignatureScheme.NONE
    signature_header: (
        Annotated[str, setting("The header of an hmac-sha256 or timestamped-hmac-sha256 signature.", pattern=HEADER)]
        | None
    ) = None
    key_header: (
        Annotated[str, setting("A header that holds the client's key where it is not Authorization.", pattern=HEADER)]
        | None
    ) = None
    attribute_headers: (
        Annotated[
            str,
            setting(
                "For the kind generic: where the request has headers that begin so, fields see them by the rest of"
                " their names, and the body as data.",
                pattern=HEADER,
            ),
        ]
        | None
    ) = None
    fields: Annotated[
        dict[str, Expression],
        setting(
            "For the kind generic: a JMESPath into the body for each of our fields (message, recipients, sender,"
            " message_type, reference, deduplication_key, send_at).",
            max_length=50,
            check=check_generic_fields,
        ),
    ] = {}
