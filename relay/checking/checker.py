"""Walks a document along its types and collects what is wrong."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

from msgspec import Struct
from msgspec import inspect as types

from relay.checking.notation import INVALID, Lists, Notation, bare_type, code_of, default_of, expected

_LONGEST_PATH: Final = 120
_SHOWN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.[]")


class Mistake(Struct, frozen=True, order=True):
    """One thing that is wrong.

    Args:
        path: where, as ``clients[2].senders[0]``; for settings it may be the name of a variable or file.
        message: what is wrong with its remedy, to be read after the path: "must be true or false".
        code: of a closed set, for programs: ``required``, ``unknown_field``, ``too_many``, ``not_a_list`` …
        expected: what the value must be, as a noun phrase: "true or false"; empty where only the message can say it.
    """

    path: str
    message: str
    code: str = "refused"
    expected: str = ""

    def __str__(self) -> str:
        return f"{self.path} {self.message}"


class Checker:
    """Walks a document along its types and collects what is wrong."""

    def __init__(self, notation: Notation) -> None:
        self.mistakes: list[Mistake] = []
        self._notation = notation

    def check(self, node: types.Type, value: object, path: str) -> Any:
        """Check one value.

        Returns:
            The value converted, structs as dicts of their valid fields, defaults filled in; or :data:`INVALID`.
        """
        if isinstance(node, types.Metadata):
            return self._check_described(node, value, path)
        if isinstance(node, types.UnionType):
            return self._check_union(node, value, path)
        if isinstance(node, types.StructType):
            return self._check_struct(node, value, path)
        if isinstance(node, Lists):
            return self._check_list(node, value, path)
        if isinstance(node, types.DictType):
            return self._check_table(node, value, path)
        found = self._notation.leaves[type(node)](node, value)
        return self._refuse_type(path, node) if found is INVALID else found

    def refuse(self, path: str, message: str, code: str = "refused") -> Any:
        """Note a mistake."""
        self.mistakes.append(Mistake(path, message, code))
        return INVALID

    def _refuse_type(self, path: str, node: types.Type, message: str = "must be {}", code: str = "") -> Any:
        needed = expected(node, self._notation)
        self.mistakes.append(Mistake(path, message.format(needed), code or code_of(node), needed))
        return INVALID

    def _check_described(self, node: types.Metadata, value: object, path: str) -> Any:
        found = self.check(node.type, value, path)
        check = (node.extra or {}).get("check")
        if found is INVALID or check is None:
            return found
        wrong = check(found)
        return found if wrong is None else self.refuse(path, wrong)

    def _check_union(self, node: types.UnionType, value: object, path: str) -> Any:
        """``None``, or the member of the value's own form: a list for a list, anything else for anything else."""
        members = [each for each in node.types if not isinstance(each, types.NoneType)]
        if value is None and len(members) < len(node.types):
            return None
        if len(members) == 1:
            return self.check(members[0], value, path)
        for member in members:
            if isinstance(value, list) and isinstance(bare_type(member), Lists):
                return self.check(member, value, path)
            attempt = Checker(self._notation)
            found = attempt.check(member, value, path)
            if found is not INVALID and not attempt.mistakes:
                return found
        return self._refuse_type(path, node)

    def _check_struct(self, node: types.StructType, value: object, path: str) -> Any:
        if not isinstance(value, Mapping):
            return self._refuse_type(path, node)
        fields = {field.encode_name: field for field in node.fields}
        found = {name: self._check_field(field, value, _join(path, name)) for name, field in fields.items()}
        self._refuse_unknown([name for name in value if name not in fields], fields, path)
        return {name: each for name, each in found.items() if each is not INVALID}

    def _refuse_unknown(self, names: list[str], known: Mapping[str, object], path: str) -> None:
        if names and not self._notation.unknown:
            what = "1 field is" if len(names) == 1 else f"{len(names)} fields are"
            message = f"{what} not known here; the known ones are {', '.join(known)}"
            self.refuse(_join(path, "(unknown)"), message, "unknown_field")
            return
        for name in names:
            close = get_close_matches(name[:64].lower(), known, n=1)
            remedy = f"did you mean {close[0]}?" if close else "remove it"
            self.refuse(_join(path, clean_name(name)), f"{self._notation.unknown}; {remedy}", "unknown_field")

    def _check_field(self, field: types.Field, table: Mapping[str, object], path: str) -> Any:
        if field.encode_name in table:
            return self.check(field.type, table[field.encode_name], path)
        if field.required:
            return self._refuse_type(path, field.type, "is missing; it must be {}", "required")
        # A table that is not there agrees with everything, and gets its defaults where the struct is built.
        return INVALID if isinstance(bare_type(field.type), types.StructType) else default_of(field)

    def _check_list(self, node: Lists, value: object, path: str) -> Any:
        if not isinstance(value, list | tuple):
            return self._refuse_type(path, node)
        most = self._notation.most_items if node.max_length is None else node.max_length
        if len(value) > most:
            return self.refuse(path, f"must have at most {most} entries", "too_many")
        if len(value) < (node.min_length or 0):
            return self.refuse(path, f"must have {node.min_length} or more, each {self._each(node)}", "too_few")
        found = [self.check(node.item_type, item, f"{path}[{index}]") for index, item in enumerate(value)]
        # A list of tables keeps its length, so that positions stay those of the file.
        return tuple(found) if isinstance(node.item_type, types.StructType) or INVALID not in found else INVALID

    def _each(self, node: Lists) -> str:
        return expected(node.item_type, self._notation)

    def _check_table(self, node: types.DictType, value: object, path: str) -> Any:
        if not isinstance(value, Mapping):
            return self._refuse_type(path, node)
        if node.max_length is not None and len(value) > node.max_length:
            return self.refuse(path, f"must have at most {node.max_length} entries", "too_many")
        found = {name: self.check(node.value_type, item, _join(path, clean_name(name))) for name, item in value.items()}
        return INVALID if INVALID in found.values() else found


def clean_name(name: str) -> str:
    """Make a name that the reader wrote fit for an error: short, printable, one line."""
    shown = "".join(character if character in _SHOWN else "?" for character in name[:_LONGEST_PATH])
    return shown if len(name) <= _LONGEST_PATH else f"{shown}…"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
