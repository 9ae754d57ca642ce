"""How a kind of document is written: what things are called in it, and how a single value is read."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

from msgspec import NODEFAULT, Struct
from msgspec import inspect as types

INVALID: Final = object()
"""Stands for a value that is wrong; its mistake is noted."""

_LONGEST_TEXT: Final = 65_536

Lists = types.VarTupleType | types.ListType | types.FrozenSetType
Tables = types.StructType | types.DictType

Leaf = Callable[[Any, object], Any]
"""Reads a single value by its type; gives what it means, or :data:`INVALID`."""


class Notation(Struct, frozen=True, kw_only=True):
    """How a kind of document is written, in the words of those who write it.

    Args:
        leaves: how a single value is read, by its type.
        text: what text is called.
        texts: what several of them are called; empty where a list is described entry by entry.
        table: what a struct or a mapping is called.
        whole_number: what an integer is called.
        moment: what a date or time looks like.
        choice: how one of several words is written, with ``{}`` for the word.
        most_items: of a list whose type has no limit.
        unknown: what is said of an unknown name, after the name; empty where a name must not be repeated, because
            somebody else wrote it.
    """

    leaves: Mapping[type, Leaf]
    text: str
    texts: str = ""
    table: str
    whole_number: str
    moment: str
    choice: str
    most_items: int
    unknown: str


def bare_type(node: types.Type) -> types.Type:
    """A type without its description and without ``None``."""
    while isinstance(node, types.Metadata | types.UnionType):
        node = node.type if isinstance(node, types.Metadata) else without_none(node)
    return node


def without_none(node: types.UnionType) -> types.Type:
    """The first type of a union beside ``None``."""
    return next(each for each in node.types if not isinstance(each, types.NoneType))


def default_of(field: types.Field) -> Any:
    """A field's default; :data:`INVALID` where it has none."""
    if field.default is not NODEFAULT:
        return field.default
    return field.default_factory() if field.default_factory is not NODEFAULT else INVALID


def expected(node: types.Type, notation: Notation) -> str:
    """Say what a value must be, as it stands after "must be"."""
    if isinstance(node, types.Metadata):
        return expected(node.type, notation)
    if isinstance(node, types.UnionType):
        members = [each for each in node.types if not isinstance(each, types.NoneType)]
        lists_first = sorted(members, key=lambda each: not isinstance(bare_type(each), Lists))
        return ", or ".join(expected(each, notation) for each in lists_first)
    if isinstance(node, types.EnumType | types.LiteralType):
        return "one of " + ", ".join(notation.choice.format(each) for each in _choices(node))
    if isinstance(node, Lists):
        if notation.texts and isinstance(bare_type(node.item_type), types.StrType):
            return f"a list of {notation.texts}"
        return f"a list, each {expected(node.item_type, notation)}"
    if isinstance(node, types.IntType | types.FloatType):
        kind = notation.whole_number if isinstance(node, types.IntType) else "a number"
        return kind if node.ge is None else f"{kind} from {node.ge} to {node.le}"
    if isinstance(node, types.StrType) and node.pattern is not None:
        return f"text that matches {node.pattern.removeprefix(chr(92) + 'A').removesuffix(chr(92) + 'Z')}"
    if isinstance(node, Tables):
        return notation.table
    named = {types.BoolType: "true or false", types.DateTimeType: notation.moment}
    return named.get(type(node), notation.text)


def code_of(node: types.Type) -> str:
    """The code of a value that is not of this type."""
    while isinstance(node, types.Metadata):
        node = node.type
    if isinstance(node, types.UnionType):
        codes = [code_of(each) for each in node.types if not isinstance(each, types.NoneType)]
        return "not_a_list" if "not_a_list" in codes else codes[0]
    if isinstance(node, Lists):
        return "not_a_list"
    return _CODES.get(type(node), "malformed")


_CODES: Final[Mapping[type, str]] = {
    types.StructType: "not_an_object",
    types.DictType: "not_an_object",
    types.BoolType: "not_a_boolean",
    types.IntType: "not_an_integer",
    types.FloatType: "not_a_number",
    types.StrType: "not_a_string",
    types.EnumType: "unlisted_value",
    types.LiteralType: "unlisted_value",
}


def _choices(node: types.EnumType | types.LiteralType) -> tuple[Any, ...]:
    return tuple(node.values) if isinstance(node, types.LiteralType) else tuple(member.value for member in node.cls)


# --- single values --------------------------------------------------------------------------------------------------


def _bool(_node: types.BoolType, value: object) -> Any:
    return value if isinstance(value, bool) else INVALID


def _int(node: types.IntType, value: object) -> Any:
    if not isinstance(value, int) or isinstance(value, bool):
        return INVALID
    return value if _in_range(node, value) else INVALID


def _float(node: types.FloatType, value: object) -> Any:
    if not isinstance(value, int | float) or isinstance(value, bool) or not _in_range(node, value):
        return INVALID
    return float(value)


def _in_range(node: types.IntType | types.FloatType, value: float) -> bool:
    # Every number of the settings has both bounds, so that neither an infinity nor "not a number" passes.
    return (node.ge is None or node.ge <= value) and (node.le is None or value <= node.le)


def _text(node: types.StrType, value: object) -> Any:
    if not isinstance(value, str) or not (node.min_length or 0) <= len(value) <= (node.max_length or _LONGEST_TEXT):
        return INVALID
    return value if node.pattern is None or re.search(node.pattern, value) else INVALID


def _choice(node: types.EnumType | types.LiteralType, value: object) -> Any:
    if not isinstance(value, str) or value not in _choices(node):
        return INVALID
    return node.cls(value) if isinstance(node, types.EnumType) else value


def _moment(_node: types.DateTimeType, value: object) -> Any:
    """A time with its zone, or a date, which begins at 00:00 UTC."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return INVALID
        return value.replace(tzinfo=UTC) if value.tzinfo is None and value.time() == _MIDNIGHT else _aware(value)
    if isinstance(value, datetime):
        return _aware(value)
    return datetime(value.year, value.month, value.day, tzinfo=UTC) if isinstance(value, date) else INVALID


def _aware(moment: datetime) -> Any:
    return moment if moment.tzinfo is not None else INVALID


_MIDNIGHT = datetime.min.time()

LEAVES: Final[Mapping[type, Leaf]] = {
    types.BoolType: _bool,
    types.IntType: _int,
    types.FloatType: _float,
    types.StrType: _text,
    types.EnumType: _choice,
    types.LiteralType: _choice,
    types.DateTimeType: _moment,
}

TOML: Final = Notation(
    leaves=LEAVES,
    text="text, in one line and not empty",
    table="a table",
    whole_number="a whole number",
    moment="a date like 2027-01-01, or a time with its zone like 2027-01-01T08:00:00Z",
    choice='"{}"',
    most_items=1_000_000,
    unknown="is not known here",
)
