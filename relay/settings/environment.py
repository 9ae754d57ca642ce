"""Settings from environment variables: ``RELAY_<SECTION>_<FIELD>`` for every scalar setting.

Variables that Kubernetes injects for Services are ignored by their form; any other ``RELAY_`` variable that names no
setting is an error, so that a mistyped one is never silently without effect.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from msgspec import Struct
from msgspec import inspect as types

from relay.checking import Checker, bare_type, clean_name
from relay.settings.sections import Settings

PREFIX: Final = "RELAY_"
CONFIG_VARIABLE: Final = "RELAY_CONFIG"

_COMMANDS_OWN = "RELAY_CLIENT_"
"""Variables of the client commands (``relay send --url``), which are no settings."""

_CALLERS_NAMES = {
    **dict.fromkeys(("RELAY_URL", "RELAY_BASE_URL", "RELAY_HOST"), "RELAY_CLIENT_URL"),
    **dict.fromkeys(("RELAY_KEY", "RELAY_API_KEY", "RELAY_TOKEN"), "RELAY_CLIENT_KEY"),
}
"""What a caller may have called the address and its key, and the names that they have."""

_INJECTED = re.compile(
    r"RELAY_(?:SERVICE_|PORT).*"
    # The same for other Services whose names begin with "relay-".
    r"|RELAY_\w+_SERVICE_(?:HOST|PORT(?:_\w+)?)|RELAY_\w+_PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?",
    re.DOTALL,
)
_INJECTED_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://")

_MARK = "\ufeff"
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?")
_BOOLEANS = {"true": True, "false": False}


class Variable(Struct, frozen=True):
    """A setting that a variable names: where it stands, of which type, and whether it can be given as one word."""

    path: tuple[str, ...]
    type: types.Type
    scalar: bool


def list_variables() -> dict[str, Variable]:
    """Every variable, by its name."""
    return {PREFIX + "_".join(each.path).upper(): each for each in _variables(types.type_info(Settings), ())}


def _variables(node: types.Type, path: tuple[str, ...]) -> Iterator[Variable]:
    bare = bare_type(node)
    if isinstance(bare, types.StructType):
        for field in bare.fields:
            yield from _variables(field.type, (*path, field.encode_name))
    else:
        yield Variable(path, node, scalar=not isinstance(bare, types.VarTupleType | types.DictType))


def without_marks(environ: Mapping[str, str]) -> dict[str, str]:
    """Take byte-order marks off: editors put one before the first name of an env file, and into files of which a value
    is made."""
    return {name.removeprefix(_MARK): value.removeprefix(_MARK) for name, value in environ.items()}


def find_stray(environ: Mapping[str, str]) -> str:
    """Say which of a caller's variables has another name; empty where none has."""
    stray = [name for name, right in _CALLERS_NAMES.items() if name in environ and right not in environ]
    return " ".join(f"{name} is set; its name is {_CALLERS_NAMES[name]}." for name in stray)


def apply_environment(document: dict[str, Any], environ: Mapping[str, str], checker: Checker) -> dict[str, str]:
    """Put what variables say over what the file says.

    Args:
        document: the file's content; changed in place.
        environ: the process's environment.
        checker: takes the mistakes.

    Returns:
        Dotted path → name of the variable that set it, so that a mistake names the variable.
    """
    variables = list_variables()
    origins: dict[str, str] = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name == CONFIG_VARIABLE:
            continue
        variable = variables.get(name)
        if variable is None:
            if not _is_foreign(name, environ[name]):
                checker.refuse(clean_name(name), _unknown(name, variables))
        elif _holds_service(name, environ[name]):
            checker.refuse(
                name, "holds an address that Kubernetes injects for a Service; set enableServiceLinks: false"
            )
        elif not variable.scalar:
            checker.refuse(name, "cannot be set by a variable: it is a list; set it in the file")
        else:
            _put(document, variable, _read(variable.type, environ[name]), origins)
            origins[".".join(variable.path)] = name
    return origins


def _is_foreign(name: str, value: str) -> bool:
    return name.startswith(_COMMANDS_OWN) or bool(_INJECTED.fullmatch(name)) or _holds_service(name, value)


def _holds_service(name: str, value: str) -> bool:
    return name.endswith("_PORT") and bool(_INJECTED_ADDRESS.match(value))


def _unknown(name: str, variables: Mapping[str, Variable]) -> str:
    if name.startswith(("RELAY_CLIENTS", "RELAY_RECEIVERS", "RELAY_ACCOUNTS")):
        return "is not a setting: clients, receivers and accounts are set in the file"
    if name in _CALLERS_NAMES:
        return f"is not a setting; a caller's variable is called {_CALLERS_NAMES[name]}, which serve ignores: rename it"
    close = get_close_matches(name[:100], variables, n=1, cutoff=0.75)
    return f"is not a setting; did you mean {close[0]}?" if close else "is not a setting; remove it"


def _read(node: types.Type, text: str) -> object:
    """Make the value that the file would hold; text that is none stays text, and is refused where it is checked."""
    if not text and isinstance(node, types.UnionType):
        return None
    bare = bare_type(node)
    if isinstance(bare, types.BoolType):
        return _BOOLEANS.get(text.lower(), text)
    if isinstance(bare, types.IntType) and _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if isinstance(bare, types.FloatType) and _NUMBER.fullmatch(text) else text


def _put(document: dict[str, Any], variable: Variable, value: object, origins: Mapping[str, str]) -> None:
    table: Any = document
    for name in variable.path[:-1]:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            return  # not a table in the file: that mistake is told
    *above, last = variable.path
    # A variable wins over the file, also where one of them gives a secret and the other the name of its file.
    other = last.removesuffix("_file") if last.endswith("_file") else f"{last}_file"
    if ".".join((*above, other)) not in origins:
        table.pop(other, None)
    table[last] = value
