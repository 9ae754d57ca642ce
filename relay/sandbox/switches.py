"""How a stand-in behaves: its configuration, and switches for all that is doubtful or can fail.

Owns what may be switched, for how many calls, and on which calls. It must never act: the responder and the wire do.

Source: domain.md section 8, last paragraphs (doubtful behaviour); the catalogue of faults, C1 (provider and network).
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from relay.domain.secret import Secret

Echo = Literal["234", "080", "+234"]
RejectionForm = Literal["described", "bare", "colon", "arrow"]
TextForm = Literal[
    "plain", "bom", "padded", "new_lines", "lower_case", "trailing_comma", "junk_after", "bad_utf8", "nul", "empty"
]
FaultKind = Literal[
    "hang",
    "slow",
    "slow_head",
    "slow_body",
    "reset",
    "reset_in_body",
    "close",
    "cut",
    "cut_unannounced",
    "surplus",
    "html",
    "api_page",
    "status",
    "error_page",
    "redirect",
    "gzip",
    "gzip_bomb",
    "huge",
    "continue_flood",
    "switching_protocols",
    "no_content_with_body",
    "garbage",
    "huge_head",
    "cookie",
]
Scope = Literal["sends", "balance", "all"]

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Size = Annotated[int, Meta(ge=0, le=1 << 34)]
HeaderText = Annotated[str, Meta(pattern=r"\A[ -~]*\Z", max_length=1000)]
HttpStatus = Annotated[int, Meta(ge=200, le=599)]


class Fault(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One way in which an answer goes wrong on the wire. Each kind reads only what it needs.

    ``seconds``: how long ``slow`` waits, and the pause between the bytes of ``slow_head`` and ``slow_body``. ``size``:
    after how many bytes the body is cut (if not given, at half of it), or how large ``huge`` and ``gzip_bomb`` become.
    ``status``: for ``status`` (the answer stays), ``error_page`` (a page instead; ``retry_after`` is sent as given),
    and ``redirect``, if it is a 3xx.
    """

    kind: FaultKind
    seconds: Seconds = 3.0
    size: Size | None = None
    status: HttpStatus = 503
    retry_after: HeaderText | None = None
    location: HeaderText = "http://elsewhere.invalid/"


class SandboxSwitches(Struct, frozen=True, forbid_unknown_fields=True):
    """How the stand-in behaves. By default: as in the documented sample, and without faults."""

    fields: Literal[5, 9] = 5
    """Fields in a record: as documented, or as users of the related VTpass API report."""
    format: Literal["text", "json"] = "text"
    rejection: RejectionForm = "described"
    rejection_status: HttpStatus = 200
    echo: Echo = "234"
    order: Literal["asked", "reversed", "shuffled"] = "asked"
    invalid_numbers: Literal["processed", "rejected", "dropped"] = "processed"
    """What happens to numbers that are not Nigerian mobile numbers; the documented sample has one, processed."""
    duplicates: Literal["merged", "repeated"] = "merged"
    text: TextForm = "plain"
    """Noise in and around the body."""
    dnd_route: Literal["0000", "0014"] = "0000"
    """What the DND route answers for a number that is not on DND."""
    unregistered: Literal["rejected", "renamed"] = "rejected"
    """What happens to messages of a sender that is not registered at the account: no, or sent under another name."""
    dnd: bool = False
    """Every number is on DND."""
    no_balance: bool = False
    recipient_limit: Annotated[int, Meta(ge=1)] = 200
    tg: Annotated[str, Meta(pattern=r"\ATG[0-9]{2}\Z")] | None = None
    """A TG code with which every call is answered."""
    fault: Fault | None = None


class Setting(Struct, frozen=True):
    """A switch that was set while running: its value, for how many more calls (``None``: until cleared), and which."""

    value: Any
    calls_left: int | None
    on: Scope


class _Extent(Struct, forbid_unknown_fields=False):
    calls: Annotated[int, Meta(ge=1)] | None = None
    on: Scope = "sends"


def parse_switches(pairs: Sequence[str]) -> SandboxSwitches:
    """Read switches from ``name=value`` pairs, as a command line gives them; a fault by its kind, or as JSON.

    Raises:
        ValueError: an unknown switch, or a value it cannot have.

    Example:
        >>> switches = parse_switches(["fields=9", "dnd=true", "fault=hang"])
        >>> switches.fields, switches.dnd, switches.fault == Fault("hang")
        (9, True, True)
    """
    values: dict[str, object] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        values[name] = value
        if name == "fault":
            values[name] = msgspec.json.decode(value) if value.startswith("{") else {"kind": value}
    return msgspec.convert(values, SandboxSwitches, strict=False)


class SwitchBoard:
    """The switches as they are set now."""

    def __init__(self, base: SandboxSwitches) -> None:
        self._base = base
        self._set: dict[str, Setting] = {}

    def set(self, change: Mapping[str, object]) -> None:
        """Set switches; setting the value from the start resets the switch.

        Args:
            change: switch names and values, ``calls`` (for how many calls; none: until cleared), ``on`` (which calls).
                A fault may be given by its kind alone.

        Raises:
            msgspec.ValidationError: an unknown switch, or a value it cannot have. Nothing was set.
        """
        extent = msgspec.convert(change, _Extent)
        values = {name: value for name, value in change.items() if name not in ("calls", "on")}
        if isinstance(values.get("fault"), str):
            values["fault"] = {"kind": values["fault"]}
        wanted = msgspec.convert(msgspec.to_builtins(self._base) | values, SandboxSwitches)
        for name in values:
            value = getattr(wanted, name)
            self._set.pop(name, None)
            if value != getattr(self._base, name):
                self._set[name] = Setting(value, extent.calls, extent.on)

    def clear(self) -> None:
        """Reset every switch to its value at the start."""
        self._set.clear()

    def next_call(self, kind: Literal["sends", "balance"]) -> SandboxSwitches:
        """Return the switches for one call, and count the call."""
        if not self._set:
            return self._base
        applied = {name: setting for name, setting in self._set.items() if setting.on in (kind, "all")}
        for name, setting in applied.items():
            if setting.calls_left is None:
                continue
            if setting.calls_left > 1:
                self._set[name] = msgspec.structs.replace(setting, calls_left=setting.calls_left - 1)
            else:
                del self._set[name]
        return msgspec.structs.replace(self._base, **{name: setting.value for name, setting in applied.items()})

    def describe(self) -> dict[str, object]:
        """Each switch's value, its possible values, and what was set while running."""
        return {
            "switches": self._base,
            "set": self._set,
            "choices": _CHOICES,
        }


def _choices() -> dict[str, list[object]]:
    """The possible values of each switch with a closed set, and the kinds of faults."""
    hints = {name: hint for name, hint in get_type_hints(SandboxSwitches).items() if get_origin(hint) is Literal}
    return {name: list(get_args(hint)) for name, hint in (hints | {"fault": FaultKind}).items()}


_CHOICES = _choices()


_MEBIBYTE = 1 << 20
_MOST_UNITS = Decimal(10) ** 12


class SandboxAccount(Struct, frozen=True, kw_only=True):
    """A user name at the stand-in, and what belongs to it.

    ``units`` is the balance (``None``: it never runs out), from which each segment for each recipient takes ``price``,
    by the DND routes ``price_dnd`` where that is given. ``senders``: those that are registered; none given: every one.
    """

    name: str
    username: str
    password: Secret
    units: Decimal | None = Decimal("10000.00")
    price: Decimal = Decimal(1)
    price_dnd: Decimal | None = None
    senders: tuple[str, ...] = ()


def parse_account(text: str) -> SandboxAccount:
    """Read an account from ``field=value`` pairs with commas between them, as a command line gives it; several senders
    have ``/`` between them.

    Raises:
        ValueError: a field that is missing, unknown, or wrong. The password is not repeated.

    Example:
        >>> account = parse_account("name=backup,username=team,password=x,units=50,senders=ACME/Orders")
        >>> account.units, account.senders
        (Decimal('50'), ('ACME', 'Orders'))
    """
    pairs = dict(pair.partition("=")[::2] for pair in text.split(","))
    fields: dict[str, object] = {name.strip(): value for name, value in pairs.items()}
    unknown = fields.keys() - set(SandboxAccount.__struct_fields__)
    missing = {"name", "username", "password"} - fields.keys()
    if unknown or missing:
        raise ValueError("give name, username, password, and what else of: units, price, price_dnd, senders")
    fields["password"] = Secret(str(fields["password"]))
    fields["senders"] = tuple(filter(None, str(fields.get("senders", "")).split("/")))
    for name in ("units", "price", "price_dnd"):
        if name in fields:
            try:
                fields[name] = parse_units(fields[name])
            except msgspec.ValidationError:
                raise ValueError(f"give {name} as a decimal number") from None
    return SandboxAccount(**fields)  # type: ignore[arg-type]


def parse_units(given: object) -> Decimal:
    """Read a number of units.

    Raises:
        ValueError: it is none.
    """
    units = msgspec.convert(given, Decimal)
    if not (units.is_finite() and abs(units) < _MOST_UNITS):
        raise msgspec.ValidationError("give a decimal number")
    return units


class SandboxConfig(Struct, frozen=True, kw_only=True):
    """Everything that is fixed at the start.

    ``port`` 0 takes a free one. ``username``, ``password`` and ``units`` are those of the first account, ``smsclone``;
    ``accounts`` are further ones. ``ledger_entries`` and ``ledger_bytes`` (roughly) bound the ledger; the oldest entry
    goes first. ``slow_seconds``: how long the magic number for slow answers takes.
    """

    host: str = "127.0.0.1"
    port: int = 0
    username: str = "demo"
    password: Secret = Secret("demo")
    units: Decimal | None = Decimal("10000.00")
    accounts: tuple[SandboxAccount, ...] = ()
    switches: SandboxSwitches = SandboxSwitches()
    ledger_entries: int = 100_000
    ledger_bytes: int = 256 * _MEBIBYTE
    slow_seconds: float = 3.0
