"""A string that never prints itself: passwords, keys, tokens."""


class Secret:
    """Hold a secret so that no repr, log line, format or traceback shows it.

    Equality is not defined on purpose: compare digests in constant time instead.

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
        """Give the secret itself, at the one place that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> tuple[type, tuple[str]]:
        raise TypeError("a secret cannot be pickled")
