"""Rules between settings: what must agree with what. Each reads only what is right by itself, and skips the rest."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from relay.domain.codes import MessageType, Route
from relay.domain.routing import check_route_table
from relay.settings.client_rules import find_client_conflicts
from relay.settings.errors import SettingError
from relay.settings.values import is_loopback, is_sqlite

Table = Mapping[str, Any]

_NOTHING: Final[Table] = {}


def find_conflicts(tree: Table) -> Iterator[SettingError]:
    """Find what does not agree.

    Args:
        tree: the document as ``Checker`` gives it: valid fields only, defaults filled in.
    """
    yield from _listen(tree.get("listen", _NOTHING))
    yield from _smsclone(tree.get("smsclone", _NOTHING))
    yield from _sending(tree.get("sending", _NOTHING))
    yield from _routes(tree.get("routes", _NOTHING))
    yield from _journal(tree.get("journal", _NOTHING))
    yield from find_client_conflicts(tree)


def _listen(listen: Table) -> Iterator[SettingError]:
    if _has(listen, "port", "metrics_port") and listen["port"] == listen["metrics_port"]:
        yield SettingError("listen.metrics_port", "is the main port; leave it out to serve /metrics there")


def _smsclone(smsclone: Table) -> Iterator[SettingError]:
    url = smsclone.get("base_url", "")
    if url.lower().startswith("http://") and smsclone.get("allow_insecure") is False and not is_loopback(url):
        remedy = "use https://, or set smsclone.allow_insecure = true where nobody can listen in between"
        yield SettingError("smsclone.base_url", f"would send the password in clear: {remedy}")


def _sending(sending: Table) -> Iterator[SettingError]:
    if MessageType.PROMOTIONAL in sending.get("dnd_second_attempt", ()):
        yield SettingError("sending.dnd_second_attempt", "must not name promotional: these people opted out")


def _routes(routes: Table) -> Iterator[SettingError]:
    promotional: Route = routes.get("promotional", Route.NORMAL)
    if check_route_table(dict.fromkeys(MessageType, promotional)):
        yield SettingError("routes.promotional", "must be normal: promotional messages never take a DND route")


def _journal(journal: Table) -> Iterator[SettingError]:
    if _has(journal, "url", "replicas") and is_sqlite(journal["url"]) and journal["replicas"] > 1:
        yield SettingError("journal.replicas", "must be 1 with SQLite; several need postgresql://… as journal.url")
    days = ("retention_days", "idempotency_days")
    if _has(journal, *days) and journal[days[0]] < journal[days[1]]:
        yield SettingError("journal.retention_days", "must not be less than journal.idempotency_days")


def _has(table: Table, *names: str) -> bool:
    return all(table.get(name) is not None for name in names)
