"""Recipients' numbers: what a caller writes → ``234…`` digits, or the reason why it is refused.

Characters are checked here, before anything else reads the number: ``phonenumbers`` takes letters, extensions and
digits of other scripts for digits (domain.md section 3). It is asked about numbers of other countries only; for
Nigeria the ranges below are wider than its own, on purpose.
"""

import re
from collections.abc import Sequence

from relay.domain.codes import NumberReason
from relay.domain.notification import Entry

COUNTRY_CODE = "234"
NATIONAL_DIGITS = 10

MOBILE_RANGES = frozenset({"70", "71", "72", "80", "81", "90", "91"})
"""First two national digits of mobile numbers. Loose: operators open new prefixes inside a range from time to time, and
public lists of them disagree. 071 and 072 are known to libphonenumber only (domain.md section 3; vector N19)."""

SERVICE_RANGES = frozenset({"700", "800", "900"})
"""Company, toll-free and premium numbers: inside the mobile ranges, but no SMS reaches them (vectors N29 to N31)."""

FIXED_LINE = "2"
"""First national digit of fixed lines since 2024 (vector N33)."""

LONGEST_FOREIGN = 15
"""Digits in an international number (ITU-T E.164)."""

_PLAIN = re.compile(rf"(?:\+?234|0)((?!{'|'.join(SERVICE_RANGES)})(?:{'|'.join(MOBILE_RANGES)})[0-9]{{8}})")
"""How nearly every number is written; decided in one match, because a request may hold 10,000 of them."""

_INVISIBLE = (0x00AD, 0x061C, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF)
_BLANKS = (0x00A0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000)
_DASHES = (*range(0x2010, 0x2016), 0x2212)
_LOOK_ALIKES: dict[int, str | None] = {
    **dict.fromkeys(_INVISIBLE, None),
    **dict.fromkeys(_BLANKS, " "),
    **dict.fromkeys(_DASHES, "-"),
}
_WRITTEN = re.compile(r"[(\[ ]*+(\+?)[(\[ ]*+[0-9][0-9 .()\[\]-]*+")
_SEPARATORS = str.maketrans("", "", "+ .()[]-")
_HIDDEN = "•••••"
_ECHO = re.compile(r"\+?([0-9]{7,15})")


def mask_number(number: str) -> str:
    """Show so much of a number that a person who knows it knows it again.

    Example:
        >>> mask_number("08031234578"), mask_number("nonsense")
        ('23480•••••78', '•••••')
    """
    parsed = parse_number(number, allow_foreign=True)
    return _HIDDEN if isinstance(parsed, NumberReason) else f"{parsed[:5]}{_HIDDEN}{parsed[-2:]}"


def parse_number(text: str, *, allow_foreign: bool = False) -> str | NumberReason:
    """Normalize a recipient's number.

    Args:
        text: as the caller wrote it: local, with or without its zero, or international.
        allow_foreign: whether numbers of other countries, written with a plus or ``00``, are accepted.

    Returns:
        Digits that begin with the country code and nothing else, or why there are none. A number that was normalized
        before comes back as it is (a foreign one only when a plus is put before it).

    Source:
        domain.md section 3; ``numbers.jsonl``.

    Example:
        >>> parse_number("0801 234 5678")
        '2348012345678'
        >>> parse_number("0700CALLME1")
        <NumberReason.BAD_CHARACTER: 'bad_character'>
    """
    plain = _PLAIN.fullmatch(text)
    if plain is not None:
        return COUNTRY_CODE + plain[1]
    cleaned = text.translate(_LOOK_ALIKES).strip()
    if not cleaned:
        return NumberReason.EMPTY
    written = _WRITTEN.fullmatch(cleaned)
    if written is None:
        return NumberReason.BAD_CHARACTER
    digits = cleaned.translate(_SEPARATORS)
    international = _after_international_prefix(digits, has_plus=bool(written[1]))
    if international is not None and not international.startswith(COUNTRY_CODE):
        return _parse_foreign(international) if allow_foreign else NumberReason.FOREIGN
    return _check_national((international or digits).removeprefix(COUNTRY_CODE).removeprefix("0"))


def parse_recipients(inputs: Sequence[str], *, allow_foreign: bool = False) -> tuple[Entry, ...]:
    """Normalize and de-duplicate recipients: one entry for each input, in the same order.

    Args:
        inputs: as the caller wrote them.
        allow_foreign: see :func:`parse_number`.

    Returns:
        Entries; of those with one number, all but the first name the first one's index in ``duplicate_of``, because one
        person gets (and one charge pays for) one message.

    Example:
        >>> [entry.duplicate_of for entry in parse_recipients(["08012345678", "bad", "+2348012345678"])]
        [None, None, 0]
    """
    reader = RecipientReader(allow_foreign=allow_foreign)
    reader.read(inputs)
    return tuple(reader.entries)


class RecipientReader:
    """Does what :func:`parse_recipients` does, some inputs after others: ten thousand take ten milliseconds.

    Attributes:
        entries: of what was read so far.
    """

    def __init__(self, *, allow_foreign: bool = False) -> None:
        self._allow_foreign = allow_foreign
        self._first_index: dict[str, int] = {}
        self.entries: list[Entry] = []

    def read(self, inputs: Sequence[str]) -> None:
        """Read the next ones."""
        for index, text in enumerate(inputs, len(self.entries)):
            number = parse_number(text, allow_foreign=self._allow_foreign)
            if isinstance(number, NumberReason):
                self.entries.append(Entry(text, None, number))
                continue
            first = self._first_index.setdefault(number, index)
            self.entries.append(Entry(text, number, None, None if first == index else first))


def match_number(echoed: str) -> str | None:
    """Give the normalized number that an echo of the upstream names, to be compared with the numbers that were asked.

    Args:
        echoed: the recipient field of a record: ``234…``, ``080…``, ``+234…``, or the digits of a foreign number.

    Returns:
        The normalized number; the digits as they stand where they are no Nigerian number (the seed's own sample holds
        one that is a digit short: it equals nothing that can be asked); ``None`` where it is no number at all.

    Example:
        >>> match_number("08012345678"), match_number("234803456789"), match_number("all")
        ('2348012345678', '234803456789', None)
    """
    number = parse_number(echoed)
    if not isinstance(number, NumberReason):
        return number
    digits = _ECHO.fullmatch(echoed.strip())
    return digits[1] if digits is not None else None


def _after_international_prefix(digits: str, *, has_plus: bool) -> str | None:
    """Give what follows plus, 009 (Nigeria's own prefix, before 234 only) or 00; ``None`` for a local number."""
    if has_plus:
        return digits
    if digits.startswith("009" + COUNTRY_CODE):
        return digits[3:]
    return digits[2:] if digits.startswith("00") else None


def _check_national(digits: str) -> str | NumberReason:
    if len(digits) != NATIONAL_DIGITS:
        return NumberReason.TOO_SHORT if len(digits) < NATIONAL_DIGITS else NumberReason.TOO_LONG
    if digits[:3] in SERVICE_RANGES or digits.startswith(FIXED_LINE):
        return NumberReason.NOT_MOBILE
    return COUNTRY_CODE + digits if digits[:2] in MOBILE_RANGES else NumberReason.UNASSIGNED


def _parse_foreign(digits: str) -> str | NumberReason:
    if len(digits) > LONGEST_FOREIGN:
        return NumberReason.TOO_LONG
    # Costs 45 ms and is needed only where foreign numbers are allowed and one turns up.
    import phonenumbers

    try:
        number = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return NumberReason.FOREIGN
    if not phonenumbers.is_valid_number(number):
        return NumberReason.FOREIGN
    kinds = phonenumbers.PhoneNumberType
    if phonenumbers.number_type(number) not in (kinds.MOBILE, kinds.FIXED_LINE_OR_MOBILE):
        return NumberReason.NOT_MOBILE
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")
