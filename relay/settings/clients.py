"""Settings of calling services and of webhook receivers; both are taken up again without a restart."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

from msgspec import Struct

from relay.domain.codes import MessageType, OnNonGsm, Permission, RequestedRoute
from relay.domain.secret import Secret
from relay.settings.values import (
    KEY_ID,
    NAME,
    SERVICE_ACCOUNT,
    SHA256,
    check_alert_folding,
    check_callback_host,
    check_callback_secret,
    check_expression,
    check_generic_fields,
    check_sender_id,
    check_template,
    setting,
)

SenderId = Annotated[str, setting("A sender ID.", check=check_sender_id)]
CallbackHost = Annotated[str, setting("A host.", check=check_callback_host)]
CallbackSecret = Annotated[Secret, setting("A signing secret.", check=check_callback_secret)]
Recipient = Annotated[str, setting("A number.", min_length=1, max_length=64)]
WordException = Annotated[str, setting("A list entry.", min_length=1, max_length=200)]
Expression = Annotated[str, setting("A JMESPath expression.", check=check_expression, min_length=1, max_length=500)]

DEFAULT_PERMISSIONS = (Permission.SEND, Permission.READ, Permission.PREVIEW, Permission.BALANCE)
DEFAULT_TYPES = (MessageType.OTP, MessageType.ALERT, MessageType.TRANSACTIONAL)


class KeySettings(Struct, frozen=True, kw_only=True):
    """One API key; `relay keys new` makes it and prints this line."""

    id: Annotated[str, setting("The key's id: the middle of rk_<id>_<secret>.", pattern=KEY_ID)]
    sha256: Annotated[str, setting("Hex SHA-256 of the whole key, in lower case.", pattern=SHA256)]
    expires: Annotated[datetime, setting("From when it is refused; a date begins at 00:00 UTC.")] | None = None


class ClientSettings(Struct, frozen=True, kw_only=True):
    """One calling service and what it may do."""

    name: Annotated[str, setting("The service's name: label of metrics and log lines.", pattern=NAME)]
    keys: Annotated[
        tuple[KeySettings, ...], setting("Its API keys; two at once while one replaces the other.", max_length=10)
    ] = ()
    service_account: (
        Annotated[str, setting('The Kubernetes service account it runs as, "namespace/name".', pattern=SERVICE_ACCOUNT)]
        | None
    ) = None
    senders: Annotated[tuple[SenderId, ...], setting("Sender IDs it may use.", max_length=1_000)] = ()
    default_sender: (
        Annotated[str, setting("Sender ID where a request names none; it may use this one too.", check=check_sender_id)]
        | None
    ) = None
    message_types: Annotated[tuple[MessageType, ...], setting("Message types it may send.")] = DEFAULT_TYPES
    routes: Annotated[tuple[RequestedRoute, ...], setting("Routes it may ask for.")] = (RequestedRoute.AUTO,)
    permissions: Annotated[tuple[Permission, ...], setting("What else it may do.")] = DEFAULT_PERMISSIONS
    require_idempotency_key: Annotated[bool, setting("Refuse sends without an Idempotency-Key.")] = False
    requests_per_second: (
        Annotated[float, setting("Requests a second, from every replica; none: no limit.", ge=0.01, le=100_000)] | None
    ) = None
    recipients_per_day: (
        Annotated[int, setting("Recipients a day of Africa/Lagos; none: no limit.", ge=1, le=1_000_000_000)] | None
    ) = None
    callback_hosts: Annotated[
        tuple[CallbackHost, ...], setting("Hosts that its callback_url may name.", max_length=100)
    ] = ()
    callback_secrets: Annotated[
        tuple[CallbackSecret, ...], setting("Secrets that sign its callbacks; two while rotating.", max_length=2)
    ] = ()
    callback_secrets_file: Annotated[Path, setting("A file that holds these secrets, one a line.")] | None = None
    word_exceptions: Annotated[
        tuple[WordException, ...], setting("Entries of the word lists that do not count for it.", max_length=1_000)
    ] = ()
    sandbox: Annotated[bool, setting("Its sends go to a stand-in, never to smsclone.")] = False


class ReceiverSettings(Struct, frozen=True, kw_only=True):
    """Whom a webhook's alerts go to, and how."""

    name: Annotated[str, setting("The last part of its address, /v1/webhooks/{kind}/{name}.", pattern=NAME)]
    client: Annotated[str, setting("The client that sends; its key is the webhook's bearer.", pattern=NAME)]
    sender: Annotated[str, setting("Sender ID; none: the client's default_sender.", check=check_sender_id)] | None = (
        None
    )
    recipients: Annotated[tuple[Recipient, ...], setting("Numbers that get the message.", max_length=100)] = ()
    recipients_label: (
        Annotated[str, setting("Alert label that names the numbers.", pattern=r"\A[A-Za-z_][A-Za-z0-9_]{0,127}\Z")]
        | None
    ) = None
    recipients_allowed: Annotated[
        tuple[Recipient, ...], setting("Numbers that the label, or fields.recipients, may name.", max_length=1_000)
    ] = ()
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
    max_segments: Annotated[int, setting("Segments of a message at most.", ge=1, le=10)] = 2
    message_type: Annotated[MessageType, setting("Message type of what is sent.")] = MessageType.ALERT
    resolved: Annotated[bool, setting("Whether resolved alerts are sent.")] = True
    on_non_gsm: Annotated[
        OnNonGsm, setting("What is done with characters outside GSM-7; not reject.", check=check_alert_folding)
    ] = OnNonGsm.FOLD
    expires_seconds: Annotated[
        int, setting("After how long a message is no longer sent.", unit="seconds", ge=60, le=30 * 86_400)
    ] = 14_400
    hmac_secret: Annotated[Secret, setting("Grafana's HMAC secret, instead of a bearer.")] | None = None
    hmac_secret_file: Annotated[Path, setting("A file that holds the HMAC secret.")] | None = None
    fields: Annotated[
        dict[str, Expression],
        setting(
            "For the kind generic: our field (message, recipients, sender, message_type, reference, deduplication_key)"
            " to a JMESPath into the body.",
            max_length=50,
            check=check_generic_fields,
        ),
    ] = {}
