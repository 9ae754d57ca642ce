"""Keeps the root logger of a relay under test at DEBUG: whatever a library says comes as far as the relay's handler."""

import logging

_set_level = logging.Logger.setLevel


def _keep_debug(logger: logging.Logger, level: int | str) -> None:
    _set_level(logger, logging.DEBUG if logger is logging.root else level)


setattr(logging.Logger, "setLevel", _keep_debug)  # noqa: B010 — a plain assignment is no method for the types
logging.root.setLevel(logging.DEBUG)
