"""From file and environment to :class:`Settings`, or to every mistake at once."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import inspect as types
from msgspec.structs import replace

from relay.settings.checking import Checker
from relay.settings.environment import CONFIG_VARIABLE, apply_environment
from relay.settings.errors import SettingError, SettingsError
from relay.settings.rules import find_conflicts
from relay.settings.secret_files import read_secret_files
from relay.settings.sections import Settings

_LARGEST_FILE_BYTES: Final = 16 * 1024 * 1024


def load_settings(environ: Mapping[str, str], config_path: Path | None = None) -> Settings:
    """Read the settings.

    Args:
        environ: the process's environment; ``RELAY_CONFIG`` names the file where ``config_path`` does not.
        config_path: a TOML file. Without any file, defaults and environment count.

    Raises:
        SettingsError: with every mistake, each with its place and remedy; no value is repeated.
    """
    named = environ.get(CONFIG_VARIABLE) or None
    place = CONFIG_VARIABLE if config_path is None else "config file"
    path = config_path or (Path(named) if named is not None else None)
    mistakes: list[SettingError] = []
    document = _read_document(path, place, mistakes) if path is not None else {}
    return settings_of(document, environ, mistakes)


def settings_of(
    document: dict[str, Any], environ: Mapping[str, str], mistakes: Sequence[SettingError] = ()
) -> Settings:
    """Make the settings of a file's content, changed in place, and an environment.

    Args:
        mistakes: those found before.

    Raises:
        SettingsError: with every mistake.
    """
    checker = Checker()
    origins = apply_environment(document, environ, checker)
    node = types.type_info(Settings)
    read_secret_files(node, document, "", checker, origins)
    tree = checker.check(node, document, "")
    found = [*checker.errors, *find_conflicts(tree)]
    if found or mistakes:
        named = {SettingError(_name(error.path, origins), error.message) for error in found}
        raise SettingsError(sorted(named.union(mistakes)))
    return msgspec.convert(tree, Settings, dec_hook=_keep)


def reload_settings(current: Settings, environ: Mapping[str, str], config_path: Path | None = None) -> Settings:
    """Read the settings again and take over what may change while the relay runs: clients and receivers.

    Raises:
        SettingsError: something is wrong, anywhere; keep what is current.
    """
    new = load_settings(environ, config_path)
    return replace(current, clients=new.clients, receivers=new.receivers)


def require_credentials(settings: Settings) -> None:
    """Check that there is an account to send with; not needed where every client is a sandbox client.

    Raises:
        SettingsError: user name or password is missing.
    """
    if settings.clients and all(client.sandbox for client in settings.clients):
        return
    given = {"username": settings.smsclone.username, "password": settings.smsclone.password}
    missing = [name for name, secret in given.items() if not secret]
    if missing:
        raise SettingsError([SettingError(f"smsclone.{name}", _remedy(name)) for name in missing])


def _remedy(name: str) -> str:
    variable = f"RELAY_SMSCLONE_{name.upper()}"
    return f"is missing; set {variable} or {variable}_FILE"


def _read_document(path: Path, place: str, mistakes: list[SettingError]) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE_BYTES + 1)
        if len(content) > _LARGEST_FILE_BYTES:
            raise ValueError("too large")  # noqa: TRY301 — one place tells what is wrong with the file
        return tomllib.loads(content.decode())
    except tomllib.TOMLDecodeError as failure:
        wrong = f"is not TOML{_position(failure)}"
    except UnicodeDecodeError:
        wrong = "is not UTF-8"
    except (OSError, ValueError, RecursionError) as failure:
        wrong = f"cannot be read ({type(failure).__name__})"
    mistakes.append(SettingError(place, f"names a file that {wrong}"))
    return {}


def _position(failure: tomllib.TOMLDecodeError) -> str:
    """Where the file breaks off; the rest of the text could repeat what stands there."""
    _, _, position = str(failure).rpartition("(at ")
    return f" (at {position}" if position.startswith(("line ", "end ")) else ""


def _name(path: str, origins: Mapping[str, str]) -> str:
    """Call a place by the variable or file that set it."""
    for origin, name in origins.items():
        if path == origin or path.startswith((f"{origin}[", f"{origin}.")):
            return name + path.removeprefix(origin)
    return path


def _keep(_type: type, value: object) -> object:
    return value  # secrets and paths are made by the checker
