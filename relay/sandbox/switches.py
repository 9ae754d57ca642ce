"""The switches: every behaviour of the upstream that is doubtful, and every way in which a network can fail.

Owns what may be switched, for how many calls, and on which calls. It must never act: the responder and the wire do.

Source: domain.md section 8, last paragraphs (doubtful behaviour); the catalogue of faults, C1 (provider and network).
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

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

    ``seconds``: how long ``slow`` waits, and between the bytes of ``slow_head`` and ``slow_body``. ``size``: bytes of
    the body after which it is cut (half of it, if not given), or of what ``huge`` and ``gzip_bomb`` unfold to.
    ``status``: of ``status`` (the answer stays) and ``error_page`` (a page instead), with ``retry_after`` as it is; of
    ``redirect``, if it is a 3xx.
    """

    kind: FaultKind
    seconds: Seconds = 3.0
    size: Size | None = None
    status: HttpStatus = 503
    retry_after: HeaderText | None = None
    location: HeaderText = "http://elsewhere.invalid/"


class Switches(Struct, frozen=True, forbid_unknown_fields=True):
    """How the stand-in behaves; the defaults are the documented sample, and kind."""

    fields: Literal[5, 9] = 5
    """Fields of a record: as documented, or as a caller of a twin reports."""
    format: Literal["text", "json"] = "text"
    rejection: RejectionForm = "described"
    rejection_status: HttpStatus = 200
    echo: Echo = "234"
    order: Literal["asked", "reversed", "shuffled"] = "asked"
    invalid_numbers: Literal["processed", "rejected", "dropped"] = "processed"
    """What becomes of numbers that are no Nigerian mobile's; the documented sample has one, processed."""
    duplicates: Literal["merged", "repeated"] = "merged"
    text: TextForm = "plain"
    """Noise in and around the body."""
    dnd_route: Literal["0000", "0014"] = "0000"
    """What the DND route says of a number that is not on DND."""
    dnd: bool = False
    """Every number is on DND."""
    no_balance: bool = False
    recipient_limit: Annotated[int, Meta(ge=1)] = 200
    tg: Annotated[str, Meta(pattern=r"\ATG[0-9]{2}\Z")] | None = None
    """A TG code that answers whatever is asked."""
    fault: Fault | None = None


class Setting(Struct, frozen=True):
    """A switch that was set while running: to what, for how many more calls (``None``: until cleared), on which."""

    value: Any
    calls_left: int | None
    on: Scope


class _Extent(Struct, forbid_unknown_fields=False):
    calls: Annotated[int, Meta(ge=1)] | None = None
    on: Scope = "sends"


def parse_switches(pairs: Sequence[str]) -> Switches:
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
    return msgspec.convert(values, Switches, strict=False)


class SwitchBoard:
    """The switches as they are set now."""

    def __init__(self, base: Switches) -> None:
        self._base = base
        self._set: dict[str, Setting] = {}

    def set(self, change: Mapping[str, object]) -> None:
        """Set switches; a value that holds anyway takes the switch back.

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
        wanted = msgspec.convert(msgspec.to_builtins(self._base) | values, Switches)
        for name in values:
            value = getattr(wanted, name)
            self._set.pop(name, None)
            if value != getattr(self._base, name):
                self._set[name] = Setting(value, extent.calls, extent.on)

    def clear(self) -> None:
        """Take every switch back to what it was at the start."""
        self._set.clear()

    def next_call(self, kind: Literal["sends", "balance"]) -> Switches:
        """Give the switches for one call, and count it."""
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
        """Tell each switch's value, what it may have, and what was set while running."""
        return {
            "switches": self._base,
            "set": self._set,
            "choices": _CHOICES,
        }


def _choices() -> dict[str, list[object]]:
    """The values that each switch of a closed set may have, and the kinds of faults."""
    hints = {name: hint for name, hint in get_type_hints(Switches).items() if get_origin(hint) is Literal}
    return {name: list(get_args(hint)) for name, hint in (hints | {"fault": FaultKind}).items()}


_CHOICES = _choices()
