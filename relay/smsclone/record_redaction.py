"""Redacts what the upstream says before it is kept: short, printable, and nothing that the relay must hide.

An upstream could echo the query of its call. Its words are kept in the journal and shown to clients, so a field that
holds the account, the message or somebody else's number is dropped as a whole; no decision depends on it.
"""

import re

from relay.domain.notification import UpstreamRecord
from relay.domain.secret import written_forms
from relay.smsclone.upstream_codes import DOCUMENTED_DESCRIPTIONS, RECORDS

LONGEST_DESCRIPTION = 200
_CODE = re.compile(r"[A-Za-z0-9]{1,8}", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9_ -]{1,32}", re.ASCII)
_MESSAGE_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_DIGITS = re.compile(r"[0-9](?:[ .()-]{0,2}[0-9]){8,}", re.ASCII)
_PHONE_NUMBER = re.compile(r"(?:234|0)[0-9]{10}", re.ASCII)
_SHORTEST_HIDDEN_IN_ID = 6
_SHORTEST_OPAQUE_ID = 20
"""Ids of 25 digits are documented; any short number can occur in them by chance."""
_NATIONAL_DIGITS = 10
_ECHO_CHARACTERS = 12


def list_forms(*secrets: str) -> frozenset[str]:
    """Every form, case-folded, in which an upstream may repeat what it was sent. An empty text has none."""
    return frozenset(form.casefold() for text in secrets for form in written_forms(text) if form)


class RecordRedactor:
    """Redacts the records in the answer to one call.

    Args:
        credentials: user name and password, in every form (:func:`list_forms`).
        message: the text that was sent.
    """

    def __init__(self, credentials: frozenset[str], message: str) -> None:
        self._credentials = credentials
        self._written = message
        self._message = message.casefold()

    def keep(
        self, code: str, word: str | None, description: str | None, message_id: str | None, recipient: str
    ) -> UpstreamRecord:
        """The record that is kept of one recipient's part of an answer.

        Args:
            recipient: the number that the record is about; only this number may occur in its description.
        """
        known = RECORDS.get(code)
        documented = known is not None and word is not None and word.upper() == known.word
        return UpstreamRecord(
            code if known is not None or (_CODE.fullmatch(code) and not self._hides(code)) else "",
            word if word and (documented or (_WORD.fullmatch(word) and not self._leaks(word, recipient))) else None,
            self._description(description, recipient),
            message_id if message_id and self._harmless_id(message_id) else None,
        )

    def _description(self, text: str | None, recipient: str) -> str | None:
        if text is None or text in DOCUMENTED_DESCRIPTIONS:
            return text
        printable = "".join(character if character.isprintable() else " " for character in text)
        clean = " ".join(printable.split())
        if not clean or self._leaks(clean, recipient) or self._echoes(clean):
            return None
        return clean[:LONGEST_DESCRIPTION]

    def _harmless_id(self, text: str) -> bool:
        if _MESSAGE_ID.fullmatch(text) is None or self._hides(text, shortest=_SHORTEST_HIDDEN_IN_ID):
            return False
        return len(text) >= _SHORTEST_OPAQUE_ID or _PHONE_NUMBER.search(text) is None

    def _leaks(self, text: str, recipient: str) -> bool:
        own = recipient[-_NATIONAL_DIGITS:]
        numbers = ("".join(filter(str.isdecimal, run)) for run in _DIGITS.findall(text))
        return self._hides(text) or any(not own or not number.endswith(own) for number in numbers)

    def _hides(self, text: str, *, shortest: int = 1) -> bool:
        folded = text.casefold()
        if any(len(form) >= shortest and form in folded for form in self._credentials):
            return True
        if len(self._message) > len(folded):  # then every form of it is longer still
            return False
        return any(len(form) >= shortest and form in folded for form in list_forms(self._written))

    def _echoes(self, text: str) -> bool:
        """Whether the text contains a piece of the message."""
        folded = text.casefold()
        pieces = (folded[at : at + _ECHO_CHARACTERS] for at in range(len(folded) - _ECHO_CHARACTERS + 1))
        return any(piece in self._message for piece in pieces)
