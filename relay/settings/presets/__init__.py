"""Presets: ready-made settings of receivers for senders that people have, a file of data each (SPEC section 16).

A preset is what stands in a receiver's table where the receiver does not say otherwise: ``fields`` name by name,
everything else as a whole.
"""

from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

import msgspec
from msgspec import Struct

_SUFFIX = ".toml"


class Preset(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One sender.

    Attributes:
        title: its name, as its makers write it.
        source: where its fields are documented.
        setup: what to enter where, at the sender; paragraphs with ``code``.
        snippet: what is entered there, where it is more than a line.
        example: the receiver's table as an operator would write it.
        receiver: settings of a receiver, as they would stand in its table.
    """

    title: str
    source: str
    setup: str
    snippet: str = ""
    example: str
    receiver: dict[str, Any]


@cache
def list_presets() -> dict[str, Preset]:
    """Every preset, by name."""
    return dict(sorted(_read_presets()))


def _read_presets() -> Iterator[tuple[str, Preset]]:
    for file in (resources.files("relay.settings") / "presets").iterdir():
        if file.name.endswith(_SUFFIX):
            yield file.name.removesuffix(_SUFFIX), msgspec.toml.decode(file.read_bytes(), type=Preset)


def check_preset(name: str) -> str | None:
    """Say what is wrong with the name of a preset."""
    return None if name in list_presets() else f"must be one of {', '.join(list_presets())}"


def apply_presets(document: dict[str, Any]) -> None:
    """Fill receivers up with what their presets say, in place.

    Args:
        document: the settings as they stand in the file, of any form; what is wrong in it is told elsewhere.
    """
    receivers = document.get("receivers")
    for receiver in receivers if isinstance(receivers, list) else ():
        if not isinstance(receiver, dict) or not isinstance(receiver.get("preset"), str):
            continue
        preset = list_presets().get(receiver["preset"])
        if preset is None:
            continue
        for name, value in preset.receiver.items():
            if name == "fields" and isinstance(receiver.get("fields", {}), dict):
                receiver["fields"] = value | receiver.get("fields", {})
            else:
                receiver.setdefault(name, value)
