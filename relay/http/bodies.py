"""Reads request bodies: capped, with a deadline, of the right media type, and not nested too deeply.

Nothing here decodes; what comes out may be handed to a decoder without fear for memory, time or the C stack.
"""

import asyncio
import random
import re

from relay.domain.codes import ProblemCode
from relay.domain.errors import Refusal
from relay.http.asgi import Head, Receive
from relay.http.headers import parse_utf8_type

BODY_BYTES = 1 << 20
BATCH_BYTES = 8 << 20
DEEPEST = 16
"""Arrays and objects inside each other."""

DEADLINE_SECONDS = 10.0
"""From the head of a request to the last byte of its body: no server that we know has such a limit."""
_SPREAD = 0.2
"""A part of it that a body may take longer, by chance: five hundred that began together and stood still were refused in
one turn of the event loop, which took 150 ms."""

_STRING = re.compile(rb'"[^"]*(?:"|\Z)')
_TOO_DEEP = b"[" * (DEEPEST + 1)
_SQUARE = bytes.maketrans(b"{}", b"[]")
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
_NOT_COMMAS = bytes(set(range(256)) - set(b',"'))
_PIECE_BYTES = 64 * 1024
"""How much is searched for strings at once: a search remembers 170 bytes for each that it takes out (measured)."""


def check_media_type(head: Head, *, ndjson: bool = False) -> bool:
    """Accept ``application/json`` (and ``application/x-ndjson`` where it may be), in UTF-8.

    Returns:
        Whether it is NDJSON.

    Raises:
        Refusal: ``unsupported_media_type``.
    """
    values = head.all_values(b"content-type")
    if len(values) == 1:
        media_type = b"application/json" if values[0] == b"application/json" else parse_utf8_type(values[0])
        if media_type == b"application/json" or (ndjson and media_type == b"application/x-ndjson"):
            return media_type == b"application/x-ndjson"
    allowed = "application/json or application/x-ndjson" if ndjson else "application/json"
    raise Refusal(ProblemCode.UNSUPPORTED_MEDIA_TYPE, f"Send the header Content-Type: {allowed}, in UTF-8.")


async def read_body(head: Head, receive: Receive, limit: int) -> bytes:
    """Read a whole body.

    Args:
        head: of the request, whose body was not read yet.
        receive: gives the next piece.
        limit: in bytes; more is refused as soon as it is known, whether it was announced or not.

    Raises:
        Refusal: ``body_too_large``, ``unsupported_media_type`` (compressed), or ``bad_request``: it did not come in
            time, or not in full.
    """
    encoding = head.fields.get(b"content-encoding")
    if encoding is not None and (encoding.lower() != b"identity" or b"content-encoding" in head.repeated):
        raise Refusal(ProblemCode.UNSUPPORTED_MEDIA_TYPE, "Send the body as it is, without Content-Encoding.")
    announced: int | None = None
    if (length := head.fields.get(b"content-length")) is not None:
        if len(length) > 19 or not length.isdigit():
            raise Refusal(ProblemCode.BAD_REQUEST, "Content-Length is not a number of bytes.")
        announced = int(length)
        if announced > limit:
            raise refuse_size(limit)
    parts: list[bytes] = []
    received = 0
    try:
        async with asyncio.timeout(DEADLINE_SECONDS * (1 + _SPREAD * random.random())):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise Refusal(ProblemCode.BAD_REQUEST, "The body ended before it was complete.")
                part: bytes = message.get("body", b"")
                received += len(part)
                if received > limit:
                    raise refuse_size(limit)
                parts.append(part)
                # A body of the announced length is complete; a server says so in a further message, which would cost
                # a turn.
                if received == announced or not message.get("more_body", False):
                    return parts[0] if len(parts) == 1 else b"".join(parts)
    except TimeoutError:
        detail = f"The body did not arrive within {DEADLINE_SECONDS:.0f} seconds."
        raise Refusal(ProblemCode.BAD_REQUEST, detail) from None


def refuse_size(limit: int) -> Refusal:
    """Say that a body is too large; ``limit`` is in bytes."""
    return Refusal(ProblemCode.BODY_TOO_LARGE, f"A body here is at most {limit >> 20} MiB; split the request.")


def check_nesting(body: bytes) -> None:
    """Refuse arrays and objects that are nested too deeply, before a decoder recurses into them.

    Looks at brackets outside strings only, by searches that run in C: strings go first, then innermost pairs, level
    by level; what is left after the last allowed level lies deeper (or is no JSON anyway).

    Raises:
        Refusal: ``invalid_json``.

    Example:
        >>> check_nesting(b'[' * 16 + b'"[[[["' + b']' * 16)
        >>> check_nesting(b'[' * 17 + b']' * 17)
        Traceback (most recent call last):
        ...
        relay.domain.errors.Refusal: invalid_json
    """
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return
    # Pairs of quotes that now stand side by side hold no bracket, or part two strings: without them, what is inside a
    # string stays inside one.
    structure = _drop_escapes(body).translate(_SQUARE, _NOT_STRUCTURE).replace(b'""', b"")
    if b'"' in structure:
        structure = _drop_strings(structure)
    if _TOO_DEEP in structure:
        raise _nested()
    for _ in range(DEEPEST):
        structure = structure.replace(b"[]", b"")
        if b"[" not in structure:
            return
    raise _nested()


def count_commas(body: bytes) -> int:
    """Count the commas of JSON outside its strings, in linear time and little memory; of what is no JSON, anything.

    Example:
        >>> count_commas(rb'["a, \\" b", 1, "c,"]')
        2
    """
    return _drop_strings(_drop_escapes(body).translate(None, _NOT_COMMAS).replace(b'""', b"")).count(b",")


def _drop_escapes(body: bytes) -> bytes:
    """Take out escaped backslashes, then escaped quotes: every quote that is left begins or ends a string."""
    return body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body


def _drop_strings(text: bytes) -> bytes:
    """Take strings out, in which no quote is escaped."""
    kept: list[bytes] = []
    inside = False
    for start in range(0, len(text), _PIECE_BYTES):
        piece = text[start : start + _PIECE_BYTES]
        kept.append(_STRING.sub(b"", b'"' + piece if inside else piece))
        inside ^= piece.count(b'"') % 2 == 1
    return b"".join(kept)


def _nested() -> Refusal:
    return Refusal(ProblemCode.INVALID_JSON, f"Arrays and objects are nested more than {DEEPEST} levels deep.")
