"""An exception as a log line may tell it: its class, where it was raised, what caused it; no text, no locals."""

from collections import deque
from pathlib import PurePath
from traceback import walk_tb
from typing import Any, Final

_MOST_FRAMES: Final = 20
_MOST_CAUSES: Final = 4
_SHOWN_PARTS: Final = 3


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
    """A class with its module, builtins without."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _short(path: str) -> str:
    return "/".join(PurePath(path).parts[-_SHOWN_PARTS:])
