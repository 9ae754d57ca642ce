"""From file and environment to :class:`Settings`, or to every mistake at once."""

import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from msgspec import inspect as types
from msgspec.structs import replace

from relay.checking import Checker, Mistake
from relay.domain.clients import FIRST_ACCOUNT
from relay.settings.account_sections import SmscloneSettings
from relay.settings.client_sections import ClientSettings
from relay.settings.environment import CONFIG_VARIABLE, apply_environment, without_marks
from relay.settings.presets import apply_presets
from relay.settings.rules import find_conflicts
from relay.settings.secret_files import FILE_ENDING, read_secret_files, without_secrets
from relay.settings.sections import Settings
from relay.settings.values import SETTINGS

_LARGEST_FILE_BYTES: Final = 16 * 1024 * 1024


class SettingsError(Exception):
    """The settings cannot be used. ``errors`` holds every mistake that was found, each with its place."""

    def __init__(self, errors: Sequence[Mistake]) -> None:
        super().__init__("; ".join(str(error) for error in errors))
        self.errors = tuple(errors)


def load_settings(
    environ: Mapping[str, str], config_path: Path | None = None, *, with_secrets: bool = True
) -> Settings:
    """Read the settings.

    Args:
        environ: the process's environment; ``RELAY_CONFIG`` names the file where ``config_path`` does not.
        config_path: a TOML file. Without any file, defaults and environment count.
        with_secrets: whether files that hold secrets are read, and what depends on secrets is checked.

    Raises:
        SettingsError: with every mistake, each with its place and remedy; no value is repeated.
    """
    place = CONFIG_VARIABLE if config_path is None else "config file"
    path = config_path or find_file(environ)
    mistakes: list[Mistake] = []
    document = _read_document(path, place, mistakes) if path is not None else {}
    return settings_of(document, environ, mistakes, with_secrets=with_secrets)


def settings_of(
    document: dict[str, Any],
    environ: Mapping[str, str],
    mistakes: Sequence[Mistake] = (),
    *,
    with_secrets: bool = True,
) -> Settings:
    """Make the settings of a file's content, changed in place, and an environment.

    Args:
        mistakes: those found before.
        with_secrets: see :func:`load_settings`.

    Raises:
        SettingsError: with every mistake.
    """
    checker = Checker(SETTINGS)
    origins = apply_environment(document, without_marks(environ), checker)
    apply_presets(document)
    node = types.type_info(Settings)
    if with_secrets:
        read_secret_files(node, document, "", checker, origins)
    tree = checker.check(node, document, "")
    found = [*checker.mistakes, *find_conflicts(tree if with_secrets else without_secrets(node, tree))]
    if found or mistakes:
        named = {Mistake(_name(error.path, origins), error.message) for error in found}
        raise SettingsError(sorted(named.union(mistakes)))
    return msgspec.convert(tree, Settings, dec_hook=_keep)


def find_file(environ: Mapping[str, str]) -> Path | None:
    """The settings file that the environment names."""
    named = without_marks(environ).get(CONFIG_VARIABLE) or None
    return Path(named) if named is not None else None


def describe_file(file: Path | None) -> str:
    """Say which settings count: the file, or that there is none."""
    return str(file or f"no file ({CONFIG_VARIABLE} is not set), defaults and environment only")


def reload_settings(current: Settings, environ: Mapping[str, str], config_path: Path | None = None) -> Settings:
    """Read the settings again and take over what may change while the relay runs: clients, receivers, and user names
    and passwords of the accounts that were ready when it started.

    Raises:
        SettingsError: something is wrong, anywhere; keep what is current.
    """
    new, ready = load_settings(environ, config_path), current.ready_accounts()
    written = {name: account for name, account in new.all_accounts().items() if name in ready}
    reloaded = replace(
        current,
        clients=new.clients,
        receivers=new.receivers,
        smsclone=_with_credentials(current.smsclone, written.get(FIRST_ACCOUNT, current.smsclone)),
        accounts=tuple(_with_credentials(each, written.get(each.name, each)) for each in current.accounts),
    )
    remedy = "takes an account that was not ready when the relay started: restart the relay for it"
    missing = [
        Mistake(f"clients[{index}]" + (f".accounts[{place}]" if client.accounts else ""), remedy)
        for index, client in enumerate(reloaded.clients)
        for place, name in enumerate(reloaded.accounts_of(client))
        if name not in ready
    ]
    if missing:
        raise SettingsError(missing)
    require_credentials(reloaded, but_for=current.used_accounts())
    return reloaded


_Account = TypeVar("_Account", bound=SmscloneSettings)


def _with_credentials(account: _Account, new: SmscloneSettings) -> _Account:
    return replace(account, username=new.username, password=new.password)


def watched_files(settings: Settings) -> list[Path]:
    """The files with secrets that are read again when they change: of accounts, clients and receivers."""
    parts = (*settings.all_accounts().values(), *settings.clients, *settings.receivers)
    named = (
        getattr(part, field)
        for part in parts
        for field in part.__struct_fields__
        if field.endswith(FILE_ENDING) and hasattr(part, field.removesuffix(FILE_ENDING))
    )
    return [path for path in named if path is not None]


def require_credentials(settings: Settings, *, but_for: Collection[str] = ()) -> None:
    """Check that each account that is used can be; not needed where every client is a sandbox client.

    Args:
        but_for: accounts that are not checked.

    Raises:
        SettingsError: user name or password is missing.
    """
    further = {account.name: f"accounts[{index}]" for index, account in enumerate(settings.accounts)}
    missing = [
        Mistake(f"{path}.{field}", _remedy(path, field))
        for name, account in settings.used_accounts().items()
        if name not in but_for
        for path in (further.get(name, "smsclone"),)
        for field, secret in (("username", account.username), ("password", account.password))
        if not secret
    ]
    if missing:
        raise SettingsError(missing)


def find_warnings(settings: Settings) -> list[Mistake]:
    """Find what can be used, and is hardly meant: an account that nobody uses, a sender that nobody can send by, a
    budget without a price."""
    warnings = []
    used, accounts = settings.used_accounts(), settings.all_accounts()
    for index, account in enumerate(settings.accounts):
        if account.name not in used:
            remedy = "name it in sending.accounts, or in the accounts of a client"
            warnings.append(Mistake(f"accounts[{index}]", f"is used by nobody: {remedy}"))
    for index, client in enumerate(settings.clients):
        warnings += _judge_budget(f"clients[{index}].units_per_month", client, settings)
        senders = dict.fromkeys((*client.senders, *(filter(None, [client.default_sender]))))
        registered = [accounts[name].senders for name in settings.accounts_of(client)]
        for sender in senders:
            if registered and all(known and sender not in known for known in registered):
                place = f"senders[{client.senders.index(sender)}]" if sender in client.senders else "default_sender"
                remedy = "requests with it are refused with 403 sender_not_allowed; add it to an account's senders"
                warnings.append(
                    Mistake(f"clients[{index}].{place}", f"is registered at none of its accounts: {remedy}")
                )
    return warnings


def _judge_budget(path: str, client: ClientSettings, settings: Settings) -> list[Mistake]:
    if client.units_per_month is None:
        return []
    if client.sandbox:
        return [Mistake(path, "limits nothing: what a sandbox client sends costs nothing")]
    accounts = settings.all_accounts()
    unpriced = [name for name in settings.accounts_of(client) if accounts[name].units_per_segment is None]
    if not unpriced:
        return []
    remedy = "give units_per_segment there"
    return [Mistake(path, f"has no price to count by at {', '.join(unpriced)}: 1 unit a segment is assumed; {remedy}")]


def _remedy(path: str, name: str) -> str:
    if path != "smsclone":
        return f"is missing; give {name} or {name}_file"
    variable = f"RELAY_SMSCLONE_{name.upper()}"
    return f"is missing; set {variable} or {variable}_FILE"


def _read_document(path: Path, place: str, mistakes: list[Mistake]) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE_BYTES + 1)
        if len(content) > _LARGEST_FILE_BYTES:
            raise ValueError("too large")  # noqa: TRY301 — one place tells what is wrong with the file
        return tomllib.loads(content.decode("utf-8-sig"))
    except tomllib.TOMLDecodeError as failure:
        wrong = f"is not TOML{_position(failure)}"
    except UnicodeDecodeError:
        wrong = "is not UTF-8; save it as UTF-8"
    except (OSError, ValueError, RecursionError) as failure:
        wrong = f"cannot be read ({type(failure).__name__})"
    mistakes.append(Mistake(place, f"names a file that {wrong}"))
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
