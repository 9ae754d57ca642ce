"""The text of a message: which characters it may hold, how it travels, how many segments it takes, what folding does.

The text that is sent is the caller's own after CRLF → LF and NFC, unless the caller asked for folding; nothing is ever
cut. Positions count code points of the text as the caller wrote it. The upstream publishes no counting rule, so the
count is ours (domain.md section 5).
"""

import re
import unicodedata
from collections.abc import Callable, Iterator

from msgspec import Struct

from relay.domain.codes import Encoding, OnNonGsm
from relay.domain.notification import Replacement, TextFacts

GSM_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""The GSM 7-bit default alphabet without its escape: one septet each (3GPP TS 23.038, 6.2.1)."""

GSM_EXTENSION = "\f^{}\\[~]|€"
"""Its extension table: an escape and a second septet each (3GPP TS 23.038, 6.2.1.1)."""

GSM_SINGLE, GSM_PART = 160, 153
"""Septets in a message of one part, and in each part of a longer one (header with an 8-bit reference)."""

UCS_SINGLE, UCS_PART = 70, 67
"""The same in UTF-16 units."""

MOST_SEGMENTS = 10
"""Of one message."""

LONGEST = 6_400
"""Code points beyond which a text is only counted: NFC makes one character of at most four, and ten segments hold 1,530
characters, so nothing longer can be sent."""

TYPOGRAPHY: dict[str, str] = {
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u2039\u203a`\u00b4", "'"),  # quotes, prime, accents as quotes
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
    **dict.fromkeys("\u2022\u2023\u25e6\u25aa\u25cf", "*"),  # bullets
    **dict.fromkeys("\u00a0\u1680\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a", " "),
    **dict.fromkeys("\u202f\u205f\u3000", " "),
    **dict.fromkeys("\u00ad\u200b\u200e\u200f\u2060\ufeff", ""),  # soft hyphen, zero-width, direction marks
    "…": "...",
    "·": ".",
    "\u2044": "/",
    "₦": "NGN",
}
"""What ``fold`` replaces: marks that mean the same, and the naira sign as bank messages write it."""

LETTERS: dict[str, str] = {
    "ɓ": "b",
    "ɗ": "d",
    "ƙ": "k",
    "ƴ": "y",
    "Ɓ": "B",
    "Ɗ": "D",
    "Ƙ": "K",
    "Ƴ": "Y",
    "\u02bc": "'",
}
"""Hausa letters, which have no decomposition: stripping diacritics leaves them, so ``fold-letters`` needs a table."""

_ESCAPE = "\x1b"
_ONE_SEPTET = re.compile(f"[{re.escape(GSM_BASIC)}]*+")
_OUTSIDE_GSM = re.compile(f"[^{re.escape(GSM_BASIC + GSM_EXTENSION)}]")
_FORBIDDEN = re.compile(r"\r(?!\n)|[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_PLAIN_RUN = re.compile(r"[\n -_a-~]+(?![^\x00-\x7f])")
"""ASCII that GSM-7 carries, up to what a mark might follow."""

_LONG_RUN_OF_MARKS = re.compile(rb"[^\x00]{31}")
_TYPOGRAPHY_TABLE = str.maketrans(TYPOGRAPHY)
_LETTERS_TABLE = str.maketrans(LETTERS)


class SegmentCount(Struct, frozen=True):
    """How a text travels. ``units`` are septets (GSM-7) or UTF-16 units (UCS-2); ``remaining`` of them fit into the
    last segment still."""

    encoding: Encoding
    units: int
    segments: int
    remaining: int


class PreparedText(Struct, frozen=True):
    """A text as it would go out.

    ``non_gsm`` has the positions, in the caller's text and in order, of what GSM-7 cannot carry; where NFC joined
    several characters it is the first one's. It is empty exactly where the text travels in GSM-7. Of a text too long
    to be sent at all it has the first position only.
    """

    message: str
    facts: TextFacts
    non_gsm: tuple[int, ...] = ()


def find_forbidden_character(message: str) -> int | None:
    """Find the first control character other than LF (CRLF counts as LF), or half of a surrogate pair.

    Args:
        message: as the caller wrote it.

    Returns:
        Its position, or ``None``.

    Example:
        >>> find_forbidden_character("one\\r\\ntwo") is None, find_forbidden_character("a\\tb")
        (True, 1)
    """
    found = _FORBIDDEN.search(message)
    return found.start() if found is not None else None


def count_segments(text: str) -> SegmentCount:
    """Count the segments of a text as it stands.

    A character of two units is never cut: where it does not fit, it begins the next part and the free place is lost.

    Returns:
        At least one segment, also for an empty text.

    Source:
        3GPP TS 23.038 and 23.040; domain.md section 5; ``segments.jsonl``.

    Example:
        >>> count_segments("A" * 159 + "€").segments
        2
        >>> count_segments("₦" * 70)
        SegmentCount(encoding=<Encoding.UCS_2: 'ucs-2'>, units=70, segments=1, remaining=0)
    """
    if _ONE_SEPTET.fullmatch(text):
        return _pack(Encoding.GSM_7, len(text), _never)
    if _OUTSIDE_GSM.search(text) is None:
        septets = text
        for character in GSM_EXTENSION:
            septets = septets.replace(character, _ESCAPE + character)
        return _pack(Encoding.GSM_7, len(septets), lambda cut: septets[cut - 1] == _ESCAPE)
    units = text.encode("utf-16-be", "surrogatepass")
    return _pack(Encoding.UCS_2, len(units) // 2, lambda cut: units[2 * cut - 2] & 0xFC == 0xD8)


def prepare_text(message: str, on_non_gsm: OnNonGsm) -> PreparedText:
    """Make the text that goes out.

    Args:
        message: as the caller wrote it; may hold anything (see :func:`find_forbidden_character`).
        on_non_gsm: ``fold`` and ``fold-letters`` are all or nothing: if anything would stay outside GSM-7, or nothing
            would be left, the text goes out unfolded. They touch only what GSM-7 cannot carry. ``reject`` changes
            nothing: the caller of this function looks at ``non_gsm``.

    Example:
        >>> prepared = prepare_text("It is ₦500…", OnNonGsm.FOLD)
        >>> prepared.message, prepared.facts.replaced[0]
        ('It is NGN500...', Replacement(position=6, original='₦', replacement='NGN'))
        >>> prepare_text("It is ₦500 😀", OnNonGsm.FOLD).non_gsm
        (6, 11)
    """
    if not _can_be_normalized(message):
        text = message.replace("\r\n", "\n")
        first = _OUTSIDE_GSM.search(message)
        return PreparedText(text, _facts(text), () if first is None else (first.start(),))
    text = _normalize(message)
    facts = _facts(text)
    if facts.encoding is Encoding.GSM_7:
        return PreparedText(text, facts)
    if on_non_gsm in (OnNonGsm.FOLD, OnNonGsm.FOLD_LETTERS):
        folded = _fold(message, letters=on_non_gsm is OnNonGsm.FOLD_LETTERS)
        if folded is not None:
            return folded
    return PreparedText(text, facts, _find_outside(message, text))


def _never(_cut: int) -> bool:
    return False


def _pack(encoding: Encoding, units: int, splits: Callable[[int], bool]) -> SegmentCount:
    """Fill parts; ``splits`` tells whether a cut before that unit would go through a character."""
    single, part = (GSM_SINGLE, GSM_PART) if encoding is Encoding.GSM_7 else (UCS_SINGLE, UCS_PART)
    if units <= single:
        return SegmentCount(encoding, units, 1, single - units)
    segments, start = 1, 0
    while units - start > part:
        start += part - 1 if splits(start + part) else part
        segments += 1
    return SegmentCount(encoding, units, segments, part - (units - start))


def _facts(text: str, replaced: tuple[Replacement, ...] = ()) -> TextFacts:
    count = count_segments(text)
    return TextFacts(count.encoding, len(text), count.segments, replaced)


def _can_be_normalized(message: str) -> bool:
    """Whether NFC is worth its time: its cost grows with the square of a run of marks, and no language has 31 in a row
    (Unicode UAX #15, Stream-Safe Text Format)."""
    if len(message) > LONGEST:
        return False
    if unicodedata.is_normalized("NFC", message):
        return True
    return _LONG_RUN_OF_MARKS.search(bytes(map(unicodedata.combining, message))) is None


def _normalize(text: str) -> str:
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n"))


def _find_outside(message: str, text: str) -> tuple[int, ...]:
    if text == message:
        return tuple(found.start() for found in _OUTSIDE_GSM.finditer(message))
    positions: list[int] = []
    for position, original in _split(message):
        piece = _normalize(original)
        if piece == original:
            positions.extend(position + found.start() for found in _OUTSIDE_GSM.finditer(piece))
        elif _OUTSIDE_GSM.search(piece):
            positions.append(position)
    return tuple(positions)


def _fold(message: str, *, letters: bool) -> PreparedText | None:
    pieces: list[str] = []
    replaced: list[Replacement] = []
    for position, original in _split(message):
        piece = _normalize(original)
        folded = _fold_piece(piece, letters=letters)
        if _OUTSIDE_GSM.search(folded):
            return None
        if folded != piece:
            replaced.append(Replacement(position, original, folded))
        pieces.append(folded)
    text = "".join(pieces)
    if not text.strip():
        return None
    return PreparedText(text, _facts(text, tuple(replaced)))


def _fold_piece(piece: str, *, letters: bool) -> str:
    if _OUTSIDE_GSM.search(piece) is None:
        return piece
    folded = piece.translate(_TYPOGRAPHY_TABLE)
    if not letters or _OUTSIDE_GSM.search(folded) is None:
        return folded
    decomposed = unicodedata.normalize("NFD", folded)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).translate(_LETTERS_TABLE)


def _split(message: str) -> Iterator[tuple[int, str]]:
    """Cut a text into pieces that NFC and CRLF → LF change each by itself, with their positions.

    A piece that holds anything outside GSM-7 is one character with its marks.
    """
    start = 0
    while start < len(message):
        run = _PLAIN_RUN.match(message, start)
        end = run.end() if run is not None else _find_end(message, start)
        yield start, message[start:end]
        start = end


def _find_end(message: str, start: int) -> int:
    for end in range(start + 1, len(message)):
        character = message[end]
        if character.isascii():
            if character != "\n" or message[end - 1] != "\r":
                return end
        elif not unicodedata.combining(character) and not _joins(message[start:end], character):
            return end
    return len(message)


def _joins(before: str, character: str) -> bool:
    """Whether NFC makes one of a character and what stands before it: Hangul vowels, some Indic signs and the like do
    although their combining class is 0."""
    normalize = unicodedata.normalize
    return normalize("NFC", before + character) != normalize("NFC", before) + normalize("NFC", character)
