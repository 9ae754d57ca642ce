"""The reference of all settings, made of the same types that check them."""

import json
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path

from msgspec import Struct
from msgspec import inspect as types

from relay.checking import INVALID, bare_type, default_of, without_none
from relay.domain.secret import Secret
from relay.settings.environment import list_variables
from relay.settings.sections import Settings


class SettingDescription(Struct, frozen=True):
    """One setting.

    ``path`` has ``[]`` for "each of a list"; ``default`` is as it would stand in the file, ``none`` for nothing and
    ``required`` where there is none; ``environment_name`` is ``None`` where no variable can set it.
    """

    path: str
    type: str
    default: str
    unit: str | None
    meaning: str
    environment_name: str | None


def describe_settings() -> list[SettingDescription]:
    """Every setting, in the order of the sections."""
    variables = {".".join(each.path): name for name, each in list_variables().items() if each.scalar}
    return list(_describe(types.type_info(Settings), "", Settings(), variables))


def _describe(
    node: types.Type, path: str, default: object, variables: Mapping[str, str]
) -> Iterator[SettingDescription]:
    if isinstance(node, types.UnionType):
        node = without_none(node)
    bare = bare_type(node)
    if isinstance(bare, types.VarTupleType) and isinstance(bare.item_type, types.StructType):
        yield from _describe(bare.item_type, f"{path}[]", INVALID, variables)
    elif isinstance(bare, types.StructType):
        for field in bare.fields:
            inner = default_of(field) if default is INVALID else getattr(default, field.name, None)
            place = f"{path}.{field.encode_name}" if path else field.encode_name
            yield from _describe(field.type, place, inner, variables)
    elif isinstance(node, types.Metadata):
        yield SettingDescription(
            path=path,
            type=_name_type(bare),
            default="required" if default is INVALID else _write(default),
            unit=(node.extra or {}).get("unit"),
            meaning=(node.extra_json_schema or {})["description"],
            environment_name=variables.get(path),
        )


def _name_type(node: types.Type) -> str:
    """A type as an operator reads it."""
    if isinstance(node, types.EnumType):
        return " | ".join(member.value for member in node.cls)
    if isinstance(node, types.VarTupleType):
        return f"list of {_name_type(bare_type(node.item_type))}"
    if isinstance(node, types.IntType | types.FloatType):
        kind = "integer" if isinstance(node, types.IntType) else "number"
        return f"{kind}, {node.ge} to {node.le}"
    if isinstance(node, types.CustomType):
        return "secret" if node.cls is Secret else "path"
    return _TYPE_NAMES[type(node)]


_TYPE_NAMES: dict[type, str] = {
    types.BoolType: "boolean",
    types.StrType: "text",
    types.DateTimeType: "date or time",
    types.DictType: "table of text",
}


def _write(default: object) -> str:
    """A default as it would stand in the file."""
    if default is None:
        return "none"
    if isinstance(default, tuple):
        return f"[{', '.join(_write(each) for each in default)}]"
    if isinstance(default, Enum):
        return json.dumps(default.value)
    if isinstance(default, Secret):  # a default is in this source, and so no secret
        return json.dumps(default.reveal())
    if isinstance(default, float) and default.is_integer():
        return str(int(default))
    return json.dumps(str(default) if isinstance(default, Path) else default)
