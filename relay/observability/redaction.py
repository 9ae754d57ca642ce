"""What a log line may hold of somebody else's text and of an exception.

The last line of defence: our own lines hold no text at all. Of an exception they have the class and the places in the
code, never its text or its variables.
"""

import base64
import re
from collections import deque
from collections.abc import Iterable
from pathlib import PurePath
from traceback import walk_tb
from typing import Any, Final

from relay.domain.secret import Secret, written_forms

STARS: Final = "***"

_MOST_FRAMES: Final = 20
_MOST_CAUSES: Final = 4
_SHOWN_PARTS: Final = 3

_LONGEST_LINE: Final = 1_000
_SHORTEST_SECRET: Final = 4
"""Shorter ones would match half of all words; the names of their fields give them away anyway."""

_FIELDS: Final = (
    r"user(?:name)?|pass(?:word|wd)?|pwd|secret|token|api[-_]?key|key|cookie|set-cookie|x-api-key"
    r"|(?:proxy-)?authorization|message|text|body|content|recipients?|to|phone|msisdn|number|sender|parameters"
)
_RULES: Final = (
    # A field and everything after it: nobody knows where its value ends.
    (re.compile(rf"(?i)(?<![a-z])({_FIELDS})(?![a-z])([\"']?\s*[=:]\s*).*"), rf"\1\2{STARS}"),
    (re.compile(r"(?i)\b(bearer|basic|digest)\s+\S+"), rf"\1 {STARS}"),
    (re.compile(r"(?:rk_|whsec_|eyJ)[A-Za-z0-9_.+/=-]+"), STARS),
    (re.compile(r"(?<=://)\S*@"), f"{STARS}@"),
    (re.compile(r"\?[^\s\"'<>]+"), f"?{STARS}"),
    # Eight digits and more, with whatever people write between the digits of a number.
    (re.compile(r"[+(]{0,3}[0-9](?:[ ()-]{0,2}[0-9]){7,}"), STARS),
)


class Redactor:
    """Knows this installation's secrets, and recognizes other secrets, URLs with secrets, and phone numbers."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._secrets: re.Pattern[str] | None = None
        self.know(secrets)

    def know(self, secrets: Iterable[Secret]) -> None:
        """Remove these secrets from now on: as they are, percent-encoded, and in base64."""
        forms = {form for secret in secrets for form in _forms(secret.reveal()) if len(form) >= _SHORTEST_SECRET}
        longest_first = sorted(forms, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if forms else None

    def redact(self, text: str) -> str:
        """Return the first line of a text, redacted.

        Further lines are dropped: in messages of libraries they hold values (SQL parameters, reprs of exceptions).
        """
        line = next(iter(text[:_LONGEST_LINE].splitlines()), "")
        if self._secrets is not None:
            line = self._secrets.sub(STARS, line)
        for pattern, replacement in _RULES:
            line = pattern.sub(replacement, line)
        return line


def _forms(secret: str) -> Iterable[str]:
    yield from written_forms(secret)
    yield base64.b64encode(secret.encode()).decode().rstrip("=")


def describe_exception(error: BaseException, causes: int = _MOST_CAUSES) -> dict[str, Any]:
    """Describe an exception.

    Returns:
        ``class``; ``frames`` as ``file:line:function``, the innermost last; ``cause`` and, for a group, ``parts``.
    """
    innermost = deque(walk_tb(error.__traceback__), maxlen=_MOST_FRAMES)
    codes = [(frame.f_code, line) for frame, line in innermost]
    told: dict[str, Any] = {
        "class": class_name(type(error)),
        "frames": [f"{_short(code.co_filename)}:{line}:{code.co_name}" for code, line in codes],
    }
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and causes > 0:
        told["cause"] = describe_exception(cause, causes - 1)
    if isinstance(error, BaseExceptionGroup) and causes > 0:
        told["parts"] = [describe_exception(part, 0) for part in error.exceptions[:_MOST_CAUSES]]
    return told


def class_name(kind: type[BaseException]) -> str:
    """The name of a class with its module; without, if it is a builtin."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _short(path: str) -> str:
    return "/".join(PurePath(path).parts[-_SHOWN_PARTS:])
