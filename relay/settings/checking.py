"""Field by field over a whole document: every mistake at once, each with its dotted path.

msgspec stops at the first error and repeats unknown names and enum values in its text, so its type information is used
here, and its messages are not.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from msgspec import NODEFAULT
from msgspec import inspect as types

from relay.domain.secret import Secret
from relay.settings.errors import SettingError, clean_name

INVALID: Final = object()
"""Stands for a value that is not right; its error is already told."""

Leaf = Callable[[Any, object], Any]

_LONGEST_TEXT = 65_536


class Checker:
    """Walks a document along its types and collects what is wrong."""

    def __init__(self) -> None:
        self.errors: list[SettingError] = []

    def check(self, node: types.Type, value: object, path: str) -> Any:
        """Check one value.

        Returns:
            The value converted, structs as dicts of their valid fields, defaults filled in; or :data:`INVALID`.
        """
        if isinstance(node, types.Metadata):
            return self._check_described(node, value, path)
        if isinstance(node, types.UnionType):
            return None if value is None else self.check(without_none(node), value, path)
        if isinstance(node, types.StructType):
            return self._check_struct(node, value, path)
        if isinstance(node, types.VarTupleType):
            return self._check_list(node, value, path)
        if isinstance(node, types.DictType):
            return self._check_table(node, value, path)
        found = _LEAVES[type(node)](node, value)
        return self.refuse(path, f"must be {expected(node)}") if found is INVALID else found

    def refuse(self, path: str, message: str) -> Any:
        """Note a mistake."""
        self.errors.append(SettingError(path, message))
        return INVALID

    def _check_described(self, node: types.Metadata, value: object, path: str) -> Any:
        found = self.check(node.type, value, path)
        check = (node.extra or {}).get("check")
        if found is INVALID or check is None:
            return found
        wrong = check(found)
        return found if wrong is None else self.refuse(path, wrong)

    def _check_struct(self, node: types.StructType, value: object, path: str) -> Any:
        if not isinstance(value, Mapping):
            return self.refuse(path, "must be a table")
        fields = {field.encode_name: field for field in node.fields}
        for name in value:
            if name not in fields:
                self.refuse(_join(path, clean_name(name)), _unknown(name, fields))
        found = {name: self._check_field(field, value, _join(path, name)) for name, field in fields.items()}
        return {name: each for name, each in found.items() if each is not INVALID}

    def _check_field(self, field: types.Field, table: Mapping[str, object], path: str) -> Any:
        if field.encode_name in table:
            return self.check(field.type, table[field.encode_name], path)
        if field.required:
            return self.refuse(path, f"is missing; it must be {expected(field.type)}")
        # A table that is not there agrees with everything, and gets its defaults where the settings are built.
        return INVALID if isinstance(bare_type(field.type), types.StructType) else default_of(field)

    def _check_list(self, node: types.VarTupleType, value: object, path: str) -> Any:
        if not isinstance(value, list | tuple):
            return self.refuse(path, f"must be {expected(node)}")
        if node.max_length is not None and len(value) > node.max_length:
            return self.refuse(path, f"must have at most {node.max_length} entries")
        found = [self.check(node.item_type, item, f"{path}[{index}]") for index, item in enumerate(value)]
        # A list of tables keeps its length, so that positions stay those of the file.
        return tuple(found) if isinstance(node.item_type, types.StructType) or INVALID not in found else INVALID

    def _check_table(self, node: types.DictType, value: object, path: str) -> Any:
        if not isinstance(value, Mapping):
            return self.refuse(path, "must be a table")
        if node.max_length is not None and len(value) > node.max_length:
            return self.refuse(path, f"must have at most {node.max_length} entries")
        found = {name: self.check(node.value_type, item, _join(path, clean_name(name))) for name, item in value.items()}
        return INVALID if INVALID in found.values() else found


def without_none(node: types.UnionType) -> types.Type:
    """The one type beside ``None``."""
    return next(each for each in node.types if not isinstance(each, types.NoneType))


def bare_type(node: types.Type) -> types.Type:
    """A type without its description and without ``None``."""
    while isinstance(node, types.Metadata | types.UnionType):
        node = node.type if isinstance(node, types.Metadata) else without_none(node)
    return node


def default_of(field: types.Field) -> Any:
    """A field's default; :data:`INVALID` where it has none."""
    if field.default is not NODEFAULT:
        return field.default
    return field.default_factory() if field.default_factory is not NODEFAULT else INVALID


def expected(node: types.Type) -> str:
    """Say what a value must be, as it stands after "must be"."""
    if isinstance(node, types.Metadata):
        return expected(node.type)
    if isinstance(node, types.UnionType):
        return expected(without_none(node))
    if isinstance(node, types.EnumType):
        return "one of " + ", ".join(f'"{member.value}"' for member in node.cls)
    if isinstance(node, types.VarTupleType):
        return f"a list, each {expected(node.item_type)}"
    if isinstance(node, types.IntType | types.FloatType):
        kind = "a whole number" if isinstance(node, types.IntType) else "a number"
        return f"{kind} from {node.ge} to {node.le}"
    if isinstance(node, types.StrType) and node.pattern is not None:
        return f"text that matches {node.pattern.removeprefix(chr(92) + 'A').removesuffix(chr(92) + 'Z')}"
    return _EXPECTED.get(type(node), "text, in one line and not empty")


_EXPECTED: dict[type, str] = {
    types.BoolType: "true or false",
    types.DateTimeType: "a date like 2027-01-01, or a time with its zone like 2027-01-01T08:00:00Z",
    types.StructType: "a table",
    types.DictType: "a table",
}


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _unknown(name: str, known: Mapping[str, object]) -> str:
    close = get_close_matches(name[:64].lower(), known, n=1)
    return f"is no setting; did you mean {close[0]}?" if close else "is no setting; remove it"


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
    # Every number has both bounds, so that neither an infinity nor "not a number" passes.
    return (node.ge is None or node.ge <= value) and (node.le is None or value <= node.le)


def _text(node: types.StrType, value: object) -> Any:
    if not isinstance(value, str) or not (node.min_length or 0) <= len(value) <= (node.max_length or _LONGEST_TEXT):
        return INVALID
    if not all(character.isprintable() or character in "\n\t" for character in value):
        return INVALID
    return value if node.pattern is None or re.search(node.pattern, value) else INVALID


def _enum(node: types.EnumType, value: object) -> Any:
    return next((member for member in node.cls if isinstance(value, str) and member.value == value), INVALID)


def _custom(node: types.CustomType, value: object) -> Any:
    """A path or a secret: some text, in one line."""
    if not isinstance(value, str) or not value or len(value) > _LONGEST_TEXT or not value.isprintable():
        return INVALID
    return Secret(value) if node.cls is Secret else Path(value)


def _moment(_node: types.DateTimeType, value: object) -> Any:
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

_LEAVES: dict[type, Leaf] = {
    types.BoolType: _bool,
    types.IntType: _int,
    types.FloatType: _float,
    types.StrType: _text,
    types.EnumType: _enum,
    types.CustomType: _custom,
    types.DateTimeType: _moment,
}
