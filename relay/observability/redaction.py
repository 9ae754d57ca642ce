"""Takes out of foreign text what no log line may hold. The last line of defence: our own lines hold no text at all."""

import base64
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus

from relay.domain.secret import Secret

STARS: Final = "***"

_LONGEST_LINE: Final = 1_000
_SHORTEST_SECRET: Final = 4
"""Shorter ones would be found in every second word, and are found by their names all the same."""

_FIELDS: Final = (
    r"user(?:name)?|pass(?:word|wd)?|pwd|secret|token|api[-_]?key|key|cookie|set-cookie|x-api-key"
    r"|(?:proxy-)?authorization|message|text|body|content|recipients?|to|phone|msisdn|number|sender|parameters"
)
_RULES: Final = (
    # A field and all that follows: where its value ends is anybody's guess.
    (re.compile(rf"(?i)(?<![a-z])({_FIELDS})(?![a-z])([\"']?\s*[=:]\s*).*"), rf"\1\2{STARS}"),
    (re.compile(r"(?i)\b(bearer|basic|digest)\s+\S+"), rf"\1 {STARS}"),
    (re.compile(r"(?:rk_|whsec_|eyJ)[A-Za-z0-9_.+/=-]+"), STARS),
    (re.compile(r"(?<=://)\S*@"), f"{STARS}@"),
    (re.compile(r"\?[^\s\"'<>]+"), f"?{STARS}"),
    # Eight digits and more, with whatever people write between the digits of a number.
    (re.compile(r"[+(]{0,3}[0-9](?:[ ()-]{0,2}[0-9]){7,}"), STARS),
)


class Redactor:
    """Knows this installation's secrets, and what secrets, addresses with secrets and phone numbers look like."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._secrets: re.Pattern[str] | None = None
        self.know(secrets)

    def know(self, secrets: Iterable[Secret]) -> None:
        """Look out for these secrets from now on, as they are, percent-encoded and in base64."""
        forms = {form for secret in secrets for form in _forms(secret.reveal()) if len(form) >= _SHORTEST_SECRET}
        longest_first = sorted(forms, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if forms else None

    def redact(self, text: str) -> str:
        """Give the first line without what must not be in it: further lines of foreign messages are other people's
        values (SQL parameters, reprs of exceptions)."""
        line = next(iter(text[:_LONGEST_LINE].splitlines()), "")
        if self._secrets is not None:
            line = self._secrets.sub(STARS, line)
        for pattern, replacement in _RULES:
            line = pattern.sub(replacement, line)
        return line


def _forms(secret: str) -> Iterable[str]:
    yield from (secret, quote(secret), quote(secret, safe=""), quote_plus(secret))
    yield base64.b64encode(secret.encode()).decode().rstrip("=")
