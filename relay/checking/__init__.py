"""The one validator: checks a document field by field along its types, and finds every mistake at once. Pure.

Settings, word lists and request bodies are all described by msgspec structs. msgspec itself stops at the first error
and repeats unknown names and values in its text, so its type information is used here, and its messages are not. No
mistake repeats a value: it may be a secret, or a caller's.

What differs between the three is a :class:`Notation`: how the document is written (``TOML`` here, ``SETTINGS`` in
``relay.settings.values``, ``JSON`` in ``relay.http.validation``), what things are called in it, and how a single value
is read.

    checker = Checker(TOML)
    found = checker.check(msgspec.inspect.type_info(Settings), document, "")
    if checker.mistakes: ...               # each with its dotted path
    settings = msgspec.convert(found, Settings)

``found`` has the fields that are right, by their names in the document, with defaults filled in. A field can have a
check of its own, ``Meta(extra={"check": function})``: it takes the value and says what is wrong with it, or ``None``.
"""

from relay.checking.checker import Checker, Mistake, clean_name
from relay.checking.notation import INVALID, LEAVES, TOML, Leaf, Notation, bare_type, default_of, without_none

__all__ = [
    "INVALID",
    "LEAVES",
    "TOML",
    "Checker",
    "Leaf",
    "Mistake",
    "Notation",
    "bare_type",
    "clean_name",
    "default_of",
    "without_none",
]
