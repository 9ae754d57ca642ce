"""Secrets that stand in files of their own (``…_file``): read before the settings are checked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from msgspec import inspect as types

from relay.checking import Checker, bare_type

FILE_ENDING: Final = "_file"
"""How the name of a setting ends that names a file with the secret."""
_LARGEST_BYTES = 65_536


def read_secret_files(node: types.Type, value: object, path: str, checker: Checker, origins: dict[str, str]) -> None:
    """Put what secret files hold into the document, in place.

    Args:
        node: the type at this place.
        value: the document at this place, of any form.
        path: the dotted path of this place.
        checker: takes the mistakes; the names of files are not told, because a secret may stand there by mistake.
        origins: dotted path → how to call it in an error; extended by what came from files.
    """
    bare = bare_type(node)
    if isinstance(bare, types.VarTupleType) and isinstance(value, list):
        for index, item in enumerate(value):
            read_secret_files(bare.item_type, item, f"{path}[{index}]", checker, origins)
    elif isinstance(bare, types.StructType) and isinstance(value, dict):
        for name, listed in _secret_names(bare):
            _read_one(value, name, f"{path}.{name}", checker, origins, listed=listed)
        for field in bare.fields:
            inner = f"{path}.{field.encode_name}" if path else field.encode_name
            read_secret_files(field.type, value.get(field.encode_name), inner, checker, origins)


def without_secrets(node: types.Type, value: Any) -> Any:
    """The part of a checked document in which no secret stands, for rules that hold without them."""
    bare = bare_type(node)
    if isinstance(bare, types.VarTupleType) and isinstance(value, tuple):
        return tuple(without_secrets(bare.item_type, item) for item in value)
    if not isinstance(bare, types.StructType) or not isinstance(value, dict):
        return value
    secret = {name for name, _ in _secret_names(bare)}
    kept = {field.encode_name: field.type for field in bare.fields if field.encode_name not in secret}
    return {name: without_secrets(kept[name], each) for name, each in value.items() if name in kept}


def _secret_names(node: types.StructType) -> Iterator[tuple[str, bool]]:
    """The settings that can stand in a file, and whether that file holds a list, one entry per line."""
    fields = {field.encode_name: field for field in node.fields}
    for name in fields:
        kept = fields.get(name.removesuffix(FILE_ENDING)) if name.endswith(FILE_ENDING) else None
        if kept is not None:
            yield kept.encode_name, isinstance(bare_type(kept.type), types.VarTupleType)


def _read_one(
    table: dict[str, Any], name: str, path: str, checker: Checker, origins: dict[str, str], *, listed: bool
) -> None:
    file = table.get(name + FILE_ENDING)
    if not isinstance(file, str) or not file:
        return
    shown = origins.get(path + FILE_ENDING, path + FILE_ENDING)
    if name in table:
        checker.refuse(shown, f"and {origins.get(path, path)} are both given; keep one")
        return
    try:
        text = _read_text(Path(file))
    except (OSError, ValueError) as failure:
        checker.refuse(shown, f"names a file that cannot be read ({type(failure).__name__})")
        return
    table[name] = [line.strip() for line in text.splitlines() if line.strip()] if listed else text.rstrip("\r\n")
    origins[path] = shown


def _read_text(file: Path) -> str:
    with file.open("rb") as opened:
        content = opened.read(_LARGEST_BYTES + 1)
    if len(content) > _LARGEST_BYTES:
        raise ValueError("too large for a secret")
    return content.decode("utf-8-sig")
