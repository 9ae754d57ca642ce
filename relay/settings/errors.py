"""What is wrong with the settings: all of it at once, each with its place, never with a value."""

from collections.abc import Sequence

from msgspec import Struct

_LONGEST_PATH = 120
_SHOWN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.[]")


class SettingError(Struct, frozen=True, order=True):
    """One mistake: where (a dotted path, or a variable's name), and what is wrong with its remedy."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path} {self.message}"


class SettingsError(Exception):
    """The settings cannot be used. ``errors`` holds every mistake that was found."""

    def __init__(self, errors: Sequence[SettingError]) -> None:
        super().__init__("; ".join(str(error) for error in errors))
        self.errors = tuple(errors)


def clean_name(name: str) -> str:
    """Make a name that the operator wrote fit for an error: short, printable, one line."""
    shown = "".join(character if character in _SHOWN else "?" for character in name[:_LONGEST_PATH])
    return shown if len(name) <= _LONGEST_PATH else f"{shown}…"
