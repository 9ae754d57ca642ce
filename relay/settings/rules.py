"""Rules between settings: what must agree with what. Each reads only what is right by itself, and skips the rest."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from relay.checking import Mistake
from relay.domain.clients import FIRST_ACCOUNT
from relay.domain.codes import MessageType, NumberReason, Permission, Route
from relay.domain.numbers import parse_number
from relay.domain.routing import check_route_table
from relay.domain.senders import check_sender
from relay.settings.client_sections import SignatureScheme
from relay.settings.values import check_webhook_secret, describe_sender_error, is_loopback, is_sqlite, same_place

Table = Mapping[str, Any]

_NOTHING: Final[Table] = {}


def find_conflicts(tree: Table) -> Iterator[Mistake]:
    """Find what does not agree.

    Args:
        tree: the document as ``Checker`` gives it: valid fields only, defaults filled in.
    """
    yield from _listen(tree.get("listen", _NOTHING))
    yield from _accounts(tree)
    yield from _sending(tree.get("sending", _NOTHING))
    yield from _routes(tree.get("routes", _NOTHING))
    yield from _journal(tree.get("journal", _NOTHING))
    yield from _clients_and_receivers(tree)


def _listen(listen: Table) -> Iterator[Mistake]:
    if _has(listen, "port", "metrics_port") and listen["port"] == listen["metrics_port"]:
        yield Mistake("listen.metrics_port", "is the main port; leave it out to serve /metrics there")


def _accounts(tree: Table) -> Iterator[Mistake]:
    further = _listed(tree, "accounts")
    accounts = {FIRST_ACCOUNT: tree.get("smsclone", _NOTHING), **further}
    yield from _find_repeated(further, "name")
    seen: dict[tuple[str, str], str] = {}
    for path, account in accounts.items():
        url = account.get("base_url", "")
        if url.lower().startswith("http://") and account.get("allow_insecure") is False and not is_loopback(url):
            remedy = f"use https://, or set {path}.allow_insecure = true if nobody can listen in between"
            yield Mistake(f"{path}.base_url", f"would send the password unencrypted: {remedy}")
        if url and account.get("username"):
            place = (same_place(url), account["username"].reveal())
            if (first := seen.setdefault(place, path)) != path:
                remedy = "a second account needs another user name, or another server"
                yield Mistake(f"{path}.username", f"is that of {first}, at the same base_url: {remedy}")
    if any("name" not in account for account in further.values()):
        return  # a wrong name may be the one that is meant
    known = {FIRST_ACCOUNT, *(account["name"] for account in further.values())}
    lists = {"sending.accounts": tree.get("sending", _NOTHING).get("accounts", ())}
    lists |= {f"{path}.accounts": client.get("accounts", ()) for path, client in _listed(tree, "clients").items()}
    for path, names in lists.items():
        for index, name in enumerate(names):
            if name in names[:index]:
                yield Mistake(f"{path}[{index}]", "is named twice; each account has one place in the order")
            elif name not in known:
                yield Mistake(f"{path}[{index}]", "names no account: smsclone, or the name of one under [[accounts]]")


def _sending(sending: Table) -> Iterator[Mistake]:
    if MessageType.PROMOTIONAL in sending.get("dnd_second_attempt", ()):
        yield Mistake("sending.dnd_second_attempt", "must not name promotional: these people opted out")


def _routes(routes: Table) -> Iterator[Mistake]:
    promotional: Route = routes.get("promotional", Route.NORMAL)
    if check_route_table(dict.fromkeys(MessageType, promotional)):
        yield Mistake("routes.promotional", "must be normal: promotional messages never take a DND route")


def _journal(journal: Table) -> Iterator[Mistake]:
    if _has(journal, "url", "replicas") and is_sqlite(journal["url"]) and journal["replicas"] > 1:
        yield Mistake("journal.replicas", "must be 1 with SQLite; several need postgresql://… as journal.url")
    days = ("retention_days", "idempotency_days")
    if _has(journal, *days) and journal[days[0]] < journal[days[1]]:
        yield Mistake("journal.retention_days", "must not be less than journal.idempotency_days")


def _has(table: Table, *names: str) -> bool:
    return all(table.get(name) is not None for name in names)


# --- clients and receivers: what must differ, and what a receiver needs its client for --------------------------------


def _clients_and_receivers(tree: Table) -> Iterator[Mistake]:
    clients, receivers = _listed(tree, "clients"), _listed(tree, "receivers")
    keys = {place: key for path, client in clients.items() for place, key in _listed(client, "keys", path).items()}
    yield from _find_repeated(clients, "name")
    yield from _find_repeated(clients, "service_account")
    yield from _find_repeated(keys, "id")
    yield from _find_repeated(keys, "sha256")
    yield from _find_repeated(receivers, "name")
    for path, client in clients.items():
        yield from _check_client(path, client)
    named = {client.get("name"): client for client in clients.values()}
    for path, receiver in receivers.items():
        yield from _check_recipients(path, receiver, tree)
        yield from _check_signature(path, receiver)
        yield from _check_window(path, receiver)
        name = receiver.get("client")
        if name in named and name is not None:
            yield from _check_client_of(path, receiver, named[name])
        elif name is not None and None not in named:  # a client whose name is wrong may be the one that is meant
            yield Mistake(f"{path}.client", "names a client that is not under [[clients]]")


def _listed(table: Table, name: str, above: str = "") -> dict[str, Table]:
    """The tables of a list, by their path; what is no table is left out."""
    prefix = f"{above}.{name}" if above else name
    items = enumerate(table.get(name, ()))
    return {f"{prefix}[{index}]": item for index, item in items if isinstance(item, Mapping)}


def _find_repeated(tables: Mapping[str, Table], field: str) -> Iterator[Mistake]:
    seen: dict[object, str] = {}
    for path, table in tables.items():
        value = table.get(field)
        if value is not None and seen.setdefault(value, path) != path:
            yield Mistake(f"{path}.{field}", f"is the same as {seen[value]}.{field}; each must be different")


def _check_window(path: str, client_or_receiver: Table) -> Iterator[Mistake]:
    window = client_or_receiver.get("delivery_window") or {}
    if "start" in window and window["start"] == window.get("end"):
        yield Mistake(f"{path}.delivery_window.to", "is the same as from, so it never opens; leave it out for any time")


def _check_client(path: str, client: Table) -> Iterator[Mistake]:
    default = client.get("default_sender")
    if default is not None and default not in client.get("senders", (default,)):
        wrong = describe_sender_error(check_sender(default, allowed=False).error)
        if wrong is not None:
            yield Mistake(f"{path}.default_sender", wrong)
    yield from _check_window(path, client)
    if client.get("callback_hosts") and client.get("callback_secrets") == ():
        remedy = "callbacks are always signed; give callback_secrets or callback_secrets_file"
        yield Mistake(f"{path}.callback_secrets", f"is missing: {remedy}")


def _check_recipients(path: str, receiver: Table, tree: Table) -> Iterator[Mistake]:
    """Somebody must be reached. One bad number among good ones stops nothing; it is reported when a message is sent."""
    foreign = bool(tree.get("sending", {}).get("allow_foreign_numbers"))
    named = receiver.get("recipients_label") is not None or "recipients" in receiver.get("fields", ())
    numbers = "recipients_allowed" if named else "recipients"
    if numbers not in receiver or (named and receiver.get("any_recipient")):
        return
    if not receiver[numbers] and named and receiver.get("recipients"):
        remedy = "give the numbers that may be named, or any_recipient, or take out what names them"
        yield Mistake(f"{path}.{numbers}", f"is empty, so nobody whom a label or body names would get it: {remedy}")
    elif not receiver[numbers]:
        remedy = "give recipients, or recipients_label (generic: fields.recipients) with recipients_allowed"
        yield Mistake(f"{path}.{numbers}", f"is empty, so nobody would get the message: {remedy}")
    elif all(isinstance(parse_number(each, allow_foreign=foreign), NumberReason) for each in receiver[numbers]):
        yield Mistake(f"{path}.{numbers}", "has no valid number; write them like 08012345678")


def _check_signature(path: str, receiver: Table) -> Iterator[Mistake]:
    scheme = receiver.get("signature", SignatureScheme.NONE)
    if scheme is SignatureScheme.NONE or "hmac_secret" not in receiver:
        return
    secret = receiver["hmac_secret"]
    if secret is None:
        remedy = 'give hmac_secret or hmac_secret_file, or signature = "none" where a key is sent'
        yield Mistake(f"{path}.hmac_secret", f"is missing, and the sender's signature ({scheme}) needs it: {remedy}")
    elif scheme is SignatureScheme.STANDARD_WEBHOOKS and (wrong := check_webhook_secret(secret)) is not None:
        yield Mistake(f"{path}.hmac_secret", wrong)
    if scheme is not SignatureScheme.STANDARD_WEBHOOKS and receiver.get("signature_header", "") is None:
        yield Mistake(f"{path}.signature_header", f"is missing: name the header that holds the signature ({scheme})")


def _check_client_of(path: str, receiver: Table, client: Table) -> Iterator[Mistake]:
    if Permission.SEND not in client.get("permissions", (Permission.SEND,)):
        yield Mistake(f"{path}.client", "names a client without the permission send")
    if client.get("templates_only"):
        remedy = "alerts have texts of their own; give receivers a client of their own"
        yield Mistake(f"{path}.client", f"names a client that sends by templates only: {remedy}")
    if receiver.get("message_type") not in (None, *client.get("message_types", (receiver.get("message_type"),))):
        yield Mistake(f"{path}.message_type", "is not allowed for its client; add it to the client's message_types")
    if "senders" not in client or "default_sender" not in client or "sender" not in receiver:
        return
    sender, default = receiver["sender"], client["default_sender"]
    if sender is None and default is None:
        yield Mistake(f"{path}.sender", "is missing, and its client has no default_sender")
    elif sender is not None and sender not in (*client["senders"], default):
        yield Mistake(f"{path}.sender", "is not allowed for its client; add it to the client's senders")
