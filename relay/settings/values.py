"""What a single value must look like beyond its type: addresses, names, keys, hours.

Every check takes the value and returns what is wrong with its remedy, to be read after the setting's path ("must be
…"), or ``None``. No check repeats the value: it may be a secret that landed in the wrong place.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

import jmespath
from jmespath.exceptions import JMESPathError
from msgspec import Meta
from msgspec import inspect as types
from msgspec.structs import replace

from relay.checking import INVALID, LEAVES, TOML
from relay.domain.clients import FIRST_ACCOUNT
from relay.domain.codes import OnNonGsm
from relay.domain.secret import Secret
from relay.domain.senders import LONGEST, SHORTEST, SenderReason, check_sender
from relay.settings.postgres_options import SECRET_OPTIONS, find_wrong_option

Check = Callable[[Any], str | None]

NAME = r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"
SHA256 = r"\A[0-9a-f]{64}\Z"
KEY_ID = r"\A[A-Za-z0-9-]{1,32}\Z"
HEADER = r"\A[A-Za-z0-9-]{1,64}\Z"
TIME_OF_DAY = r"\A(?:[01][0-9]|2[0-3]):[0-5][0-9]\Z"
SERVICE_ACCOUNT = r"\A[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?/[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?\Z"

GENERIC_FIELDS = ("message", "recipients", "sender", "message_type", "reference", "deduplication_key", "send_at")
"""What a webhook of the kind ``generic`` can be asked for."""

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?"
_CALLBACK_HOST = re.compile(rf"(?:http://)?{_LABEL}(?:\.{_LABEL})*(?::[1-9][0-9]{{0,4}})?")
_SHORTEST_WEBHOOK_KEY = 16
_SECRET_BYTES = range(24, 65)
"""How long a Standard Webhooks secret is, in bytes (the specification's own bounds)."""

_JOURNAL = (
    "must be sqlite:///file.db (sqlite:////absolute/file.db) or postgresql://user:password@host:5432/database"
    " (several hosts: host1:5432,host2:5432), with what is special in user and password written as %40"
)
_HOST = r"(?:\[[0-9A-Fa-f:.%a-z]+\]|[^\[\]@:,/?]*)(?::[0-9]{0,5})?"
_POSTGRES = re.compile(
    rf"postgres(?:ql)?://(?:[^:@/]*(?::(?P<password>[^@/]*))?@)?(?P<hosts>{_HOST}(?:,{_HOST})*)(?:/[^?]*)?(?:\?(?P<options>.*))?"
)
"""As libpq takes a URI apart (its documentation, "Connection URIs"), which is not as RFC 3986 does: several hosts, and
user and password may hold anything but the signs that end them."""
_BASE_URL = "must be an address like https://smsclone.com, without user, query and fragment"
_PROXY = "must be an address like http://proxy.internal:3128"


def setting(meaning: str, *, unit: str | None = None, check: Check | None = None, **limits: Any) -> Meta:
    """Describe a setting: its meaning for the reference, its unit, its limits, and a check of its own."""
    return Meta(description=meaning, extra={"unit": unit, "check": check}, **limits)


def check_sender_id(name: str) -> str | None:
    """A sender ID of an allow list: well formed; reserved names are what such a list is for."""
    verdict = check_sender(name, allowed=True)
    if verdict.error is None and verdict.name != name:
        return "has spaces at its ends; remove them"
    return describe_sender_error(verdict.error)


def describe_sender_error(reason: SenderReason | None) -> str | None:
    """Say how to mend a sender ID."""
    if reason is None:
        return None
    if reason is SenderReason.RESERVED:
        return "is a reserved name; if it is yours, add it to senders too"
    allowed = "ASCII letters, digits, single blanks, and . & -, with a letter among them"
    return f"is not a sender ID ({reason.value}): {SHORTEST} to {LONGEST} characters, {allowed}"


def check_base_url(url: str) -> str | None:
    """The upstream's address: nothing of ours may travel in it, and its query would be replaced by every call."""
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        return _BASE_URL
    return _BASE_URL if "@" in parts.netloc or "?" in url or "#" in url else None


def check_account_name(name: str) -> str | None:
    """A further account's name is not one that the relay gives itself."""
    if name in (FIRST_ACCOUNT, "sandbox"):
        return "is taken: smsclone is the account of [smsclone], sandbox the stand-in of sandbox clients"
    return None


def check_api_url(url: str) -> str | None:
    """The API server's address: our token travels to it."""
    if check_base_url(url) is None and (url.lower().startswith("https://") or is_loopback(url)):
        return None
    return "must be an address like https://kubernetes.default.svc, without user, query and fragment"


def same_place(url: str) -> str:
    """A valid base URL in one spelling: two that lead to the same server are equal."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{(parts.hostname or '').rstrip('.')}:{port}{parts.path.rstrip('/')}"


def is_loopback(url: str) -> bool:
    """Whether an address leads to this machine itself."""
    parts = _split(url)
    host = (parts.hostname if parts is not None else None) or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_proxy(url: Secret) -> str | None:
    """An explicit proxy; it may hold a password."""
    parts = _split(url.reveal())
    if parts is None or parts.scheme != "http" or not parts.hostname or "?" in url.reveal() or "#" in url.reveal():
        return _PROXY
    return None


def check_journal_url(url: Secret) -> str | None:
    """Where the journal is; it may hold a password."""
    text = url.reveal()
    if is_sqlite(url):
        name = text.removeprefix("sqlite:///")
        return None if name.strip("/ ") and name != ":memory:" and not set(name) & set("?#") else _JOURNAL
    parts = _POSTGRES.fullmatch(text) if _is_visible(text) else None
    if parts is None:
        return _JOURNAL
    ports = [host.rpartition(":")[2] for host in re.sub(r"\[.*?\]", "", parts["hosts"]).split(",") if ":" in host]
    if not all(port == "" or 0 < int(port) < 65_536 for port in ports):
        return _JOURNAL
    return find_wrong_option(text, parts["options"] or "")


def journal_passwords(url: Secret) -> list[str]:
    """Every password that the journal's address holds, as it is written there."""
    parts = _POSTGRES.fullmatch(url.reveal())
    if parts is None:
        return []
    options = [option.partition("=") for option in (parts["options"] or "").split("&")]
    named = [value for name, _, value in options if name in SECRET_OPTIONS]
    return [password for password in (parts["password"], *named) if password]


def is_sqlite(url: Secret) -> bool:
    """Whether the journal is a local file."""
    return url.reveal().startswith("sqlite:///")


def _split(url: str) -> SplitResult | None:
    """Take an address apart; ``None`` where it is none, or holds what no address holds."""
    if not _is_visible(url) or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port  # reading it is what judges it
    except ValueError:
        return None
    return None if port == 0 else parts


def _is_visible(url: str) -> bool:
    return 0 < len(url) <= 2048 and all("!" <= character <= "~" for character in url)


def check_host(host: str) -> str | None:
    """An address to listen on."""
    try:
        ip_address(host)
    except ValueError:
        return None if host == "localhost" else "must be an IP address of this machine, or localhost"
    return None


def check_network(network: str) -> str | None:
    """A range of addresses."""
    try:
        ip_network(network)
    except ValueError:
        return 'must be a network like "10.0.0.0/8", with no bits set behind its prefix'
    return None


def check_callback_host(host: str) -> str | None:
    """A host that callbacks may go to."""
    if _CALLBACK_HOST.fullmatch(host) and _split(host if "//" in host else f"https://{host}") is not None:
        return None
    return 'must be "host", "host:port" (https), or "http://host[:port]", in lower case, without a path'


def check_callback_secret(secret: Secret) -> str | None:
    """A signing secret of Standard Webhooks."""
    text = secret.reveal()
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if text.startswith("whsec_") and len(key) in _SECRET_BYTES:
        return None
    return "must be whsec_ and 24 to 64 random bytes in base64"


def check_webhook_secret(secret: Secret) -> str | None:
    """A Standard Webhooks secret as its sender shows it; some write the version of the signature before it."""
    try:
        key = base64.b64decode(secret.reveal().removeprefix("v1,").removeprefix("whsec_") + "==")
    except (binascii.Error, ValueError):
        key = b""
    return None if len(key) >= _SHORTEST_WEBHOOK_KEY else "must be the sender's secret as it shows it, like whsec_…"


def check_hash_key(key: Secret) -> str | None:
    """The key of fingerprints and hashes: 32 bytes."""
    return None if re.fullmatch("[0-9a-f]{64}", key.reveal()) else "must be 32 random bytes as 64 lower-case hex digits"


def check_time_zone(name: str) -> str | None:
    """A zone of the IANA database."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return "must be a zone of the IANA database, like Africa/Lagos"
    return None


def check_expression(expression: str) -> str | None:
    """A JMESPath expression."""
    try:
        jmespath.compile(expression)
    except JMESPathError:
        return "must be a JMESPath expression, like alert.title"
    return None


def check_generic_fields(fields: Mapping[str, str]) -> str | None:
    """Where our fields are in a generic body."""
    if not fields:
        return None
    if set(fields) - set(GENERIC_FIELDS):
        return f"has an unknown field; the fields are {', '.join(GENERIC_FIELDS)}"
    return None if "message" in fields else "must have message, the text to send"


def check_template(source: str) -> str | None:
    """A Jinja2 template. Only its form is checked: what it asks for is known when alerts come."""
    # Costs 50 ms, and most settings have no template.
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    try:
        ImmutableSandboxedEnvironment().from_string(source)
    except (TemplateError, RecursionError):
        return "must be a Jinja2 template, like {{ status }} {{ labels.alertname }}"
    return None


def check_alert_folding(folding: OnNonGsm) -> str | None:
    """What is done with an alert's characters outside GSM-7: no page may be lost because of one."""
    return None if folding is not OnNonGsm.REJECT else "must not be reject: an alert would be lost for one character"


def _plain_text(node: types.StrType, value: object) -> Any:
    """Text as an operator types it: no control characters."""
    text = LEAVES[types.StrType](node, value)
    if text is INVALID or not all(character.isprintable() or character in "\n\t" for character in text):
        return INVALID
    return text


def _path_or_secret(node: types.CustomType, value: object) -> Any:
    """Some text, in one line."""
    if not isinstance(value, str) or not value or len(value) > _LONGEST_TEXT or not value.isprintable():
        return INVALID
    return Secret(value) if node.cls is Secret else Path(value)


_LONGEST_TEXT = 65_536

SETTINGS: Final = replace(
    TOML,
    leaves={**LEAVES, types.StrType: _plain_text, types.CustomType: _path_or_secret},
    unknown="is not a setting",
)
"""How settings are written, in the file and in the environment."""
