"""Rules between clients and receivers: what must be unlike, and what a receiver needs its client for."""

from collections.abc import Iterator, Mapping
from typing import Any

from relay.domain.codes import NumberReason, Permission
from relay.domain.numbers import parse_number
from relay.domain.senders import check_sender
from relay.settings.errors import SettingError
from relay.settings.values import describe_sender_error

Table = Mapping[str, Any]


def find_client_conflicts(tree: Table) -> Iterator[SettingError]:
    """Find what does not agree; see ``relay.settings.rules``."""
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
        name = receiver.get("client")
        if name in named and name is not None:
            yield from _check_client_of(path, receiver, named[name])
        elif name is not None and None not in named:  # a client whose name is wrong may be the one that is meant
            yield SettingError(f"{path}.client", "is the name of no client under [[clients]]")


def _listed(table: Table, name: str, above: str = "") -> dict[str, Table]:
    """The tables of a list, by their path; what is no table is left out."""
    prefix = f"{above}.{name}" if above else name
    items = enumerate(table.get(name, ()))
    return {f"{prefix}[{index}]": item for index, item in items if isinstance(item, Mapping)}


def _find_repeated(tables: Mapping[str, Table], field: str) -> Iterator[SettingError]:
    seen: dict[object, str] = {}
    for path, table in tables.items():
        value = table.get(field)
        if value is not None and seen.setdefault(value, path) != path:
            yield SettingError(
                f"{path}.{field}", f"is the same as {seen[value]}.{field}; each must be unlike all others"
            )


def _check_client(path: str, client: Table) -> Iterator[SettingError]:
    default = client.get("default_sender")
    if default is not None and default not in client.get("senders", (default,)):
        wrong = describe_sender_error(check_sender(default, allowed=False).error)
        if wrong is not None:
            yield SettingError(f"{path}.default_sender", wrong)
    if client.get("callback_hosts") and client.get("callback_secrets") == ():
        remedy = "callbacks are always signed; give callback_secrets or callback_secrets_file"
        yield SettingError(f"{path}.callback_secrets", f"is missing: {remedy}")


def _check_recipients(path: str, receiver: Table, tree: Table) -> Iterator[SettingError]:
    """Somebody must be reached. One bad number among good ones stops nothing; it is reported when a message is sent."""
    foreign = bool(tree.get("sending", {}).get("allow_foreign_numbers"))
    named = receiver.get("recipients_label") is not None or "recipients" in receiver.get("fields", ())
    numbers = "recipients_allowed" if named else "recipients"
    if numbers not in receiver:
        return
    if not receiver[numbers]:
        remedy = "give recipients, or recipients_label (generic: fields.recipients) with recipients_allowed"
        yield SettingError(f"{path}.{numbers}", f"is empty, so nobody would be reached: {remedy}")
    elif all(isinstance(parse_number(each, allow_foreign=foreign), NumberReason) for each in receiver[numbers]):
        yield SettingError(f"{path}.{numbers}", "has no number that can be sent to; write them like 08012345678")


def _check_client_of(path: str, receiver: Table, client: Table) -> Iterator[SettingError]:
    if Permission.SEND not in client.get("permissions", (Permission.SEND,)):
        yield SettingError(f"{path}.client", "names a client without the permission send")
    if receiver.get("message_type") not in (None, *client.get("message_types", (receiver.get("message_type"),))):
        yield SettingError(f"{path}.message_type", "is none that its client may send; add it to its message_types")
    if "senders" not in client or "default_sender" not in client or "sender" not in receiver:
        return
    sender, default = receiver["sender"], client["default_sender"]
    if sender is None and default is None:
        yield SettingError(f"{path}.sender", "is missing, and its client has no default_sender")
    elif sender is not None and sender not in (*client["senders"], default):
        yield SettingError(f"{path}.sender", "is none that its client may use; add it to its senders")
