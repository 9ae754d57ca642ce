"""A string that never prints itself (passwords, keys, tokens), and the forms in which others may repeat one."""

from urllib.parse import quote, quote_plus


class Secret:
    """Holds a secret so that no repr, log line, format or traceback shows it.

    Equality is deliberately not defined: compare digests in constant time instead.

    Example:
        >>> password = Secret("correct horse")
        >>> f"{password} {password!r}"
        '*** Secret(***)'
        >>> password.reveal()
        'correct horse'
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself. Call it only where the secret is used."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> tuple[type, tuple[str]]:
        raise TypeError("a secret cannot be pickled")


def written_forms(text: str) -> tuple[str, ...]:
    """How somebody who was sent a text in a URL may repeat it: as it is, or percent-encoded in one of three ways.

    Example:
        >>> written_forms("p/ ")
        ('p/ ', 'p/%20', 'p%2F%20', 'p%2F+')
    """
    return tuple(dict.fromkeys((text, quote(text), quote(text, safe=""), quote_plus(text))))
