"""JSON of senders that nobody here can change: what is there is taken. Pure.

A page must not be lost because one value is of another kind than is documented (SPEC, "Second edition"). So bytes are
mended before they are decoded, a map that is none counts as empty, and a scalar has the text that a person sees in it.
Parts stay undecoded until they are asked for: what nobody asks for costs no memory, however large it is.
"""

import json
import re
from itertools import islice
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from relay.webhooks.alerts import AlertBodyError, not_json

MOST_MEMBERS = 1_000
"""Labels or annotations of an alert that are read."""

NOTHING = Raw(b"null")

_Kind = TypeVar("_Kind")

_HALVES = re.compile(
    rb"(?<!\\)((?:\\\\)*)"
    rb"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
"""Escaped UTF-16 surrogates behind an even number of backslashes: a whole pair, or a half that stands alone."""

_PAIR_BYTES = 12

_REPAIRED = re.compile(
    rb'"(?:[^"\\]|\\.)*+"?|-?\b(?:NaN|Infinity|nan|inf)\b|\b(?:None|True|False)\b|,(?=\s*+[\]}])', re.DOTALL
)
"""Outside of strings: numbers that JSON does not have, words of Python, a comma behind the last element."""

_ESCAPES = re.compile(rb'\\(?:(["\\/bfnrt]|u[0-9a-fA-F]{4})|(.))', re.DOTALL)
_PYTHON = {b"None": b"null", b"True": b"true", b"False": b"false", b",": b""}

_LONGEST_REPAIRED = 1 << 20
_CONTROLS_TO_BLANKS = bytes.maketrans(bytes(range(0x20)), b" " * 0x20)


class WrittenNumber(float):
    """A number with a point or an exponent that knows how it was written: to a reader 12.50 is not 12.5."""

    written: str

    def __new__(cls, written: str) -> "WrittenNumber":
        """Make it of its text in JSON."""
        number = super().__new__(cls, written)
        number.written = written
        return number


WrittenNumber.__name__ = "float"  # JMESPath tells the types of JSON apart by their names

_documents = msgspec.json.Decoder(float_hook=WrittenNumber)


def mend(body: bytes) -> bytes:
    r"""Turn what is nearly JSON in UTF-8 into JSON; what is JSON comes back as it is.

    Half a surrogate pair, escaped or raw, and bytes that are no UTF-8 become U+FFFD; a byte order mark goes; UTF-16 is
    read. Where nothing else helps, control characters become blanks (JSON that a shell script wrote has line breaks in
    strings), and what templates and programs write in place of JSON is read as it was meant: a backslash of a Windows
    path, NaN, a comma behind the last element.

    Raises:
        AlertBodyError: it is nothing like JSON, or nested beyond what a decoder can follow (some hundred levels).

    Example:
        >>> mend(rb'"\ud83d \ud83d\ude00 \\ud83d"')
        b'"\\ufffd \\ud83d\\ude00 \\\\ud83d"'
    """
    body = _decode_wide(body)
    try:
        body.decode()
    except UnicodeDecodeError:
        body = _decode_broken(body).encode()
    body = body.removeprefix(b"\xef\xbb\xbf")
    if b"\\ud" in body or b"\\uD" in body:
        body = _HALVES.sub(_mend_half, body)
    for write in (bytes, _without_controls, _repair):
        candidate = write(body)
        try:
            msgspec.json.decode(candidate, type=Raw)
        except (msgspec.DecodeError, RecursionError):
            continue
        return candidate
    raise not_json()


def _decode_wide(body: bytes) -> bytes:
    """UTF-16 and UTF-32 as UTF-8; every text of JSON begins with a character of ASCII, which tells them."""
    encoding = json.detect_encoding(body)
    if encoding.startswith("utf-8"):
        return body
    try:
        return body.decode(encoding).encode()
    except UnicodeError:
        return body


def _without_controls(body: bytes) -> bytes:
    return body.translate(_CONTROLS_TO_BLANKS)


def _repair(body: bytes) -> bytes:
    return _REPAIRED.sub(_repair_part, _without_controls(body)) if len(body) <= _LONGEST_REPAIRED else body


def _repair_part(found: "re.Match[bytes]") -> bytes:
    part: bytes = found[0]
    if part.startswith(b'"'):
        return _ESCAPES.sub(_repair_escape, part)
    return _PYTHON.get(part, b'"%s"' % part)


def _repair_escape(found: "re.Match[bytes]") -> bytes:
    if found[1] is not None:
        return bytes(found[0])
    return b"'" if found[2] == b"'" else rb"\\" + bytes(found[2])


def _decode_broken(body: bytes) -> str:
    """Raw surrogates (CESU-8) are joined where they are pairs; every other stray byte is told by one U+FFFD."""
    try:
        text = body.decode(errors="surrogatepass")
    except UnicodeDecodeError:
        return body.decode(errors="replace")
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _mend_half(found: "re.Match[bytes]") -> bytes:
    backslashes, escape = found.groups()
    whole: bytes = found[0]
    return whole if len(escape) == _PAIR_BYTES else backslashes + rb"\ufffd"


def decode_document(mended: bytes) -> Any:
    """Decode a whole body; numbers with a point or an exponent are :class:`WrittenNumber`.

    Raises:
        AlertBodyError: it has an integer of thousands of digits, or is nested too deeply.
    """
    try:
        return _documents.decode(mended)
    except (msgspec.ValidationError, RecursionError):
        raise not_json() from None


def decode_as(value: bytes | Raw, kind: type[_Kind]) -> _Kind | None:
    """Decode a part of a mended body; what is of another kind is ``None``."""
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.ValidationError, RecursionError):
        return None


def text_of(value: Raw) -> str:
    """A value as text: a string without quotes, nothing for null, anything else as it was written.

    Example:
        >>> [text_of(Raw(written)) for written in (b"12.50", b"1e21", b"true", b"null", b'"x"')]
        ['12.50', '1e21', 'true', '', 'x']
    """
    written = bytes(value)
    if written.startswith(b'"'):
        return msgspec.json.decode(written, type=str)
    return "" if written == b"null" else written.decode()


def texts_of(value: Raw) -> dict[str, str]:
    """A map with its values as texts, the first ones of very many; what is none counts as an empty one."""
    found = decode_as(value, dict[str, Raw]) or {}
    return {name: text_of(each) for name, each in islice(found.items(), MOST_MEMBERS)}


def begins_with(value: Raw, character: bytes) -> bool:
    """Whether an undecoded value begins so; it is not copied."""
    return memoryview(value)[:1] == character


def unquoted(value: Raw) -> Raw:
    """JSON that somebody wrote into a text, as JSON; anything else comes back as it is."""
    text = text_of(value).strip() if begins_with(value, b'"') else ""
    if not text.startswith(("[", "{")):
        return value
    try:
        return Raw(mend(text.encode()))
    except AlertBodyError:
        return value


def elements_of(value: Raw) -> list[Raw]:
    """The elements of a list, undecoded; null and an empty object are an empty list, anything else is a list of one."""
    elements = decode_as(value, list[Raw])
    if elements is None:
        return [] if _is_empty(value) else [value]
    return elements


def _is_empty(value: Raw) -> bool:
    """Whether it is null, or an object without members: so languages whose lists are maps write an empty list."""
    return bytes(value) == b"null" or decode_as(value, dict[str, Raw]) == {}
