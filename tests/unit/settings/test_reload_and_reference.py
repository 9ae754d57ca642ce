"""What a reload takes over, and the reference of all settings."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec import inspect as types

from relay.settings import (
    Settings,
    SettingsError,
    describe_settings,
    load_settings,
    reload_settings,
)

Load = Callable[..., Settings]

BILLING = """
[[clients]]
name = "billing"
senders = ["ACME"]
default_sender = "Orders"
message_types = ["otp"]
routes = ["auto", "dnd"]
permissions = ["send"]
require_idempotency_key = true
requests_per_second = 50
recipients_per_day = 1000
word_exceptions = ["free"]
sandbox = true
"""


def test_a_reload_takes_over_clients_and_nothing_that_needs_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    path.write_text("[listen]\nport = 1111")
    current = load_settings({}, path)

    path.write_text(f"[listen]\nport = 2222\n{BILLING}")
    new = reload_settings(current, {}, path)

    assert [client.name for client in new.clients] == ["billing"]
    assert new.listen.port == 1111


def test_a_reload_of_a_bad_file_takes_over_nothing(tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(BILLING)
    current = load_settings({}, path)

    path.write_text(f"{BILLING}[log]\nlevel = 1")

    with pytest.raises(SettingsError) as caught:
        reload_settings(current, {}, path)
    assert [error.path for error in caught.value.errors] == ["log.level"]


def test_the_reference_has_every_setting_once_with_its_meaning() -> None:
    described = describe_settings()
    paths = [each.path for each in described]

    assert len(set(paths)) == len(paths)
    assert {"log.level", "journal.url", "limits.otp.sends", "clients[].keys[].sha256", "receivers[].fields"} <= set(
        paths
    )
    assert all(each.meaning.endswith(".") for each in described)
    by_path = {each.path: each for each in described}
    assert by_path["smsclone.timeout_seconds"].default == "20"
    assert by_path["smsclone.timeout_seconds"].unit == "seconds"
    assert by_path["smsclone.timeout_seconds"].environment_name == "RELAY_SMSCLONE_TIMEOUT_SECONDS"
    assert by_path["limits.otp.sends"].default == "5"
    assert by_path["limits.alert.sends"].default == "none"
    assert by_path["clients[].name"].default == "required"
    assert by_path["prefilter.lists"].environment_name is None


def test_durations_and_ages_have_their_unit_in_name_and_reference() -> None:
    for each in describe_settings():
        if "number" in each.type or "integer" in each.type:
            ending = each.path.rsplit("_", 1)[-1]
            assert each.unit == (ending if ending in ("seconds", "days", "months") else None), each.path


def numbers(node: types.Type) -> Iterator[types.IntType | types.FloatType]:
    if isinstance(node, types.IntType | types.FloatType):
        yield node
    elif isinstance(node, types.Metadata):
        yield from numbers(node.type)
    elif isinstance(node, types.UnionType):
        for each in node.types:
            yield from numbers(each)
    elif isinstance(node, types.VarTupleType):
        yield from numbers(node.item_type)
    elif isinstance(node, types.StructType):
        for field in node.fields:
            yield from numbers(field.type)


def test_every_number_has_both_bounds() -> None:
    found = list(numbers(types.type_info(Settings)))

    assert len(found) > 20
    assert all(node.ge is not None and node.le is not None for node in found)
