"""Sender IDs: which names may stand on the receiver's phone, and which belong to somebody else.

A name is refused, never cut: a cut name can become somebody else's (domain.md section 4). The allow list of a client is
the first line of defence, and the caller's business; this is the second.
"""

import re
import unicodedata
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache

from msgspec import Struct

_LONGEST_KEPT = 32
"""Characters of a sender whose verdict is kept."""

SHORTEST = 3
LONGEST = 11
"""Septets of an alphanumeric address (GSM 03.40); every accepted character takes one."""


class SenderReason(StrEnum):
    """Why a sender ID is refused."""

    EMPTY = "empty"
    NUMERIC = "numeric"
    BAD_CHARACTER = "bad_character"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    RESERVED = "reserved"


class SenderWarning(StrEnum):
    """What may keep a sender ID from arriving as it is written."""

    PUNCTUATION = "punctuation"
    DIGITS = "digits"
    GENERIC = "generic"


class SenderVerdict(Struct, frozen=True):
    """What became of a sender ID: exactly one of ``name`` (trimmed) and ``error`` is set."""

    name: str | None
    error: SenderReason | None = None
    warnings: tuple[SenderWarning, ...] = ()


NETWORKS = (
    *("9mobile", "airtel", "etisalat", "globacom", "glo", "mtn", "mtnn", "multilinks", "visafone"),
    *("121", "131", "180"),  # the networks' own short codes, as written with letters: I80, 18O
)
BANKS = (
    *("access", "cbn", "ecobank", "etb", "fcmb", "fidelity", "gtb", "keystone", "kuda", "moniepoint", "opay"),
    *("palmpay", "polaris", "skye", "stanbic", "sterling", "uba", "union", "unity", "wema", "zenith"),
)
"""Banks that are known by this name alone; as ordinary words some of them cost an honest firm an allow-list entry."""

BANKS_BY_FULL_NAME = ("equity", "first", "gt", "oceanic", "sky", "spring", "sterlin")
"""Ordinary words that are a bank only with ``bank`` behind them."""

PAYMENT = ("flutterwave", "mastercard", "moneygram", "paypal", "paystack", "visa", "visacard", "western union")
STATE = (
    *("army", "cia", "dss", "efcc", "fbi", "firs", "inec", "interpol", "jamb", "ncc", "neco", "nimc", "nnpc", "police"),
    *("servicom", "sss", "unesco", "unicef", "unizik", "unn", "waec"),
)
BRANDS = (
    *("agip", "apple", "bet9ja", "dangote", "dhl", "facebook", "fedex", "google", "lacasera", "microsoft", "nokia"),
    *("orange", "samsung", "sony", "spdc", "tecno", "whatsapp", "yahoo"),
)
IMPERSONATION = (
    *("atm", "bank", "bvn", "call center", "call centre", "cash offer", "customer", "custcare", "first alert"),
    *("mega splash", "promo award", "reward", "winner"),
)
"""Names that nobody owns and that other gateways found on swindlers' messages."""

GENERIC = ("admin", "alert", "alerts", "info", "message", "msg", "news", "notice", "otp", "service", "sms", "support")
"""Names that say nothing about who sends: allowed, with a warning."""

SUFFIXES = ("ng", "nigeria", "alert", "alerts", "promo", "offer", "offers", "bonus", "customer")
"""What is put behind a brand to deceive.

Source of all these names: the public lists that domain.md section 6 cites (a to j), section 4 and ``senders.jsonl``.
"""

_ALLOWED = re.compile(r"[A-Za-z0-9.&-]++(?: [A-Za-z0-9.&-]++)*+")
_NUMERIC = re.compile(r"(?=[^0-9]*+[0-9])[0-9+ .()&-]++")
_LETTER = re.compile(r"[A-Za-z]")
_DIGIT = re.compile(r"[0-9]")
_PUNCTUATION = re.compile(r"[.&-]")
_LOOK_ALIKES = str.maketrans({"0": "o", "1": "i", "l": "i", "!": "i", "3": "e", "4": "a", "@": "a", "5": "s", "$": "s"})
_LOOK_ALIKES[ord("7")] = "t"
_BETWEEN = re.compile(r"[\W_]+")
_REPEATED = re.compile(r"(.)\1+")


def skeleton(name: str) -> str:
    """Give what a name looks like at a glance, so that ``GL0`` and ``GIo`` are ``Glo``.

    Source:
        domain.md section 4.

    Example:
        >>> skeleton("A1rteI") == skeleton("Airtel")
        True
    """
    folded = unicodedata.normalize("NFKC", name).lower().translate(_LOOK_ALIKES)
    letters = folded if folded.isalnum() else _BETWEEN.sub("", folded)
    return _REPEATED.sub(r"\1", letters)


def _skeletons(names: Iterable[str], suffixes: Iterable[str] = ()) -> frozenset[str]:
    # Name and suffix are joined before doubled letters collapse: MTNNG is "mtng".
    return frozenset(skeleton(name + suffix) for name in names for suffix in ("", *suffixes))


_FULL_BANK_NAMES = tuple(f"{name}{word}" for name in (*BANKS, *BANKS_BY_FULL_NAME) for word in ("bank", "bk"))
_RESERVED = _skeletons((*NETWORKS, *BANKS, *_FULL_BANK_NAMES, *PAYMENT, *STATE, *BRANDS), SUFFIXES) | _skeletons(
    IMPERSONATION
)
_GENERIC = _skeletons(GENERIC)


def check_sender(sender: str, *, allowed: bool) -> SenderVerdict:
    """Judge a sender ID.

    Args:
        sender: as the caller or the settings wrote it.
        allowed: whether the name is on the client's allow list; such a name passes the reserved-name check, and no
            other.

    Returns:
        The name to send, with warnings, or the first reason against it.

    Source:
        domain.md section 4; ``senders.jsonl``.

    Example:
        >>> check_sender(" ACME ", allowed=False).name
        'ACME'
        >>> check_sender("GL0", allowed=False).error
        <SenderReason.RESERVED: 'reserved'>
    """
    if len(sender) <= _LONGEST_KEPT:
        return _check_again(sender, allowed=allowed)
    return _check(sender, allowed=allowed)


def _check(sender: str, *, allowed: bool) -> SenderVerdict:
    name = sender.strip()
    error = _find_form_error(name)
    if error is not None:
        return SenderVerdict(None, error)
    looks = skeleton(name)
    if not allowed and looks in _RESERVED:
        return SenderVerdict(None, SenderReason.RESERVED)
    return SenderVerdict(name, None, _find_warnings(name, looks))


_check_again = lru_cache(maxsize=1024)(_check)
"""A client has few senders, and sends from them all day."""


def _find_form_error(name: str) -> SenderReason | None:
    if not name:
        return SenderReason.EMPTY
    if _NUMERIC.fullmatch(name):
        return SenderReason.NUMERIC
    if not _ALLOWED.fullmatch(name) or not _LETTER.search(name):
        return SenderReason.BAD_CHARACTER
    if len(name) < SHORTEST:
        return SenderReason.TOO_SHORT
    return SenderReason.TOO_LONG if len(name) > LONGEST else None


def _find_warnings(name: str, looks: str) -> tuple[SenderWarning, ...]:
    if name.isalpha():
        return (SenderWarning.GENERIC,) if looks in _GENERIC else ()
    found = (
        (SenderWarning.PUNCTUATION, _PUNCTUATION.search(name)),
        (SenderWarning.DIGITS, _DIGIT.search(name)),
        (SenderWarning.GENERIC, looks in _GENERIC),
    )
    return tuple(warning for warning, there in found if there)
