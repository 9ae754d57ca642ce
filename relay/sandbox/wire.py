"""How an answer goes over the wire: a list of steps, and how the connection ends.

Owns the form of answers and steps. It must never touch a socket: the server plays the steps.

Source: RFC 9112 (messages, 1xx, connection handling).
"""

from enum import Enum, auto
from http import HTTPStatus

from msgspec import Struct

from relay.sandbox.switches import Fault

READ_LIMIT = 1 << 16
"""How many bytes of an answer a caller without a network reads at most."""

_ENOUGH = 1 << 17
"""After how many bytes of a repeated step such a caller stops reading."""

ERROR_PAGE = b"""<!DOCTYPE html>
<html lang="en"><head><title>Server Error</title></head><body><div class="code">%d</div><p>%s</p></body></html>
"""


class SandboxReply(Struct, frozen=True, kw_only=True):
    """One answer before it is sent, and the fault that is to happen to it."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/html; charset=UTF-8"),)
    body: bytes = b""
    fault: Fault | None = None


class Send(Struct, frozen=True):
    """Send bytes, ``times`` times."""

    data: bytes
    times: int = 1


class Drip(Struct, frozen=True):
    """Send bytes one by one, with a pause after each."""

    data: bytes
    seconds: float


class Pause(Struct, frozen=True):
    """Send nothing for a while."""

    seconds: float


Step = Send | Drip | Pause


class Ending(Enum):
    """What happens to the connection after the last step."""

    KEEP = auto()
    CLOSE = auto()
    RESET = auto()
    HANG = auto()
    """Open and silent, until the caller leaves."""


class Wire(Struct, frozen=True):
    """The steps of one answer, and how the connection ends."""

    steps: tuple[Step, ...]
    ending: Ending


def error_page(status: int) -> SandboxReply:
    """An HTML page for a status, as the upstream's framework shows them."""
    return SandboxReply(status=status, body=ERROR_PAGE % (status, _phrase(status).encode()))


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unlisted"


def make_head(reply: SandboxReply, keep_alive: bool, length: int | None) -> bytes:
    """Write status line and headers, with Content-Length only if there is a length to announce."""
    lines = [f"HTTP/1.1 {reply.status} {_phrase(reply.status)}"]
    lines += [f"{name}: {value}" for name, value in reply.headers]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    lines.append(f"Connection: {'keep-alive' if keep_alive else 'close'}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def choose_ending(keep_alive: bool) -> Ending:
    """Keep the connection, or close it."""
    return Ending.KEEP if keep_alive else Ending.CLOSE


def send_whole(reply: SandboxReply, keep_alive: bool, *before: Step) -> Wire:
    """Send an answer correctly, after other steps."""
    data = make_head(reply, keep_alive, len(reply.body)) + reply.body
    return Wire((*before, Send(data)), choose_ending(keep_alive))


def read_all(wire: Wire) -> tuple[int, bytes] | None:
    """Read an answer as a patient caller would, without a network.

    Returns:
        Status and body (64 KiB of it at most), or ``None`` where no whole answer comes.
    """
    if wire.ending in (Ending.HANG, Ending.RESET):
        return None
    raw = b"".join(_bytes_of(step) for step in wire.steps)
    while raw.startswith(b"HTTP/1.1 100 "):
        raw = raw.partition(b"\r\n\r\n")[2]
    head, _, body = raw.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 "):
        return None
    _, _, length = head.partition(b"\r\nContent-Length: ")
    expected = int(length.split(b"\r\n")[0]) if length else 0
    if len(body) < min(expected, READ_LIMIT):
        return None
    return int(head[9:12]), body[: min(expected or READ_LIMIT, READ_LIMIT)]


def _bytes_of(step: Step) -> bytes:
    match step:
        case Send(data, times):
            return data * min(times, 1 + _ENOUGH // max(len(data), 1))
        case Drip(data):
            return data
        case Pause():
            return b""
